"""What algorithms have in common on Atari. Data only."""

# What they aim at. Only Pong and Breakout were tried here, for fewer steps.
SCORES = {
    "Pong": 18.0,
    "Breakout": 30.0,
    "SpaceInvaders": 500.0,
    "Qbert": 4_000.0,
    "Seaquest": 900.0,
    "Freeway": 20.0,
}

# Of another game the presets are those of this one, but for the score.
OTHERS = "ALE/SpaceInvaders-v5"

# Convolutions are worth a thread of each core, and oneDNN. As in the field,
# evaluations explore as the agent does by then: greedy agents repeat
# themselves, and may wait half an hour for a ball that nobody serves.
_SETTINGS = {
    "env_steps": 10_000_000,
    "threads": 0,
    "onednn": True,
    "evaluate": {"episodes": 8, "greedy": False},
}

# See `envs.atari`; what is `None` is the protocol's.
_ENV = {
    "protocol": "deepmind",
    "frame_stack": 4,
    "frame_skip": 4,
    "size": 84,
    "grayscale": True,
    "max_frames": 108_000,
    "repeat_action_probability": None,
    "episodic_life": None,
    "fire_reset": None,
    "noop_max": None,
    "full_action_space": None,
}


def games(settings):
    """The same preset for each of the games: a dict by their ids."""
    env = {**_ENV, **settings.get("env", {})}
    return {
        f"ALE/{game}-v5": {**_SETTINGS, "score": score, **settings, "env": env}
        for game, score in SCORES.items()
    }
