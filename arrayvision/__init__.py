"""Computer-vision operators on the arrays you already have: NumPy, CuPy, PyTorch, JAX, anything with DLPack.

Importing this imports the standard library alone; each area is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what `__getattr__` gives
    from arrayvision import (
        arraymisc as arraymisc,
        image as image,
        ops as ops,
        registry as registry,
        torch_bridge as torch_bridge,
        transforms as transforms,
        utils as utils,
        video as video,
        visualization as visualization,
    )
    from arrayvision.cpu.threads import get_num_threads as get_num_threads, set_num_threads as set_num_threads

__version__ = "0.1.0"

_MODULES = ("arraymisc", "image", "ops", "registry", "torch_bridge", "transforms", "utils", "video", "visualization")
_THREADS = ("get_num_threads", "set_num_threads")
__all__ = [*_MODULES, *_THREADS, "__version__"]


if not TYPE_CHECKING:  # checkers would take any name for one of ours

    def __getattr__(name):
        if name in _MODULES:
            return importlib.import_module(f"arrayvision.{name}")
        if name in _THREADS:
            value = globals()[name] = getattr(importlib.import_module("arrayvision.cpu.threads"), name)
            return value
        raise AttributeError(f"module 'arrayvision' has no attribute {name!r}")


def __dir__():
    return __all__
