"""Turning observations into actions while collecting.

Modules load when first used: `keras_rl2x.acting.host`, `.samplers`, `.noise`
and `.driver` import neither TensorFlow nor Keras.
"""

import importlib

_WHERE = {
    "Driver": "keras_rl2x.acting.driver",
    "GraphNetwork": "keras_rl2x.acting.graph",
    "HostNetwork": "keras_rl2x.acting.host",
    "OrnsteinUhlenbeck": "keras_rl2x.acting.noise",
    "Policy": "keras_rl2x.acting.policy",
    "play_episodes": "keras_rl2x.acting.driver",
    "samplers": "keras_rl2x.acting.samplers",
}

__all__ = list(_WHERE)


def __getattr__(name):
    if name not in _WHERE:
        raise AttributeError(
            f"module 'keras_rl2x.acting' has no attribute {name!r}"
        )
    module = importlib.import_module(_WHERE[name])
    return module if name == "samplers" else getattr(module, name)
