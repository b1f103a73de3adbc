"""What of an agent is saved: its variables, and those that Keras leaves out."""

import contextlib
import os


def save(write, path, overwrite, **kwargs):
    """Saves an agent; an old file is there until the new one is complete.

    Args:
        write: Function, `keras.Model.save` of the agent.
        path: As there.
        overwrite: As there.
        **kwargs: As there.

    Raises:
        ValueError: If it is to be HDF5, which keeps neither random states nor
            all optimizers.
        OSError: If it could not be written; the old file is as it was.
    """
    name = str(path)
    if name.endswith((".h5", ".hdf5")):
        raise ValueError(
            "An agent is saved as a file that ends in `.keras`. "
            f"Received: {name!r}"
        )
    if not name.endswith(".keras") or "://" in name:
        write(path, overwrite=overwrite, **kwargs)
        return
    if os.path.exists(path) and not overwrite:  # Keras asks.
        write(path, overwrite=False, **kwargs)
        return
    aside = f"{name.removesuffix('.keras')}.writing.keras"
    try:
        write(aside, **kwargs)
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(aside)
        raise


def get_state(agent):
    """Dict of arrays: every variable of an agent and of its optimizers."""
    return {
        f"{i:04d}": variable.numpy()
        for i, variable in enumerate(_variables(agent))
    }


def set_state(agent, state):
    """Restores what `get_state` returned.

    Args:
        agent: An `Agent`.
        state: Dict of arrays.

    Raises:
        ValueError: If that agent had other variables.
    """
    variables = _variables(agent)
    shapes = [tuple(v.shape) for v in variables]
    saved = [tuple(state[key].shape) for key in sorted(state)]
    if shapes != saved:
        raise ValueError(
            "The saved agent differs from this one: build it, and compile "
            "it, with the arguments that it had. Received: variables of "
            f"shapes {saved}, for an agent with {shapes}"
        )
    for variable, key in zip(variables, sorted(state)):
        variable.assign(state[key])


def save_random_states(agent, store):
    """Writes the states of all seed generators, dropout's too, into a store."""
    for i, variable in enumerate(_random_states(agent)):
        store[f"random_{i}"] = variable.numpy()


def load_random_states(agent, store):
    """Restores them; returns the rest of the store, for Keras."""
    states = {f"random_{i}": v for i, v in enumerate(_random_states(agent))}
    for key, variable in states.items():
        variable.assign(store[key])
    return {key: store[key] for key in set(store.keys()) - set(states)}


def _variables(agent):
    metrics = {id(variable) for variable in agent.metrics_variables}
    own = [v for v in agent.variables if id(v) not in metrics]
    return own + [v for o in agent.optimizers for v in o.variables]


def _random_states(agent):
    return [
        v for v in agent.variables if v.path.endswith("seed_generator_state")
    ]
