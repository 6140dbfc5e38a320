"""A driver that launches nothing, in place of NVIDIA's: the host's part of a launch is timed, and tested, without a GPU."""

from __future__ import annotations

import ctypes
import functools
import pathlib
import shutil
import subprocess
import tempfile

SOURCE = pathlib.Path(__file__).parent / "stub_driver.c"
Hook = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(ctypes.c_uint), ctypes.c_uint,
    ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p),
)  # fmt: skip


@functools.cache
def build() -> pathlib.Path | None:
    """The stub as a library, compiled once a process; None without a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    path = pathlib.Path(tempfile.mkdtemp(prefix="arrayvision-stub-")) / "stub.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-w", str(SOURCE), "-o", str(path)], check=True)
    return path
