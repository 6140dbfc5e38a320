"""What this installation consists of, for bug reports and `arrayvision env`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections import OrderedDict

from arrayvision import cache
from arrayvision.utils.device import cuda_driver

_PACKAGES = {  # shown as: distributions that bring it
    "NumPy": ("numpy",),
    "Numba": ("numba",),
    "llvmlite": ("llvmlite",),
    "array-api-compat": ("array-api-compat",),
    "OpenCV": ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "PyAV": ("av",),
    "fsspec": ("fsspec",),
    "CuPy": ("cupy", "cupy-cuda12x", "cupy-cuda13x", "cupy-cuda11x"),
    "PyTorch": ("torch",),
    "JAX": ("jax",),
    "Pillow": ("pillow",),
    "simplejpeg": ("simplejpeg",),
    "tifffile": ("tifffile",),
    "imageio-ffmpeg": ("imageio-ffmpeg",),
    "mmengine": ("mmengine", "mmengine-lite"),
}


def _version(distributions):
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        except Exception as error:  # broken metadata
            return f"installed, version unknown ({error})"
    return "not installed"


def _safely(question):
    """An answer in words, whatever goes wrong on the way: a report must not fail where something is broken."""
    try:
        return question()
    except Exception as error:
        return f"unknown ({type(error).__name__}: {error})"


def _torch_build():
    torch = sys.modules.get("torch")
    if torch is None:
        return "not imported"
    return f"CUDA {torch.version.cuda or 'none'}, devices {torch.cuda.device_count()}"


def _threads():
    from arrayvision.cpu.threads import get_num_threads

    return f"{get_num_threads()} of {os.cpu_count()}"


def _cpu_cache():
    from arrayvision.cpu import folder

    return str(folder() or "none: no folder can be written")


def _ffmpeg():
    from arrayvision.video.processing import ffmpeg

    try:
        return ffmpeg()
    except ImportError:
        return "none"


def _cpu():
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def collect_env() -> OrderedDict:
    """Describe this installation.

    Nothing is imported for it that isn't needed by the package itself: versions come from the installed packages'
    metadata, CUDA's from the driver.

    Returns
    -------
    OrderedDict
        str -> str or bool, in the order in which to print: "sys.platform", "Python", "arrayvision", "NumPy", "Numba",
        "OpenCV", "CuPy", "PyTorch" and other packages, "CUDA available", "CUDA driver", "CUDA devices", "CPU",
        "CPU threads", "Cache", "CPU kernels' cache", "ffmpeg", and the environment variables that change behaviour.

    Examples
    --------
    >>> list(collect_env())[:2]
    ['sys.platform', 'Python']
    """
    import arrayvision

    env: OrderedDict = OrderedDict()
    env["sys.platform"] = sys.platform
    env["Python"] = sys.version.replace("\n", "")
    env["Platform"] = _safely(platform.platform)
    env["arrayvision"] = arrayvision.__version__
    for name, distributions in _PACKAGES.items():
        env[name] = _safely(lambda d=distributions: _version(d))
    env["PyTorch compiling details"] = _safely(_torch_build)
    driver = _safely(cuda_driver)
    known = driver if isinstance(driver, tuple) else None
    env["CUDA available"] = bool(known and known[1])
    env["CUDA driver"] = f"{known[0] // 1000}.{known[0] % 1000 // 10}" if known else "none"
    env["CUDA devices"] = ", ".join(known[1]) if known and known[1] else "none"
    env["CUDA_HOME"] = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "not set"
    env["CPU"] = _safely(_cpu)
    env["CPU threads"] = _safely(_threads)
    env["Cache"] = _safely(lambda: str(cache.root()))
    env["CPU kernels' cache"] = _safely(_cpu_cache)
    env["ffmpeg"] = _safely(_ffmpeg)
    for name in sorted(os.environ):
        if name.startswith(("ARRAYVISION_", "NUMBA_")) or name == "OMP_NUM_THREADS":
            env[name] = os.environ[name]
    return env
