"""What algorithms have in common on Atari. Data only."""

# With their scores, which the presets of the field reach within ten million
# steps. Nothing was tried here for so long yet.
SCORES = {
    "Pong": 18.0,
    "Breakout": 30.0,
    "SpaceInvaders": 500.0,
    "Qbert": 4_000.0,
    "Seaquest": 900.0,
    "Freeway": 20.0,
}

# Convolutions are worth a thread of each core, and oneDNN. As in the field, the
# evaluation explores as much as the end of the training does: greedy agents
# repeat themselves, and may wait half an hour for a ball that nobody serves.
_SETTINGS = {
    "env_steps": 10_000_000,
    "threads": 0,
    "onednn": True,
    "evaluate": {"episodes": 8, "greedy": False},
}

# See `envs.atari`.
_ENV = {"protocol": "deepmind", "max_frames": 108_000}


def games(settings):
    """The same preset for each of the games: a dict by their ids."""
    env = {**_ENV, **settings.get("env", {})}
    return {
        f"ALE/{game}-v5": {**_SETTINGS, "score": score, **settings, "env": env}
        for game, score in SCORES.items()
    }
