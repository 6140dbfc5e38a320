"""Numba kernels. `kernel` compiles one, once for each dtype, into a cache that notices every change.

Numba's own cache looks at the time and size of the file a kernel stands in: a helper changed in another module would be
served stale, and images whose files share one time would be served another image's kernels. Ours is a folder whose name
is a digest of all these files and of Numba's version and flags.
"""

import contextlib
import functools
import gc
import hashlib
import importlib.util
import logging
import multiprocessing
import os
import pathlib
import pickle
import re
import signal
import sys
import threading

from numba import config, njit, types
from numba.core import event, sigutils, typing
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
from numba.core.compiler_lock import global_compiler_lock

from arrayvision import cache, shipped
from arrayvision.cpu import direct, writes

HERE = pathlib.Path(__file__).parent
_CONSTANTS = types.IntegerLiteral, types.BooleanLiteral
_ELSEWHERE = re.compile("CACHE|NUMBA_CPU_")  # options that change no kernel, or are in Numba's own keys


@functools.cache
def digest():
    """Names the state of every kernel's source and of what compiles it."""
    import llvmlite
    import numba

    text = hashlib.sha256()
    for path in sorted(HERE.glob("*.py")):
        text.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    flags = {k: v for k, v in sorted(os.environ.items()) if k.startswith("NUMBA_") and not _ELSEWHERE.search(k)}
    text.update(repr((numba.__version__, llvmlite.__version__, config.BOUNDSCHECK, flags)).encode())
    return text.hexdigest()[:20]


@functools.cache
def folder():
    """The folder of compiled kernels, or None where there is none that can be used."""
    path = cache.folder("cpu", digest())
    return path if path is not None and all(map(cache.trusted, path.iterdir())) else None


class _Locator(_CacheLocator):
    def __init__(self, py_func, path):
        self._name = f"{py_func.__module__}.{py_func.__code__.co_firstlineno}"
        self._py_file = py_func.__code__.co_filename  # for Numba's warnings
        self._path = str(path)

    def get_cache_path(self):
        return self._path

    def get_source_stamp(self):
        return digest()

    def get_disambiguator(self):
        return self._name


class _Impl(CompileResultCacheImpl):
    def __init__(self, py_func, path):
        # The base class asks NUMBA_CACHE_LOCATOR_CLASSES first; these kernels have one place only.
        self._lineno = py_func.__code__.co_firstlineno
        self._locator = _Locator(py_func, path)
        self._filename_base = self.get_filename_base(py_func.__qualname__, "")


@contextlib.contextmanager
def _alone(path):
    """Let one process at a time do this in a folder; where there are no such locks (Windows), any."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(os.path.join(path, LOCK), os.O_RDONLY | os.O_CREAT, 0o644)  # which other users of a cache can open
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


LOCK = ".lock"


class _Files(IndexDataCacheFile):
    """Code is kept behind a digest of it and of its name, and isn't loaded if that doesn't fit.

    Processes that compile a kernel for two dtypes at once take turns in the list of its files: each reads it, adds a file
    with the next number, and writes it again, so that one's entry was lost, or led to the other's file.
    """

    def save(self, key, data):
        with _alone(self._cache_path):
            super().save(key, data)

    def _save_data(self, name, data):
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(_seal(name, content) + content)

    def _load_data(self, name):
        content = pathlib.Path(self._data_path(name)).read_bytes()
        seal, content = content[:32], content[32:]
        if seal != _seal(name, content):
            raise pickle.UnpicklingError(f"{name} is damaged")
        return pickle.loads(content)


def _seal(name, content):
    return hashlib.sha256(name.encode() + b"\0" + content).digest()


class _Cache(FunctionCache):
    """Code of a kernel in a folder: for this processor, or for a level that many have."""

    def __init__(self, py_func, path, level=None):
        self._impl_class = functools.partial(_Impl, path=path)
        super().__init__(py_func)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, digest())
        self._level = level

    def _index_key(self, sig, codegen):
        sig, (triple, *own), code = super()._index_key(sig, codegen)
        return sig, (triple, self._level, "") if self._level else (triple, *own), code

    def kept(self, kinds, codegen):
        """The argument types for which there is code for this processor, or this level."""
        try:
            index = self._cache_file._load_index()
        except Exception:  # it is damaged
            return []
        own = self._index_key(kinds, codegen)[1:]
        return [key[0] for key in index if key[1:] == own]

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


def signatures(kernel, path):
    """The argument types for which a folder has a kernel's code: for the making of a wheel."""
    return [sig for sig, *_ in _Cache(kernel.py_func, path)._cache_file._load_index()]


class _Both(_Cache):
    """What the package brings, then the user's cache, which is looked for when it is needed."""

    @functools.cached_property
    def _users(self):
        return _Cache(self._py_func, folder()) if folder() is not None else None

    def kept(self, kinds, codegen):
        return super().kept(kinds, codegen) + (self._users.kept(kinds, codegen) if self._users is not None else [])

    def load_overload(self, sig, target_context):
        found = super().load_overload(sig, target_context)
        return found if found is not None or self._users is None else self._users.load_overload(sig, target_context)

    def save_overload(self, sig, data):
        if self._users is not None:
            self._users.save_overload(sig, data)


def _import_numba_arrays():
    """Import what Numba needs of arrays, without SciPy. Numba imports SciPy's linear algebra, for a tenth of a CPU second, to see
    whether it is there; that it can be found tells as much, and whoever uses it imports it."""
    from numba.np import linalg

    ensure = linalg.ensure_blas

    def look():
        if importlib.util.find_spec("scipy") is None:
            raise ImportError("there is no SciPy")

    linalg.ensure_blas = look
    try:
        from numba.np import arraymath
    finally:
        linalg.ensure_blas = ensure
    arraymath.ensure_blas = ensure


_import_numba_arrays()


class _Waiting(event.Listener):
    """Says why nothing happens when a compilation takes more than a second: once for a file of kernels.

    Through the logger "arrayvision", which writes to stderr unless it is told otherwise.
    """

    def __init__(self):
        self.depth, self.timer, self.told = 0, None, set()

    def on_start(self, happening):
        self.depth += 1
        function = getattr(happening.data.get("dispatcher"), "py_func", None)
        name = getattr(function, "__module__", None) or ""  # a function that was made by exec has none
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
    compiled = njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True, pipeline_class=direct.Compiler, **options)(
        function
    )
    brought = shipped.cpu(digest())
    if brought is not None:
        compiled._cache = _Both(function, *brought)
    elif folder() is not None:
        compiled._cache = _Cache(function, folder())
    compiled._compile_for_args = _uninterrupted(compiled._compile_for_args)
    _compile_once(compiled)
    return compiled


def _compile_once(kernel):
    """Let a kernel's code for arrays that it can't write to serve those that it only reads and could: `cpu/writes.py`.

    In memory if it is there, else in the cache; what is compiled is of that kind.
    """
    compile, insert = kernel.compile, kernel._insert
    served = set()  # types that Numba was told of: told twice, it finds neither

    def choose(kinds, inside):
        if kinds in kernel.overloads:
            return kinds
        there = [*kernel.overloads]
        if isinstance(kernel._cache, _Cache):
            there += kernel._cache.kept(kinds, kernel.targetctx.codegen())
        found = next((have for have in there if writes.serves(have, kinds, inside)), None)
        return writes.settled(kernel.py_func, kinds, inside) if found is None else found

    def compile_one(signature):
        kinds, result = sigutils.normalize_signature(signature)
        if result is not None:
            return compile(signature)
        with global_compiler_lock, _without_collector():
            chosen = choose(tuple(kinds), True)
            entry = _with_room(compile, chosen)
            if chosen != kinds and tuple(kinds) not in served:
                insert([kind._code for kind in kinds], entry, False)  # calls with these types find it at once
                served.add(tuple(kinds))
        return entry

    def get_call_template(args, kws):
        """For a call by another kernel, which hands tuples over as they are. To Numba a number that stands in the source is of a type
        of its own, and a kernel called with 0, with 6 and with a variable would be compiled three times."""
        pysig, kinds = kernel._compiler.fold_argument_types(args, kws)
        kinds = tuple(types.unliteral(kind) if isinstance(kind, _CONSTANTS) else kind for kind in kinds)
        with global_compiler_lock:
            chosen = choose(tuple(kinds), False)
            compile(chosen)
            signatures = [kernel.overloads[chosen].signature]
        name = kernel.py_func.__name__
        return typing.make_concrete_template(f"CallTemplate({name})", name, signatures), pysig, kinds, {}

    kernel.compile, kernel.get_call_template = compile_one, get_call_template


if hasattr(os, "register_at_fork"):  # a child has no use for a lock that another thread of the parent holds
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def _with_room(function, argument):
    """Call a function with room for the frames of all that it calls.

    Python has frames in pieces of 16 KiB. Where one ends, each call begins another, which the system hands out and takes back:
    the compiler, tens of calls deep, does so 30,000 times for a kernel, a tenth of its time. A piece is as large as its first
    frame needs and half of it empty, so a large frame, most of which is never touched, makes room for those that follow.
    """
    return function(argument)


if sys.version_info >= (3, 11):
    _with_room.__code__ = _with_room.__code__.replace(co_stacksize=100_000)


@contextlib.contextmanager
def _without_collector():
    """Let the garbage collector wait: it would look through the compiler's millions of objects again and again."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


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
