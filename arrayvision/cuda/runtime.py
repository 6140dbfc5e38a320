"""Compiles, caches and launches the kernels of .cu files.

`Kernels("nms.cu", expressions)` stands for a file's kernels; `.launch("take_rows<float>", size, *args)` runs one on the
caller's stream. On arrays in the CPU's memory it runs in the emulator (see `array.EMULATED`).

Compiled code is kept under a digest of the source, every header, the options, NVRTC's version and the architecture: a
changed header is a new file. `driver` loads it and launches it, after a plan that is made once for each kernel.
"""

import contextlib
import ctypes
import functools
import hashlib
import json
import math
import pathlib
import re
import struct
import threading

import numpy as np

from arrayvision import array, cache, shipped
from arrayvision.cuda import driver
from arrayvision.replay import watched

HERE = pathlib.Path(__file__).parent
INCLUDE = HERE / "include"
OPTIONS = ("-std=c++17", "--fmad=false", "-default-device", f"-I{INCLUDE}")
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)  # what CI compiles for
C_TYPES = {"float16": "half_t", "bfloat16": "bfloat16_t", "float32": "float", "float64": "double"}
MAX_BLOCKS = 2**31 - 1

_SCALARS = {f"int{bits}_t": np.dtype(f"i{bits // 8}").type for bits in (8, 16, 32, 64)}
_SCALARS |= {f"u{name}": np.dtype(f"u{kind().itemsize}").type for name, kind in _SCALARS.items()}
_SCALARS |= {"int": np.int32, "unsigned": np.uint32, "unsigned int": np.uint32, "bool": np.bool_}
_SCALARS |= {"float": np.float32, "double": np.float64}
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
_INNER = r"[^()]*"
for _ in range(4):  # levels of parentheses
    _INNER = rf"(?:[^()]|\({_INNER}\))*"
_BOUNDS = rf"__launch_bounds__\s*\({_INNER}\)"
_CONSTANT = re.compile(r"^constexpr int (\w+) = (\d+);", re.MULTILINE)
_FUNCTION = re.compile(
    rf"(?:template\s*<([^<>]*)>\s*)?((?:(?:static|inline|void|__global__)\b\s*|{_BOUNDS}\s*)+)"  # template, head
    r"\b(\w+)\s*\(([^{;]*?)\)\s*\{"  # name, parameters
)


class Kernels:
    """The kernels of a .cu file. Nothing is compiled before the first launch, or `compile`."""

    def __init__(self, source, expressions, options=()):
        self.source, self.expressions = HERE / source, tuple(expressions)
        self.options = (*OPTIONS, *options)
        self._lock = threading.RLock()
        self._loaded = {}  # device's number -> the GPU and {expression: handle}, and "emulated"
        self._plans = {}

    @functools.cache  # noqa: B019  one for each file, for good
    def digest(self):
        """Names the file, what it includes, and how it is compiled."""
        key = hashlib.sha256(repr((self.expressions, [o for o in self.options if not o.startswith("-I")])).encode())
        for path in (self.source, *sorted(INCLUDE.glob("*.cuh"))):
            key.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        return f"{self.source.stem}-{key.hexdigest()[:24]}"

    def brought(self, arch: int):
        """The same as `compile`, of code that the package brings; None if it doesn't, or not whole."""
        stem = shipped.cuda(self.digest(), arch)
        code = stem.with_suffix(".bin")
        symbols = _kept(code, stem.with_suffix(".json"))
        return (code, symbols) if symbols is not None else None

    def compile(self, arch: int):
        """The compiled code's file (its bytes, if none can be written) for an architecture, and its kernels' symbols."""
        from arrayvision.cuda import nvrtc

        folder = cache.folder("cuda")
        stem = f"{self.digest()}-nvrtc{'_'.join(map(str, nvrtc.version()))}-sm_{arch}"
        if folder is not None:
            code, names = folder / f"{stem}.bin", folder / f"{stem}.json"
            symbols = _kept(code, names) if code.exists() and cache.trusted(code) and cache.trusted(names) else None
            if symbols is not None:
                return code, symbols
        content, symbols = nvrtc.compile(
            self.source.read_text(), self.source.name, self.expressions, self.options, arch
        )
        if folder is None or not cache.writable(folder):
            return content, symbols
        _keep(folder / stem, content, symbols)
        return code, symbols

    def bring(self, arch: int) -> None:
        """Put the code for an architecture, or what serves it, where `brought` looks for it: for the making of a wheel."""
        arch = shipped.SERVED.get(arch, arch)
        code, symbols = self.compile(arch)
        path = shipped.cuda(self.digest(), arch)
        path.parent.mkdir(parents=True, exist_ok=True)
        _keep(path, code if isinstance(code, bytes) else code.read_bytes(), symbols)

    def launch(self, kernel, size, *args, block=256, shared=0):
        """Run a kernel over `size` threads, or over a grid given as a tuple of blocks; nothing is run for none.

        Scalars are packed as the types that the kernel declares. The stream is the caller's library's current one.
        """
        grid = size if isinstance(size, tuple) else (min(-(-size // block), MAX_BLOCKS),)
        if 0 in grid:
            return
        plan = self._plans.get(kernel)
        if plan is None:
            plan = self._plans[kernel] = Plan(kernel, self.parameters(kernel), self.bound(kernel))
        if plan.bound is not None and block > plan.bound:
            raise ValueError(f"{kernel} has a launch bound of {plan.bound} threads a block, not {block}")
        like = args[plan.first]
        if isinstance(like, np.ndarray):
            self.emulated().launch(kernel, grid, (block,), plan.scalars(args), shared)
            return
        if type(like) is Part:
            like = like.whole
        library = array.library_of(like)
        device = library.device(like)
        ordinal = library.ordinal(device)
        gpu, functions = self._loaded.get(ordinal) or self._on(ordinal)
        grid = plan.grid(grid)
        table = plan.pack(args, library.pointer)
        how = gpu, functions[kernel], grid, block, shared
        watch = watched()
        if watch is not None:
            watch.launches.append((plan, how, args))
        plan.start(how, library.stream(device), table)

    def load(self, ordinal: int):
        """Load this file's code on a device, whole (before a CUDA graph is captured, say)."""
        gpu, functions = self._on(ordinal)
        driver.driver().preload(gpu, functions.values())

    def _on(self, ordinal):
        """The GPU and the kernels' handles there."""
        with self._lock:
            loaded = self._loaded.get(ordinal)
            if loaded is None:
                gpu = driver.driver().device(ordinal)
                brought = self.brought(gpu.arch)
                functions = None
                if brought is not None:
                    with contextlib.suppress(driver.DriverError):  # of an older driver, for which NVRTC may be right
                        functions = self._functions(gpu, *brought)
                if functions is None:
                    try:
                        functions = self._functions(gpu, *self.compile(gpu.arch))
                    except driver.DriverError as error:
                        raise RuntimeError(_refused(self.source.name, driver.driver().version(), error)) from error
                loaded = self._loaded[ordinal] = gpu, functions
        return loaded

    def _functions(self, gpu, code, symbols):
        content = code if isinstance(code, bytes) else code.read_bytes()
        return driver.driver().functions(gpu, content, symbols)

    def emulated(self):
        """This file's kernels in the emulator."""
        module = self._loaded.get("emulated")
        if module is None:
            from arrayvision.cuda.emulator import Module

            with self._lock:
                module = self._loaded["emulated"] = Module(self.source, self.expressions, (INCLUDE,))
        return module

    @functools.cache  # noqa: B019  one for each file, for good
    def parameters(self, kernel):
        """For each parameter of a kernel: None for a pointer, else the NumPy type that holds its value."""
        name, _, given = kernel.partition("<")
        template, parameters, _ = self._declared()[name]
        types = dict(zip(template, _split(given.rstrip(">")), strict=True)) if given else {}
        return [_parameter(p, types) for p in _split(parameters)]

    def bound(self, kernel):
        """The most threads a block that a kernel declares, or None: it has no bound, or only the compiler knows it."""
        return self._declared()[kernel.partition("<")[0]][2]

    @functools.cache  # noqa: B019
    def _declared(self):
        """What the file and the headers that it includes declare; its own kernels go before theirs."""
        found, paths = {}, [self.source]
        for path in paths:  # which grows
            text = _COMMENT.sub(" ", path.read_text())
            found = declared(text) | found
            included = (INCLUDE / name for name in _INCLUDE.findall(text))
            paths += [p for p in dict.fromkeys(included) if p not in paths and p.exists()]
        return found


class Plan:
    """What a kernel's launches have in common: how its arguments are packed, and where.

    The driver takes a table of pointers to the arguments' values. Each thread has a buffer for them and a table into it
    (autograd's threads launch too), so a launch packs once and allocates nothing.
    """

    def __init__(self, kernel, parameters, bound):
        self.kernel, self.parameters, self.bound = kernel, parameters, bound
        self.arrays = [i for i, p in enumerate(parameters) if p is None]
        self.first = self.arrays[0]  # which tells library and device
        codes = ["P" if p is None else _CODES[p] for p in parameters]
        self._struct = struct.Struct("@" + "".join(codes))
        self._offsets = [
            struct.calcsize("@" + "".join(codes[: i + 1])) - struct.calcsize(c) for i, c in enumerate(codes)
        ]
        self._own = threading.local()

    def scalars(self, args):
        """The arguments with numbers as NumPy's of their types, which is what the emulator takes."""
        if len(args) != len(self.parameters):
            raise TypeError(f"{self.kernel} takes {len(self.parameters)} arguments, not {len(args)}")
        return [a if p is None else self._scalar(a, p) for a, p in zip(args, self.parameters, strict=True)]

    def _scalar(self, value, kind):
        if np.dtype(kind).kind in "iu":
            limits = np.iinfo(kind)
            if value != int(value) or not limits.min <= value <= limits.max:
                raise ValueError(f"{self.kernel}: {value} does not fit {np.dtype(kind)}")
        return array.scalar(value, kind)

    def grid(self, blocks):
        """(x, y, z), within what CUDA allows."""
        x, y, z = (*blocks, 1, 1)[:3]
        if x > MAX_BLOCKS or y > 65535 or z > 65535:
            raise ValueError(f"{self.kernel}: a grid may have {MAX_BLOCKS} x 65535 x 65535 blocks, not {(x, y, z)}")
        return x, y, z

    def pack(self, args, pointer):
        """Put the values into this thread's buffer; the table of pointers to them."""
        values = list(args)
        for i in self.arrays:
            value = values[i]
            values[i] = value.address if type(value) is Part else pointer(value)
        return self.packed(values)

    def start(self, how, stream, table):
        """Launch on a stream: `how` is the GPU, the function there, the grid, threads of a block and bytes of shared memory."""
        gpu, function, grid, block, shared = how
        try:
            driver.driver().launch(gpu, function, grid, block, shared, stream, table)
        except driver.DriverError as error:
            raise driver.DriverError(
                f"{self.kernel}: CUDA refuses a launch of {grid} blocks of {block} threads ({error})", error.code
            ) from None

    def packed(self, values):
        """The same, with addresses in arrays' places."""
        own = self._own
        try:
            buffer, table = own.memory
        except AttributeError:
            buffer = ctypes.create_string_buffer(self._struct.size)
            start = ctypes.addressof(buffer)
            table = (ctypes.c_void_p * len(self._offsets))(*[start + offset for offset in self._offsets])
            own.memory = buffer, table
        try:
            self._struct.pack_into(buffer, 0, *values)
        except (struct.error, OverflowError):  # a number that its type doesn't hold, or one of NumPy's other types
            for offset, value, p in zip(self._offsets, values, self.parameters, strict=True):
                packed = struct.pack("@P", value) if p is None else self._scalar(value, p).tobytes()
                ctypes.memmove(ctypes.addressof(buffer) + offset, packed, len(packed))
        return table


_CODES = {
    np.dtype(f"{s}{n}").type: c
    for s, codes in (("i", "bhiq"), ("u", "BHIQ"))
    for n, c in zip((1, 2, 4, 8), codes, strict=True)
}
_CODES |= {np.bool_: "?", np.float32: "f", np.float64: "d"}


def _digest(content, symbols):
    return hashlib.sha256(json.dumps(symbols, sort_keys=True).encode() + b"\0" + content).hexdigest()


def _keep(path, content, symbols):
    """Write compiled code, and beside it what it is."""
    cache.write(path.with_suffix(".bin"), content)
    known = {"digest": _digest(content, symbols), "symbols": symbols}
    cache.write(
        path.with_suffix(".json"), json.dumps(known).encode()
    )  # last: it says that the other is there, and whole


def _kept(code, names):
    """The symbols of compiled code; None if a file is missing or damaged."""
    try:
        known = json.loads(names.read_bytes())
        symbols = known["symbols"]
        return symbols if known["digest"] == _digest(code.read_bytes(), symbols) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refused(name, driver, error):
    """Why a driver doesn't load compiled code, and what helps."""
    from arrayvision.cuda import nvrtc

    compiler = nvrtc.version()
    text = f"the driver refuses {name}, compiled by NVRTC {compiler[0]}.{compiler[1]} ({error})"
    if compiler <= driver:
        return text
    text += f": it supports CUDA {driver[0]}.{driver[1]} at most. Install a newer driver"
    if driver[0] < 12:
        return text  # no CuPy that we support has an older CUDA
    if compiler[0] != driver[0]:
        return f'{text}, or what this one supports: pip install "arrayvision[cuda{driver[0]}]"'
    package = "nvidia-cuda-nvrtc" + ("-cu12" if driver[0] == 12 else "")
    return f'{text}, or an older NVRTC: pip install "{package}=={driver[0]}.{driver[1]}.*"'


def declared(text):
    """A source's kernels: {name: (its template's parameters, its parameters, its launch bound if that's a number)}."""
    text = _COMMENT.sub(" ", text)
    found, constants = {}, dict(_CONSTANT.findall(text))
    for template, head, name, parameters in _FUNCTION.findall(text):
        if "__global__" in head:
            stated = re.search(r"__launch_bounds__\s*\(\s*(?:\w+::)*(\w+)\s*[,)]", head)
            number = constants.get(stated[1], stated[1]) if stated else ""
            types = [t.split()[-1] for t in template.split(",")] if template else []
            found[name] = types, parameters, int(number) if number.isdecimal() else None
    return found


def _split(text):
    """At commas outside angle brackets."""
    parts, depth, part = [], 0, ""
    for c in text:
        depth += (c == "<") - (c == ">")
        if c == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += c
    return [*parts, part.strip()] if part.strip() else parts


def _parameter(text, types):
    if "*" in text:
        return None
    kind = text.replace("const ", "").rsplit(None, 1)[0].strip()
    if kind.startswith("acc_t<"):
        kind = types.get(kind[6:-1], kind[6:-1])
        kind = "double" if kind == "double" else "float"
    return _SCALARS[types.get(kind, kind)]


def empty(like, shape, dtype: str):
    """Memory for a kernel, from the library and on the device of `like`."""
    library = array.library_of(like)
    return library.empty(shape, dtype, library.device(like))[1]


class Part:
    """Memory within a larger piece, that only launches take."""

    __slots__ = ("address", "whole")

    def __init__(self, whole, address):
        self.whole, self.address = whole, address


def parts(like, *wanted):
    """Memory for kernels alone, for each (shape, dtype) wanted: one piece on a GPU, where every allocation takes its time."""
    if isinstance(like, np.ndarray):  # in the emulator, which knows arrays by their memory
        return [empty(like, shape, dtype) for shape, dtype in wanted]
    offsets, size = [], 0
    for shape, dtype in wanted:
        offsets.append(size)
        size += -(-math.prod(shape) * array.numpy_dtype(dtype).itemsize // 256) * 256
    whole = empty(like, (size,), "uint8")
    start = array.library_of(like).pointer(whole)
    return [Part(whole, start + offset) for offset in offsets]


def zeros(like, shape, dtype: str):
    """The same, filled with zeros."""
    out = empty(like, shape, dtype)
    array.library_of(like).zero(out)
    return out


def shared_memory(like) -> int:
    """Bytes of shared memory that a block of a launch may have, on the device of `like`."""
    if isinstance(like, np.ndarray):  # in the emulator
        return driver.USUAL_SHARED
    library = array.library_of(like)
    return driver.driver().device(library.ordinal(library.device(like))).shared


def slow_doubles(like) -> bool:
    """Whether the device of `like` has a double for dozens of floats: all but those that are made for computing centres."""
    if isinstance(like, np.ndarray):  # in the emulator
        return False
    library = array.library_of(like)
    return driver.driver().device(library.ordinal(library.device(like))).ratio > 4


def argsort(keys):
    """The stable order of integers, as int64."""
    return array.library_of(keys).argsort(keys)


def running_sum(numbers):
    """The sums of integers up to each, itself included, as int64."""
    return array.library_of(numbers).running_sum(numbers)


def deterministic(like):
    """Whether the caller asked its library for results that are the same in every run (torch has such a switch)."""
    return array.library_of(like).deterministic()
