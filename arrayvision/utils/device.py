"""Which accelerators torch or CuPy could use, found without importing either.

A package that isn't installed, or a driver that is missing, means False. torch is asked only where it is imported
already: importing it takes seconds.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import platform
import sys


def _installed(package):
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


@functools.cache
def cuda_driver() -> tuple[int, list[str]] | None:
    """The CUDA version that NVIDIA's driver offers (12040 for 12.4) and the devices' names; None without a driver.

    NVIDIA's management library is asked, not CUDA itself: a process that has initialized CUDA can't fork any more.
    """
    windows = sys.platform == "win32"
    version, count, names = ctypes.c_int(), ctypes.c_uint(), []
    try:
        nvml = ctypes.CDLL("nvml.dll" if windows else "libnvidia-ml.so.1")
        if nvml.nvmlInit_v2() == 0:
            nvml.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(version))
            nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
            for index in range(count.value):
                device, text = ctypes.c_void_p(), ctypes.create_string_buffer(96)
                if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) == 0:
                    nvml.nvmlDeviceGetName(device, text, 96)
                    names.append(text.value.decode(errors="replace"))
            nvml.nvmlShutdown()
            return version.value, names
    except (OSError, AttributeError):
        pass
    try:  # a driver without that library
        cuda = ctypes.CDLL("nvcuda.dll" if windows else "libcuda.so.1")
        return (version.value, names) if cuda.cuDriverGetVersion(ctypes.byref(version)) == 0 else None
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


def cuda() -> bool:
    """Whether CuPy or torch can use an NVIDIA GPU."""
    answer = _torch("cuda")
    if answer is not None:
        return answer
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1", "NoDevFiles"):
        return False
    driver = cuda_driver()
    return bool(driver and driver[1]) and (_installed("cupy") or _installed("torch"))


def mps() -> bool:
    """Whether torch can use an Apple GPU."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(getattr(torch, "backends", None), "mps"):
        return bool(torch.backends.mps.is_available())
    return sys.platform == "darwin" and platform.machine() == "arm64" and _installed("torch")


def other(name: str) -> bool:
    """Whether an extension of torch ("mlu", "npu", "musa") is imported and finds its device."""
    return _torch(name) is True
