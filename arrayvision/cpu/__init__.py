"""Numba kernels. `kernel` compiles one, once for each dtype, into a cache that notices every change.

Numba's own cache looks at the time and size of the file a kernel stands in: a helper changed in another module would be
served stale, and images whose files share one time would be served another image's kernels. Ours is a folder whose name
is a digest of all these files and of Numba's version and flags.
"""

import contextlib
import functools
import hashlib
import logging
import multiprocessing
import os
import pathlib
import pickle
import signal
import threading

from numba import config, njit
from numba.core import event
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

from arrayvision import cache

HERE = pathlib.Path(__file__).parent


@functools.cache
def digest():
    """Names the state of every kernel's source and of what compiles it."""
    import llvmlite
    import numba

    text = hashlib.sha256()
    for path in sorted(HERE.glob("*.py")):
        text.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    flags = {k: v for k, v in sorted(os.environ.items()) if k.startswith("NUMBA_") and "CACHE" not in k}
    text.update(repr((numba.__version__, llvmlite.__version__, config.BOUNDSCHECK, flags)).encode())
    return text.hexdigest()[:20]


@functools.cache
def folder():
    """The folder of compiled kernels, or None where there is none that can be used."""
    path = cache.folder("cpu", digest())
    return path if path is not None and all(map(cache.trusted, path.iterdir())) else None


class _Locator(_CacheLocator):
    def __init__(self, py_func):
        self._name = f"{py_func.__module__}.{py_func.__code__.co_firstlineno}"
        self._py_file = py_func.__code__.co_filename  # for Numba's warnings

    def get_cache_path(self):
        return str(folder())

    def get_source_stamp(self):
        return digest()

    def get_disambiguator(self):
        return self._name

    @classmethod
    def from_function(cls, py_func, py_file):
        return cls(py_func)


class _Impl(CompileResultCacheImpl):
    def __init__(self, py_func):
        # The base class asks NUMBA_CACHE_LOCATOR_CLASSES first; these kernels have one place only.
        self._lineno = py_func.__code__.co_firstlineno
        self._locator = _Locator(py_func)
        self._filename_base = self.get_filename_base(py_func.__qualname__, "")


class _Cache(FunctionCache):
    _impl_class = _Impl

    def save_overload(self, sig, data):
        with contextlib.suppress(OSError):  # the disk is full, or the folder is gone: the kernel still runs
            try:
                super().save_overload(sig, data)
            except (EOFError, pickle.UnpicklingError):  # a damaged index: begin another
                self.flush()
                super().save_overload(sig, data)

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a damaged file is compiled anew
            return None


class _Waiting(event.Listener):
    """Says why nothing happens when a compilation takes more than a second: once for a file of kernels.

    Through the logger "arrayvision", which writes to stderr unless it is told otherwise.
    """

    def __init__(self):
        self.depth, self.timer, self.told = 0, None, set()

    def on_start(self, happening):
        self.depth += 1
        function = getattr(happening.data.get("dispatcher"), "py_func", None)
        name = getattr(function, "__module__", "")
        if self.depth > 1 or not name.startswith("arrayvision.cpu.") or name in self.told or _quiet():
            return
        self.timer = threading.Timer(1.0, self.tell, (name,))
        self.timer.daemon = True
        self.timer.start()

    def on_end(self, happening):
        self.depth -= 1
        if self.depth == 0 and self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def tell(self, name):
        self.told.add(name)
        logging.getLogger("arrayvision").warning(
            "arrayvision: compiling the CPU kernels of %s, once for this machine and version; `arrayvision warmup` does it "
            "ahead (ARRAYVISION_QUIET=1 says nothing)",
            name.rpartition(".")[2],
        )


def _quiet():
    """Asked to be, or a worker, of which there are many."""
    return bool(os.environ.get("ARRAYVISION_QUIET")) or multiprocessing.parent_process() is not None


event.register("numba:compile", _Waiting())


def kernel(function=None, **options):
    """Compile a function that holds no GIL and divides as NumPy does; cached on disk where a folder can be written.

    No fused multiply-add unless asked for (``fastmath={"contract"}``): a kernel that decides must decide alike everywhere.
    """
    if function is None:
        return functools.partial(kernel, **options)
    compiled = njit(nogil=True, error_model="numpy", **options)(function)
    if folder() is not None:
        compiled._cache = _Cache(function)
    compiled._compile_for_args = _uninterrupted(compiled._compile_for_args)
    return compiled


def _uninterrupted(function):
    """Let Ctrl-C wait for the function's end: LLVM and Numba's C code call Python back, and lose what is raised there.

    It would be a SystemError, or gone. Signals are handled in the main thread alone, so other threads have no part.
    """

    @functools.wraps(function)
    def call(*args, **kwargs):
        handler = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(handler):
            return function(*args, **kwargs)
        came = []
        signal.signal(signal.SIGINT, lambda *which: came.append(which))
        try:
            return function(*args, **kwargs)
        finally:
            signal.signal(signal.SIGINT, handler)
            if came:
                handler(*came[0])

    return call
