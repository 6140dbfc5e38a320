"""NVIDIA's driver, through ctypes: contexts, modules and launches, at the cost of one call each.

A launch through a library's own layers costs 9 to 15 microseconds of Python; `cuLaunchKernel` called like this costs about
two. The library is the one that the driver installs (libcuda.so.1, nvcuda.dll), or the one that `ARRAYVISION_CUDA_DRIVER`
names: tests and the benchmark put a stub there, so that what a launch does can be seen without a GPU.

The functions' names and numbers are those of the CUDA Driver API.
"""

import ctypes
import functools
import os
import sys
import threading

_POINTER, _INT, _UNSIGNED = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_SHARED = 97  # CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
_RATIO = 87  # CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO
_MOST_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
USUAL_SHARED = 48 << 10  # what a kernel may take without asking
_SIGNATURES = {
    "cuInit": (_UNSIGNED,),
    "cuDriverGetVersion": (_POINTER,),
    "cuGetErrorName": (_INT, _POINTER),
    "cuGetErrorString": (_INT, _POINTER),
    "cuDeviceGet": (_POINTER, _INT),
    "cuDeviceGetAttribute": (_POINTER, _INT, _INT),
    "cuDevicePrimaryCtxRetain": (_POINTER, _INT),
    "cuCtxGetCurrent": (_POINTER,),
    "cuCtxSetCurrent": (_POINTER,),
    "cuModuleLoadData": (_POINTER, ctypes.c_char_p),
    "cuModuleGetFunction": (_POINTER, _POINTER, ctypes.c_char_p),
    "cuFuncSetAttribute": (_POINTER, _INT, _INT),
}


_pointer = functools.lru_cache(256)(ctypes.c_void_p)  # streams are few


class DriverError(RuntimeError):
    """What the driver refuses; `code` is its number."""

    def __init__(self, text, code):
        super().__init__(text)
        self.code = code


class Device:
    """A GPU: its primary context, which torch and CuPy use too, its architecture, bytes of shared memory that a block may ask for, and
    how many times as fast as doubles floats are."""

    def __init__(self, driver, ordinal):
        number, found = _INT(), _INT()
        driver.call("cuDeviceGet", ctypes.byref(number), ordinal)
        parts = []
        for attribute in (_MAJOR, _MINOR, _SHARED, _RATIO):
            driver.call("cuDeviceGetAttribute", ctypes.byref(found), attribute, number)
            parts.append(found.value)
        context = _POINTER()
        driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), number)  # for good: kernels lie in it
        self.ordinal, self.context, self.arch, self.shared = ordinal, context.value, 10 * parts[0] + parts[1], parts[2]
        self.ratio = parts[3]


class Driver:
    """The driver's library, its functions, and the GPUs that were asked for."""

    def __init__(self, path):
        self.library = ctypes.WinDLL(path) if sys.platform == "win32" else ctypes.CDLL(path)  # type: ignore[attr-defined]
        for name, signature in _SIGNATURES.items():
            function = getattr(self.library, name)
            function.argtypes, function.restype = signature, _INT
        try:  # CUDA 12.4 and newer: loads a function before it is needed
            self._load = self.library.cuFuncLoad
            self._load.argtypes, self._load.restype = (_POINTER,), _INT
        except AttributeError:
            self._load = None
        self.call("cuInit", 0)
        self._current, self._set = self.library.cuCtxGetCurrent, self.library.cuCtxSetCurrent
        # Called without declared types, which costs a third: ints are C's as they are, pointers must be ctypes' own.
        self._launch = self.library["cuLaunchKernel"]
        self._devices, self._lock, self._own = {}, threading.Lock(), threading.local()

    def call(self, name, *args):
        """Call a function; `DriverError` if it fails."""
        code = getattr(self.library, name)(*args)
        if code:
            raise DriverError(self.describe(code), code)

    def describe(self, code):
        """An error's name and words."""
        words = []
        for name in ("cuGetErrorName", "cuGetErrorString"):
            text = ctypes.c_char_p()
            if getattr(self.library, name)(code, ctypes.byref(text)) == 0 and text.value:
                words.append(text.value.decode())
        return ", ".join(words) or f"error {code}"

    def version(self):
        """The newest CUDA that the driver supports, as (major, minor)."""
        found = _INT()
        self.call("cuDriverGetVersion", ctypes.byref(found))
        return found.value // 1000, found.value % 1000 // 10

    def device(self, ordinal):
        """The GPU of that number."""
        found = self._devices.get(ordinal)
        if found is None:
            with self._lock:
                found = self._devices.get(ordinal) or self._devices.setdefault(ordinal, Device(self, ordinal))
        return found

    def within(self, device, function, *args):
        """function(*args) while the GPU's context is this thread's current one; afterwards the one before is again."""
        own = self._own
        try:
            context, place = own.context
        except AttributeError:
            context = _POINTER()
            place = ctypes.byref(context)
            own.context = context, place
        self._current(place)
        before = context.value
        if before == device.context:
            return function(*args)
        code = self._set(device.context)
        if code:
            raise DriverError(self.describe(code), code)
        try:
            return function(*args)
        finally:
            if before is not None:  # a thread that had none keeps this one, as CUDA's run-time library does
                self._set(before)

    def functions(self, device, code, symbols):
        """Load compiled code on a GPU: {expression: the function's handle}. It stays loaded: graphs may hold it."""

        def load():
            module, found = _POINTER(), {}
            self.call("cuModuleLoadData", ctypes.byref(module), code)
            for expression, symbol in symbols.items():
                function = _POINTER()
                self.call("cuModuleGetFunction", ctypes.byref(function), module, symbol.encode())
                found[expression] = function
            return found

        return self.within(device, load)

    def preload(self, device, functions):
        """Load functions whole, which CUDA else does at their first launch: that ends the capture of a graph."""
        if self._load is not None:
            for function in functions:
                code = self.within(device, self._load, function)
                if code:
                    raise DriverError(self.describe(code), code)

    def launch(self, device, function, grid, block, shared, stream, table):
        """Run a function over a grid (x, y, z) of blocks of `block` threads; `table` points to its arguments."""
        x, y, z = grid
        if shared > USUAL_SHARED:
            self.within(device, self.call, "cuFuncSetAttribute", function, _MOST_SHARED, shared)
        code = self.within(device, self._launch, function, x, y, z, block, 1, 1, shared, _pointer(stream), table, None)
        if code:
            raise DriverError(self.describe(code), code)


@functools.cache
def driver() -> Driver:
    """The one object for the driver; ImportError if there is none."""
    path = os.environ.get("ARRAYVISION_CUDA_DRIVER") or ("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    try:
        return Driver(path)
    except OSError as error:
        raise ImportError(f"arrays on a GPU need NVIDIA's driver, which can't be loaded ({error})") from None
