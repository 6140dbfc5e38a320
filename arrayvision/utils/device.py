"""Which accelerators torch or CuPy could use, found without importing either.

A package that isn't installed, or a driver that is missing, means False. torch is asked only where it is imported
already: importing it takes seconds.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import platform
import sys


def _installed(package):
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


@functools.cache
def cuda_driver() -> tuple[int, list[str]] | None:
    """The CUDA version that NVIDIA's driver offers (12040 for 12.4) and the devices' names; None without a driver."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        cuda = ctypes.CDLL(name)
        version, count = ctypes.c_int(), ctypes.c_int()
        if (
            cuda.cuInit(0)
            or cuda.cuDriverGetVersion(ctypes.byref(version))
            or cuda.cuDeviceGetCount(ctypes.byref(count))
        ):
            return None
        names = []
        for ordinal in range(count.value):
            device, text = ctypes.c_int(), ctypes.create_string_buffer(256)
            cuda.cuDeviceGet(ctypes.byref(device), ordinal)
            cuda.cuDeviceGetName(text, 256, device)
            names.append(text.value.decode(errors="replace"))
        return version.value, names
    except (OSError, AttributeError):
        return None


def _torch(attribute):
    """What the imported torch says of one of its back ends."""
    torch = sys.modules.get("torch")
    try:
        found = getattr(torch, attribute, None)
        return bool(found.is_available()) if found is not None else None
    except Exception:  # a half-installed back end
        return None


def _cuda():
    answer = _torch("cuda")
    return (
        answer
        if answer is not None
        else bool(cuda_driver() and cuda_driver()[1] and (_installed("cupy") or _installed("torch")))
    )


def _mps():
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(getattr(torch, "backends", None), "mps"):
        return bool(torch.backends.mps.is_available())
    return sys.platform == "darwin" and platform.machine() == "arm64" and _installed("torch")


IS_CUDA_AVAILABLE: bool = _cuda()
IS_MPS_AVAILABLE: bool = _mps()
IS_MLU_AVAILABLE: bool = _torch("mlu") is True
IS_NPU_AVAILABLE: bool = _torch("npu") is True
IS_MUSA_AVAILABLE: bool = _torch("musa") is True
