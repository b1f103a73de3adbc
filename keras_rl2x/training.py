"""`train`, `evaluate`, `load`: whole runs, composed from the same parts."""

import collections
import contextlib
import json
import os
import re
import warnings

import gymnasium
import keras
import numpy as np

from keras_rl2x import agents
from keras_rl2x import arguments
from keras_rl2x import callbacks
from keras_rl2x import compose
from keras_rl2x import envs
from keras_rl2x import presets
from keras_rl2x import run_folder
from keras_rl2x.acting.policy import Policy

Run = collections.namedtuple(
    "Run", ["agent", "history", "evaluation", "log_dir", "interrupted"]
)
Run.__doc__ = """What `train` returns.

Attributes:
    agent: The trained `Agent`.
    history: The `keras.callbacks.History` of its `fit`.
    evaluation: Dict, what `evaluate` returned at the end; `None` if the run
        was interrupted.
    log_dir: String, the folder of everything that the run left.
    interrupted: Boolean, whether Ctrl-C ended it.
"""


def train(
    algorithm,
    env,
    env_steps=None,
    seed=None,
    num_envs=None,
    log_dir=None,
    resume=False,
    overrides=None,
    callbacks=(),
    evaluation_episodes=100,
    verbose="auto",
):
    """Trains an agent with the settings of a preset, by one call of `fit`.

    Leaves in `log_dir`: `agent.keras`, the last agent; `best.keras`, that of
    the epoch with the highest `val_return`; `history.csv`, `evaluation.json`
    (of the last), `settings.json`, TensorBoard's events and `checkpoints/`.

    Args:
        algorithm: String, such as `"dqn"`; see `rl.presets.names()`.
        env: As in `rl.envs.make`, but no vector environment.
        env_steps: Integer, how many environment steps to train for. Defaults
            to the preset's.
        seed: Integer: same seed, same weights. Defaults to 0, or to that of
            the run that is resumed.
        num_envs: Integer, how many environments step together. Defaults to
            the preset's.
        log_dir: String. Defaults to a new folder in `runs/`.
        resume: Boolean, whether to go on with the run in `log_dir`, with the
            settings that it had. Defaults to `False`.
        overrides: Dict from dotted names of settings to values, as
            `{"agent.double": False}`, or, of an argument of the environment,
            `{"env.is_slippery": False}`. Defaults to `None`.
        callbacks: Sequence of Keras callbacks for `fit`, which come after those
            that collect and evaluate. Defaults to none.
        evaluation_episodes: Integer, how many episodes to end with, greedy
            ones but with the presets of Atari. Defaults to 100.
        verbose: As in `keras.Model.fit`.

    Returns:
        A `Run`.

    Raises:
        ValueError: If there is no such algorithm or setting; if `log_dir`
            holds a run already, or none to resume.
    """
    if isinstance(env, gymnasium.vector.VectorEnv):
        raise ValueError(
            "`train` makes environments to learn in, and others to evaluate "
            "in: give it an id, or a function that returns one environment. "
            f"Received: env={env}"
        )
    seed = None if seed is None else arguments.integer(0, seed=seed)
    arguments.integer(evaluation_episodes=evaluation_episodes)
    changes = dict(overrides or {})
    if env_steps is not None:
        changes["env_steps"] = env_steps
    if num_envs is not None:
        changes["env.num_envs"] = num_envs
    env_id = env if isinstance(env, str) else None
    settings = run_folder.make_settings(
        algorithm, env_id, seed, changes, log_dir, resume
    )
    run_folder.check(log_dir, settings, resume)
    seed = settings["seed"]
    with envs.make(env, seed=seed, **settings["env"]) as environments:
        run = _fit(
            environments, env, settings, log_dir, resume, callbacks, verbose
        )
    if run.interrupted:
        return run
    run.agent.save(os.path.join(run.log_dir, "agent.keras"))
    result = evaluate(
        run.agent,
        env,
        evaluation_episodes,
        seed=1_000 + seed,
        greedy=settings["evaluate"]["greedy"],
        **presets.env_arguments(settings),
    )
    with open(os.path.join(run.log_dir, "evaluation.json"), "w") as file:
        json.dump(result, file)
    return run._replace(evaluation=result)


def evaluate(
    agent, env, episodes=100, seed=1, num_envs=None, greedy=True, **kwargs
):
    """Plays whole episodes.

    Args:
        agent: An `Agent`, or the path of one saved as `.keras`.
        env: As in `rl.envs.make`; it is closed in the end.
        episodes: Integer. Defaults to 100.
        seed: Integer seed of the environments. Defaults to 1.
        num_envs: Integer, how many play at once. Defaults to at most 20.
        greedy: Boolean, whether without exploration. Defaults to `True`.
        **kwargs: As in `rl.envs.make`.

    Returns:
        Dict with the `mean`, `std`, `min` and `max` of the returns, and the
        number of `episodes`; `returns` and `lengths`, lists of each episode's;
        and `success`, see `callbacks.Evaluate`, where the environments tell
        it.

    Raises:
        ValueError: If `episodes` is less than 1, or the agent cannot act in
            these environments.
    """
    if isinstance(agent, (str, os.PathLike)):
        agent = load(agent)
    episodes = arguments.integer(episodes=episodes)
    seed = arguments.integer(0, seed=seed)
    if isinstance(env, gymnasium.vector.VectorEnv):
        num_envs = num_envs or env.num_envs
    num_envs = num_envs or min(episodes, 20)
    with envs.make(env, num_envs, **kwargs) as environments:
        agent.check_spaces(environments)
        policy = Policy(agent, environments.num_envs)
        played = policy.play(environments, episodes, seed, greedy)
    returns = played.returns
    result = {
        "mean": float(np.mean(returns)),
        "std": float(np.std(returns)),
        "min": float(np.min(returns)),
        "max": float(np.max(returns)),
        "episodes": len(returns),
        "returns": returns.tolist(),
        "lengths": played.lengths.tolist(),
    }
    if len(played.successes):
        result["success"] = float(np.mean(played.successes))
    return result


def load(path):
    """An agent saved as `.keras`; never runs code from the file.

    Args:
        path: String.

    Returns:
        An `Agent`, compiled if it was when it was saved.

    Raises:
        ValueError: If there is no such file, if it is damaged, or if it holds
            Python code (a `Lambda` layer around a lambda).
    """
    if not os.path.exists(path):
        raise ValueError(f"There is no such file. Received: path={str(path)!r}")
    try:
        with warnings.catch_warnings():
            # An optimizer that would begin anew, without what it has learnt.
            lost = "Skipping variable loading.*saved optimizer has [1-9]"
            warnings.filterwarnings("error", lost)
            agent = keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # A damaged file may raise anything.
        text = str(error)
        raise ValueError(
            f"{path} cannot be loaded. {_cause(text)} Received: "
            f"{type(error).__name__}: {text[:500]}"
        ) from error
    if not isinstance(agent, agents.Agent):
        raise ValueError(
            f"{path} does not hold an agent. Received: {type(agent).__name__}"
        )
    return agent


def _cause(text):
    """What may have gone wrong, and what to do, by Keras's message."""
    unknown = re.search(r"Could not locate ([^.\n]*)", text)
    if unknown:
        return (
            f"It holds a {unknown[1]}, which Keras does not know: import its "
            "module first, where it is decorated with "
            "`@keras.saving.register_keras_serializable()`; if it was not when "
            "it was saved, load the file within "
            "`keras.saving.custom_object_scope({name: class})`."
        )
    if "ambda" in text:
        return (
            "It holds a Python lambda, which is code: give the layer or the "
            "agent a function that is registered with Keras. A file that you "
            "trust, `keras.saving.load_model(path, safe_mode=False)` loads."
        )
    return "It must be a whole file that was saved by `agent.save`."


def _fit(environments, env, settings, log_dir, resume, others, verbose):
    parts = compose.compose(environments, settings)
    claimed = log_dir is None
    if claimed:
        log_dir = run_folder.claim(settings)
    try:
        return _fit_in(log_dir, parts, env, settings, others, verbose)
    except BaseException:
        if not resume:
            run_folder.give_up(log_dir, claimed)
        raise


def _fit_in(log_dir, parts, env, settings, others, verbose):
    checkpoint = callbacks.Checkpoint(
        os.path.join(log_dir, run_folder.CHECKPOINTS)
    )
    state = checkpoint.latest()
    begun = 0 if state is None else state["epoch"]
    del state  # It may hold a replay.
    run_folder.begin(log_dir, settings, begun)
    made = [
        *parts.callbacks,
        callbacks.Evaluate(
            env,
            seed=1_000 + settings["seed"],
            **settings["evaluate"],
            **presets.env_arguments(settings),
        ),
        *others,
        keras.callbacks.ModelCheckpoint(
            os.path.join(log_dir, "best.keras"),
            monitor="val_return",
            mode="max",
            save_best_only=True,
        ),
        callbacks.TensorBoard(log_dir, settings),
        keras.callbacks.CSVLogger(
            os.path.join(log_dir, run_folder.HISTORY), append=begun > 0
        ),
        # Behind the history, which then holds every epoch that was saved.
        checkpoint,
    ]
    try:
        fitted = parts.agent.fit(
            parts.dataset,
            steps_per_epoch=parts.steps_per_epoch,
            epochs=parts.epochs,
            callbacks=made,
            verbose=verbose,
        )
    except OSError:  # A full disk, say: there may be room for this.
        with contextlib.suppress(OSError):
            parts.agent.save(os.path.join(log_dir, "agent.keras"))
        raise
    return Run(parts.agent, fitted, None, log_dir, checkpoint.interrupted)
