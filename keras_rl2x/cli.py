"""The command line: `keras-rl2x train | evaluate | play | list`."""

import argparse
import json
import os
import shlex
import shutil
import sys
import sysconfig

import gymnasium

import keras_rl2x as rl
from keras_rl2x import run_folder

# What is told in one line: the user can do something about it.
_ERRORS = (
    gymnasium.error.Error,
    ImportError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def main(argv=None):
    """Runs one command; returns the exit status."""
    # TensorFlow reports each start-up step on the standard error.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Environments of one's own, "module:Name-v0": as `python -m` finds them.
    sys.path.append(os.getcwd())
    arguments = _parser().parse_args(argv)
    try:
        return arguments.command(arguments)
    except KeyboardInterrupt:
        print("\nkeras-rl2x: stopped", file=sys.stderr)
        return 130
    except _ERRORS as error:
        if os.environ.get("KERAS_RL2X_TRACEBACK"):
            raise
        print(f"keras-rl2x: {error}", file=sys.stderr)
        return 2


def _parser():
    parser = argparse.ArgumentParser(prog="keras-rl2x")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train an agent")
    train.add_argument("algorithm", help="such as dqn; see `list`")
    train.add_argument("env", help="a Gymnasium id, such as CartPole-v1")
    train.add_argument(
        "--env-steps",
        type=int,
        help="environment steps to train for, of Atari the agent's, each of 4 "
        "frames (default: the preset's)",
    )
    train.add_argument("--seed", type=int, help="same seed, same weights (0)")
    train.add_argument(
        "--num-envs",
        type=int,
        help="environments that step together (default: the preset's)",
    )
    train.add_argument(
        "--log-dir", help="output folder (default: a new one in runs/)"
    )
    train.add_argument(
        "--resume", action="store_true", help="go on with the run in --log-dir"
    )
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="override a setting, such as agent.double=false; an unknown name "
        "lists the valid ones",
    )
    train.set_defaults(command=_train)
    for name, command, text in (
        ("evaluate", _evaluate, "play episodes and print their returns"),
        ("play", _play, "watch the agent, or record a video of it"),
    ):
        sub = commands.add_parser(name, help=text)
        sub.add_argument(
            "agent", metavar="AGENT_FILE", help="path of an agent.keras"
        )
        sub.add_argument("env", metavar="ENV", help="a Gymnasium id")
        sub.add_argument(
            "--seed", type=int, default=1, help="of the environments (1)"
        )
        sub.set_defaults(command=command)
        episodes = 100 if name == "evaluate" else 1
        sub.add_argument(
            "--episodes",
            type=int,
            default=episodes,
            help=f"how many to play ({episodes})",
        )
        if name == "evaluate":
            sub.add_argument(
                "--json", action="store_true", help="print a JSON object"
            )
        else:
            sub.add_argument(
                "--video", metavar="DIR", help="record a GIF into DIR"
            )
    listing = commands.add_parser("list", help="list algorithms and presets")
    listing.set_defaults(command=_list)
    return parser


def _train(arguments):
    overrides = dict(map(parse_setting, arguments.set))
    settings = run_folder.make_settings(
        arguments.algorithm,
        arguments.env,
        changes=overrides,
        log_dir=arguments.log_dir,
        resume=arguments.resume,
    )
    # Before TensorFlow is imported, which reads them once.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(settings["threads"]))
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", str(int(settings["onednn"])))
    if arguments.env not in rl.presets.names()[arguments.algorithm]:
        atari = arguments.env.startswith("ALE/")
        using = "that of other Atari games" if atari else "its defaults"
        print(
            f"There is no preset of {arguments.algorithm} for {arguments.env}: "
            f"using {using} (see: keras-rl2x list)"
        )
    run = rl.train(
        arguments.algorithm,
        arguments.env,
        env_steps=arguments.env_steps,
        seed=arguments.seed,
        num_envs=arguments.num_envs,
        log_dir=arguments.log_dir,
        resume=arguments.resume,
        overrides=overrides,
    )
    folder = run.log_dir
    if run.interrupted:
        words = [
            _typed("keras-rl2x"),
            "train",
            arguments.algorithm,
            arguments.env,
        ]
        for name in ("env_steps", "seed", "num_envs"):
            if getattr(arguments, name) is not None:
                option = name.replace("_", "-")
                words += [f"--{option}", str(getattr(arguments, name))]
        for setting in arguments.set:
            words += ["--set", setting]
        words += ["--log-dir", folder, "--resume"]
        print(f"Saved. To go on: {shlex.join(words)}")
        return 130
    agent = os.path.join(folder, "agent.keras")
    print(f"\n{_sentence(run.evaluation, settings['evaluate']['greedy'])}")
    print(f"  agent         {agent}")
    print(f"  the best one  {os.path.join(folder, 'best.keras')}")
    print(f"  history       {os.path.join(folder, 'history.csv')}")
    rest = shlex.join([agent, arguments.env])
    here, board = (
        shlex.quote(_typed(name)) for name in ("keras-rl2x", "tensorboard")
    )
    print(f"  curves        {board} --logdir {shlex.quote(folder)}")
    print(f"  evaluate it   {here} evaluate {rest}")
    print(f"  watch it      {here} play {rest}")
    return 0


def _typed(command):
    """What to type for a command of this Python: with its path, if need be."""
    path = os.path.join(sysconfig.get_path("scripts"), command)
    if shutil.which(command) or not os.path.exists(path):
        return command
    return os.path.relpath(path)


def parse_setting(text):
    """`"agent.double=false"` as a pair of a name and a value."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(
            "A setting is written NAME=VALUE, such as agent.double=false. "
            f"Received: --set {text}"
        )
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _sentence(result, greedy):
    kind = "Greedy return" if greedy else "Return with exploration,"
    return (
        f"{kind} over {result['episodes']} episodes: "
        f"{result['mean']:.1f} +- {result['std']:.1f} "
        f"(from {result['min']:.1f} to {result['max']:.1f})"
    )


def _evaluate(arguments):
    env, greedy = _as_trained(arguments)
    result = rl.evaluate(
        arguments.agent,
        arguments.env,
        episodes=arguments.episodes,
        seed=arguments.seed,
        greedy=greedy,
        **env,
    )
    print(json.dumps(result) if arguments.json else _sentence(result, greedy))
    return 0


def _as_trained(arguments):
    """How the agent's run made its environments and evaluated in them.

    Returns:
        Tuple: a dict of arguments, and a boolean, whether greedily; what is
        usual where it was trained in others, or nothing tells.
    """
    settings = run_folder.read_settings(os.path.dirname(arguments.agent))
    if settings is None or settings.get("env_id") != arguments.env:
        return {}, True
    env = rl.presets.env_arguments(settings)
    return env, settings["evaluate"]["greedy"]


def _play(arguments):
    agent = rl.load(arguments.agent)
    env, greedy = _as_trained(arguments)
    if arguments.video:
        recorder = rl.callbacks.RecordVideo(
            arguments.env,
            arguments.video,
            episodes=arguments.episodes,
            seed=arguments.seed,
            greedy=greedy,
            **env,
        )
        print(f"Recorded {recorder.record(agent)}")
        return 0
    with rl.envs.make(arguments.env, render_mode="human", **env) as envs:
        agent.check_spaces(envs)
        # Without one, the process would die without a word.
        shown = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
        if sys.platform == "linux" and not any(map(os.environ.get, shown)):
            raise ValueError(
                "There is no display to show it on: record it, by `--video "
                "DIR`."
            )
        policy = rl.acting.Policy(agent, num_envs=1)
        played = policy.play(envs, arguments.episodes, arguments.seed, greedy)
    print("Returns:", ", ".join(f"{value:.1f}" for value in played.returns))
    return 0


def _list(arguments):
    for algorithm, environments in rl.presets.names().items():
        print(f"{algorithm}: any environment; presets for")
        for env in environments:
            settings = rl.presets.get(algorithm, env)
            print(
                f"  {env:<32} {settings['env_steps']:>9,} steps, "
                f"aims at {settings['score']}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
