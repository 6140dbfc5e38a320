"""What compiles kernels here."""

from __future__ import annotations


def get_compiler_version() -> str:
    """What compiles the CPU's kernels, as "LLVM 20.1.8"."""
    from llvmlite import binding

    return f"LLVM {'.'.join(map(str, binding.llvm_version_info))}"


def get_compiling_cuda_version() -> str:
    """What compiles CUDA kernels, as "NVRTC 13.0"; "not available" where it is not installed."""
    from arrayvision.cuda import nvrtc

    try:
        return f"NVRTC {'.'.join(map(str, nvrtc.version()))}"
    except ImportError:
        return "not available"
