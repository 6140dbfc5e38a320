"""NVIDIA's run-time compiler, called through ctypes: it needs neither a GPU nor a toolkit, only the nvrtc wheel."""

import ctypes
import functools


class CompileError(RuntimeError):
    """What NVRTC says of a source that it refuses."""


@functools.cache
def library():
    """The loaded libnvrtc."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        return ctypes.CDLL(load_nvidia_dynamic_lib("nvrtc").abs_path)
    except Exception as error:
        raise ImportError(
            f'NVRTC, which compiles CUDA kernels, was not found ({error}): pip install "arrayvision[cuda13]" '
            f"(or [cuda12], whichever the driver supports)"
        ) from None


@functools.cache
def version() -> tuple[int, int]:
    major, minor = ctypes.c_int(), ctypes.c_int()
    _call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


@functools.cache
def architectures() -> list[int]:
    """The compute capabilities it compiles for, 90 for 9.0."""
    count = ctypes.c_int()
    _call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
    values = (ctypes.c_int * count.value)()
    _call("nvrtcGetSupportedArchs", values)
    return sorted(values)


def compile(source: str, name: str, expressions, options, arch: int) -> tuple[bytes, dict[str, str]]:
    """Compile for an architecture: a cubin (PTX, for an architecture that NVRTC doesn't know yet) and kernels' symbols."""
    known = arch in architectures()
    newest = max(a for a in architectures() if a <= arch or a == architectures()[0])
    options = [*options, f"-arch=sm_{arch}" if known else f"-arch=compute_{newest}"]
    program = ctypes.c_void_p()
    _call("nvrtcCreateProgram", ctypes.byref(program), source.encode(), name.encode(), 0, None, None)
    try:
        for expression in expressions:
            _call("nvrtcAddNameExpression", program, expression.encode())
        array = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
        if library().nvrtcCompileProgram(program, len(options), array):
            raise CompileError(f"{name} for {options[-1]}:\n{_buffer('ProgramLog', program).decode(errors='replace')}")
        symbols = {}
        for expression in expressions:
            symbol = ctypes.c_char_p()
            _call("nvrtcGetLoweredName", program, expression.encode(), ctypes.byref(symbol))
            symbols[expression] = (symbol.value or b"").decode()
        return _buffer("CUBIN" if known else "PTX", program), symbols
    finally:
        library().nvrtcDestroyProgram(ctypes.byref(program))


def _buffer(what, program):
    size = ctypes.c_size_t()
    _call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
    content = ctypes.create_string_buffer(size.value)
    _call(f"nvrtcGet{what}", program, content)
    return content.raw if what != "ProgramLog" else content.value


def _call(function, *args):
    code = getattr(library(), function)(*args)
    if code:
        library().nvrtcGetErrorString.restype = ctypes.c_char_p
        raise CompileError(f"{function}: {library().nvrtcGetErrorString(code).decode()}")
