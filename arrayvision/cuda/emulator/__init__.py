"""Compiles a .cu file with a C++ compiler and runs its kernels on NumPy arrays, to test CUDA code where there is no GPU.

`orders` are the orders in which a block's threads run: "ascending", "descending", "shuffled". With several, each launch
runs once in each, from the same memory, and a result that differs (by more than the rounding of sums) is a `KernelError`:
that is how a missing __syncthreads shows. `races`: each launch's first run is also watched access by access, and two
threads that touch an element with no barrier between, one of them writing, are a `KernelError` (see races.h).
`counting()` yields a list of what each launch asks of memory (see traffic.h). `sanitize`: with address and
undefined-behaviour sanitizers; the process must then be started with ``LD_PRELOAD="libasan.so libstdc++.so.6"`` and
``ASAN_OPTIONS=detect_leaks=0``, which is also how it is switched on. Linux only.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import pathlib
import re
import subprocess
import tempfile
import threading
from typing import NamedTuple

import numpy as np

from arrayvision import cache

HERE = pathlib.Path(__file__).parent
FLAGS = [
    "-std=c++17",
    "-O2",
    "-fPIC",
    "-shared",
    "-pthread",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-Wno-unknown-pragmas",
    "-w",
]
SANITIZE = [
    "-O1",
    "-g1",
    "-fsanitize=address,undefined,float-cast-overflow",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
]
ORDERS = {"ascending": 0, "descending": 1, "shuffled": 2}
orders: tuple[str, ...] = ("ascending",)
races = False
# To compile with; the runtime is races.h, not the compiler's. An access is what the source says: none split or joined.
RACES = ["-DEMU_RACES=1", "-fsanitize=thread", "-g1", "-fno-tree-vectorize", "-fno-tree-slp-vectorize", "-fno-tree-sra"]
sanitize = "asan" in os.environ.get("LD_PRELOAD", "")


class KernelError(RuntimeError):
    """What a GPU would leave undefined, hang on or refuse."""


class Traffic(NamedTuple):
    """What a launch asks of one array: requests of warps, the 32-byte sectors that they touch, accesses of single threads."""

    requests: int = 0
    sectors: int = 0
    accesses: int = 0

    @property
    def sectors_a_request(self) -> float:
        return self.sectors / max(self.requests, 1)


class Launch(NamedTuple):
    """A launch's traffic: of each argument, in their order, nothing for numbers."""

    kernel: str
    grid: tuple[int, ...]
    block: int
    loads: tuple[Traffic, ...]
    stores: tuple[Traffic, ...]
    atomics: tuple[Traffic, ...]
    barriers: int  # of all blocks together

    def total(self, kind: str) -> Traffic:
        """Of all arrays: total("loads")."""
        return Traffic(*(sum(column) for column in zip(*getattr(self, kind), strict=True)))


_launches: list[Launch] | None = None
_own = threading.local()  # `library`: what this thread launched from last, which alone keeps its stacks


@contextlib.contextmanager
def counting():
    """Count what launches in here ask of memory, into the list that it yields; races aren't looked for meanwhile."""
    global _launches
    if sanitize:
        raise RuntimeError("a sanitized build doesn't count")
    before, _launches = _launches, []
    try:
        yield _launches
    finally:
        _launches = before


@functools.cache
def _compiler():
    name = os.environ.get("CXX", "g++")
    try:
        done = subprocess.run([name, "--version"], capture_output=True, text=True, check=True, env=_plain())
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"the emulator of CUDA kernels needs a C++ compiler: {name} ({error}); set CXX") from None
    return name, done.stdout


def _plain():
    return {**os.environ, "LD_PRELOAD": ""}


def _build(source, expressions, include, checking):
    """Compile to a shared library in the cache, unless it lies there; its name is a digest of all that goes in."""
    compiler, version = _compiler()
    options = (
        FLAGS + (SANITIZE if sanitize else RACES if checking else []) + [f"-I{folder}" for folder in (*include, HERE)]
    )
    text = f'#include "prelude.cuh"\nnamespace {{\n#include "{source}"\n}}\n'
    text += (
        "#define L(i, ...) \\\n"
        'extern "C" const char* launch_##i(const unsigned* g, const unsigned* b, size_t s, int o, unsigned r, int t, void** a)'
        " { return emu::launch(&__VA_ARGS__, g, b, s, o, r, t, a, nullptr, nullptr); } \\\n"
        'extern "C" const char* watched_##i(const unsigned* g, const unsigned* b, size_t s, int o, unsigned r, int t, void** a,'
        " const size_t* n, unsigned long long* c) { return emu::launch(&__VA_ARGS__, g, b, s, o, r, t, a, n, c); } \\\n"
        'extern "C" const char* signature_##i() { return emu::signature(&__VA_ARGS__); }\n'
        'extern "C" void free_stacks() { emu::free_stacks(); }\n'
    )
    text += "".join(f"L({i}, {e})\n" for i, e in enumerate(expressions))
    key = hashlib.sha256("\0".join([text, version, *options]).encode())
    headers = sorted(p for folder in (*include, HERE, source.parent) for p in folder.glob("*.*h"))
    for path in (source, *headers):
        key.update(path.read_bytes())
    folder = cache.folder("emulated")
    if folder is None or not cache.writable(folder):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="arrayvision-"))
    path = (
        folder / f"{source.stem}-{key.hexdigest()[:24]}{'-sanitized' if sanitize else '-races' if checking else ''}.so"
    )
    with _locked(path.with_suffix(".lock")):  # several pytest workers want the same file
        if not _whole(path):
            cpp, part = path.with_suffix(".cpp"), path.with_suffix(f".{os.getpid()}")
            cpp.write_text(text)
            if checking:
                compiled = part.with_suffix(part.suffix + ".o")
                _run(compiler, *options, "-c", str(cpp), "-o", str(compiled))
                _run(compiler, *FLAGS, str(compiled), "-ldl", "-o", str(part))
                compiled.unlink()
            else:
                _run(compiler, *options, str(cpp), "-o", str(part))
            digest = hashlib.sha256(part.read_bytes()).hexdigest()
            os.replace(part, path)
            cache.write(path.with_suffix(".sha256"), digest.encode())
    return path


def _whole(path):
    """Whether a library lies there as it was written: loading a cut one can end the process."""
    try:
        if not (path.exists() and cache.trusted(path)):
            return False
        return path.with_suffix(".sha256").read_bytes() == hashlib.sha256(path.read_bytes()).hexdigest().encode()
    except OSError:
        return False


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True, env=_plain())
    if done.returncode:
        raise RuntimeError(done.stderr)


@contextlib.contextmanager
def _locked(path):
    import fcntl

    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Module:
    """The kernels of a .cu file that `expressions` name ("take_rows<float>")."""

    def __init__(self, source, expressions, include=()):
        self.what = pathlib.Path(source).resolve(), tuple(expressions), tuple(include)
        # A sanitized module has one set of statics (the sanitizers see no thread-local ones): one launch at a time.
        self.lock = threading.Lock() if sanitize else contextlib.nullcontext()
        self.builds, self.watched, self.libraries = {}, {}, {}
        self._build()

    def _build(self):
        """The library that the present mode asks for, and its kernels."""
        checking = (races or _launches is not None) and not sanitize
        if checking not in self.builds:
            path, kernels = _build(*self.what, checking), {}
            library = ctypes.CDLL(str(path))
            self.libraries[path] = library
            for i, expression in enumerate(self.what[1]):
                launch, watched = getattr(library, f"launch_{i}"), getattr(library, f"watched_{i}")
                signature = getattr(library, f"signature_{i}")
                launch.restype = watched.restype = signature.restype = ctypes.c_char_p
                launch.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_uint]
                launch.argtypes += [ctypes.c_int, ctypes.c_void_p]
                watched.argtypes = [
                    *launch.argtypes,
                    ctypes.c_void_p,
                    ctypes.c_void_p,
                ]  # the arrays' sizes in bytes; counts
                kernels[expression] = launch, signature().decode().split()
                if checking:
                    self.watched[expression] = watched
            self.builds[checking] = path, kernels
        return self.builds[checking]

    @property
    def kernels(self):
        return self._build()[1]

    def launch(self, kernel, grid, block, args, shared=0, threads=1):
        """Run a kernel; arrays and NumPy scalars of just the types that it declares."""
        path, kernels = self._build()
        if getattr(_own, "library", None) is not self.libraries[path]:
            if hasattr(_own, "library"):
                _own.library.free_stacks()
            _own.library = self.libraries[path]
        launch, signature = kernels[kernel]
        if len(args) != len(signature):
            raise TypeError(f"{kernel} takes {len(signature)} arguments, got {len(args)}")
        held = []
        for k, (a, wanted) in enumerate(zip(args, signature, strict=True)):
            if wanted[0] == "*":
                have = {"f2": "V2"}.get(a.dtype.str[1:], a.dtype.str[1:])
                # structs (boxes with their areas) are arrays of their numbers
                if wanted[1:] not in (have, "void") and (wanted[1] != "V" or have == "V2" or wanted[1:] == "V2"):
                    raise TypeError(f"{kernel}: argument {k} is {wanted[1:]}*, got an array of {a.dtype}")
                held.append(np.uint64(a.ctypes.data))
            else:
                if not hasattr(a, "dtype") or a.dtype.str[1:] != wanted:
                    raise TypeError(f"{kernel}: argument {k} is {wanted}, got {getattr(a, 'dtype', type(a).__name__)}")
                held.append(a)
        held = [np.asarray(h) for h in held]
        table = (ctypes.c_void_p * len(held))(*[h.ctypes.data for h in held])
        sizes = (ctypes.c_size_t * len(args))(*[a.nbytes if isinstance(a, np.ndarray) else 0 for a in args])
        grid = (ctypes.c_uint * 3)(*grid, *(1,) * (3 - len(grid)))
        block = (ctypes.c_uint * 3)(*block, *(1,) * (3 - len(block)))
        written = [a for a in args if isinstance(a, np.ndarray) and a.flags.writeable]
        before = [a.copy() for a in written] if len(orders) > 1 else []
        first = []
        counts = np.zeros(9 * len(args) + 1, np.uint64) if _launches is not None else None
        for order in orders:
            if first:
                for a, old in zip(written, before, strict=True):
                    a[...] = old
            with self.lock:
                if counts is not None and not first:
                    where = counts.ctypes.data
                    error = self.watched[kernel](grid, block, shared, ORDERS[order], 1, 1, table, sizes, where)
                elif races and not sanitize and not first:
                    error = self.watched[kernel](grid, block, shared, ORDERS[order], 1, threads, table, sizes, None)
                else:
                    error = launch(grid, block, shared, ORDERS[order], 1, threads, table)
            if error:
                raise KernelError(f"{kernel}: {_with_lines(error.decode(), path)}")
            if not first:
                first = [a.copy() for a in written] or [None]
            elif not all(map(_alike, first, written)):
                raise KernelError(f"{kernel}: {order} threads give another result than {orders[0]} ones: a race")
        if counts is not None:
            by_kind = counts[:-1].reshape(len(args), 3, 3).astype(int).tolist()
            loads, stores, atomics = (tuple(Traffic(*of[kind]) for of in by_kind) for kind in range(3))
            block = block[0] * block[1] * block[2]
            _launches.append(Launch(kernel, tuple(grid), block, loads, stores, atomics, int(counts[-1])))


def _with_lines(message, library):
    """The message with the source's lines in place of the library's addresses."""

    def line(match):
        frames = ["addr2line", "-i", "-e", str(library), hex(int(match[1], 16) - 1)]  # before the place of return
        try:
            places = subprocess.run(frames, capture_output=True, text=True, check=True, env=_plain()).stdout.split("\n")
        except (OSError, subprocess.CalledProcessError):
            return f"{library.name}+0x{match[1]}"
        places = [place.split(" ")[0] for place in places if place]
        own = [place for place in places if not place.startswith((str(HERE), "?"))] or places
        return os.path.basename(own[0])

    return re.sub("<([0-9a-f]+)>", line, message)


def _alike(a, b):
    if a.dtype.kind in "iub":
        return np.array_equal(a, b)
    with np.errstate(invalid="ignore"):  # what is no number yet may be a signalling NaN
        a, b = a.astype(np.float64), b.astype(np.float64)  # atomic sums round differently in another order
    scale = np.max(np.abs(a), initial=1, where=np.isfinite(a))
    return np.allclose(a, b, rtol=1e-3, atol=1e-5 * scale, equal_nan=True)
