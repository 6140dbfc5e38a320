"""What this machine offers, and helpers that older code expects."""

from arrayvision.utils import device
from arrayvision.utils.env import collect_env
from arrayvision.utils.jit import jit, skip_no_elena

# Found out when first asked for: torch may be imported by then, and asking a driver takes milliseconds.
_FLAGS = {
    "IS_CUDA_AVAILABLE": device.cuda,
    "IS_MPS_AVAILABLE": device.mps,
    "IS_MLU_AVAILABLE": lambda: device.other("mlu"),
    "IS_NPU_AVAILABLE": lambda: device.other("npu"),
    "IS_MUSA_AVAILABLE": lambda: device.other("musa"),
}
__all__ = [*_FLAGS, "collect_env", "jit", "skip_no_elena"]


def __getattr__(name):
    if name in _FLAGS:
        return _FLAGS[name]()
    raise AttributeError(f"module 'arrayvision.utils' has no attribute {name!r}")


def __dir__():
    return __all__
