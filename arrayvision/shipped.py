"""Kernels that a wheel brings compiled (`make wheel`): looked up before the user's cache, and before a compiler.

CPU kernels are compiled for the levels of x86-64 that processors share, not for one processor, and lie in a folder that
names all they depend on: the digest of `arrayvision.cpu` (sources, Numba, llvmlite, its options) and the level; their files
name the Python. CUDA kernels lie under the digest of their sources and the architecture. What doesn't match isn't found,
and what is damaged isn't loaded: the next place is asked, in silence. An installation from sources has none of these.
"""

import functools
import os
import pathlib
import platform

ROOT = pathlib.Path(__file__).parent / "_compiled"

# What a level asks of a processor, by LLVM's names, the best level first: the x86-64 psABI's micro-architecture levels.
_V3 = ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse4.2")
LEVELS = {
    "x86-64-v4": (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
    "x86-64-v3": _V3,
}
BASELINE = {"aarch64": "generic", "arm64": "generic"}  # machines for which one set is made, and the processor's name


def levels() -> tuple[str, ...]:
    """The processors for which a wheel of this machine's architecture is made, the best first."""
    machine = platform.machine()
    return (BASELINE[machine],) if machine in BASELINE else tuple(LEVELS) if machine in ("x86_64", "AMD64") else ()


@functools.cache
def cpu(digest: str) -> tuple[pathlib.Path, str] | None:
    """The folder of CPU kernels for this processor, and the level that they were compiled for; None without one."""
    folder = ROOT / "cpu" / digest
    if not folder.is_dir() or os.environ.get("NUMBA_CPU_NAME"):  # the user wants another processor's
        return None
    level = next((level for level in levels() if (folder / level).is_dir() and runs(level)), None)
    return None if level is None else (folder / level, level)


def runs(level: str) -> bool:
    """Whether this processor has what a level asks for."""
    import llvmlite.binding

    try:
        features = llvmlite.binding.get_host_cpu_features()
    except RuntimeError:  # LLVM doesn't know them here
        return False
    return all(features.get(f) for f in LEVELS.get(level, ()))


# A GPU runs code that was compiled for an earlier one of its generation, so a wheel has none of their own for these.
SERVED = {86: 80, 89: 80}


def cuda(digest: str, arch: int) -> pathlib.Path:
    """Where a .cu file's code for an architecture would lie, or the code that serves it, without its suffix."""
    return ROOT / "cuda" / f"{digest}-sm_{SERVED.get(arch, arch)}"
