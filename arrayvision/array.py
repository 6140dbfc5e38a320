"""Which library and device a call's arrays are on; their sizes and dtypes; views of them for kernels; results in the
caller's library.

An operator calls `arrays` once, reads its inputs through what that gives, gets its outputs from it, and knows no
library's name. An operator that counts, for each point, the boxes that it is in::

    at = arrays("count", points=points, boxes=boxes)      # one library, one device, or a TypeError that names the two
    n = at.sizes(points="N 2", boxes="M 4")               # n.N, n.M; equal letters must agree, or a ValueError says which
    dtype = at.floats(points=points, boxes=boxes)         # the dtype to compute in
    out = at.empty((n.N,), "int64")                       # allocated by the caller's library
    at.kernels("count").count(at.read(points, dtype), at.read(boxes, dtype), out.view)   # arrayvision.cpu or .cuda
    return out.result()

A CPU kernel sees NumPy arrays (inputs C-contiguous, aligned, native-endian, read-only; float16 and bfloat16 as float32);
a CUDA kernel sees the caller's own contiguous arrays and takes their pointers. A library is a class below with a handful
of methods; it is looked up by the array's type, and never imported by us.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import sys
from types import SimpleNamespace

import numpy as np

from arrayvision.errors import InvalidKind, InvalidValue, TooLarge
from arrayvision.replay import spoil, with_tensors

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_DTYPES = {name: np.dtype(name) for name in (*FLOATS, *INTEGERS, "bool") if name != "bfloat16"}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_FLOAT32 = np.dtype("float32")
_LONG = {np.dtype("int32"): 4, np.dtype("int64"): 8}


def numpy_dtype(name: str) -> np.dtype:
    """NumPy's dtype of that name; bfloat16 is ml_dtypes's (NumPy has none)."""
    if name == "bfloat16" and name not in _DTYPES:
        import ml_dtypes

        _DTYPES[name] = np.dtype(ml_dtypes.bfloat16)
    return _DTYPES[name]


def _rounded(x: np.ndarray, dtype: str) -> np.ndarray:
    """The values in a dtype, without a warning where it doesn't hold them: they become infinite; the array itself if it has it."""
    wanted = numpy_dtype(dtype)
    if x.dtype == wanted:
        return x
    with np.errstate(over="ignore", invalid="ignore"):
        return x.astype(wanted)


def scalar(value: float, dtype) -> np.generic:
    """A number as NumPy's of a dtype; one too large for it becomes infinite, without a warning."""
    kind = np.dtype(dtype).type
    if -_LARGEST <= value <= _LARGEST:
        return kind(value)
    with np.errstate(over="ignore"):
        return kind(value)


_LARGEST = 65504.0  # float16's, which every float holds


def import_cupy():
    """CuPy, which launches CUDA kernels."""
    try:
        import cupy
    except ImportError as error:
        raise ImportError(
            f'arrays on a GPU need CuPy ({error}): pip install "arrayvision[cuda13]", or [cuda12], as the driver supports'
        ) from None
    return cupy


# ---- libraries -----------------------------------------------------------------------------------------------------
class NumPy:
    """NumPy, and what the others do unless they say otherwise."""

    name = "NumPy"
    noun = "a NumPy array"
    fresh = False  # whether `host` gives an array object that nobody else holds
    views = True  # whether first rows of an array are a view, which takes no compiling, and `item` reads a number

    def refuse(self, function, argument, x):
        """Raise for an array whose values can't be read, or would be read wrong."""
        if isinstance(x, np.ma.MaskedArray):
            raise TypeError(f"{function}: {argument} is a masked array, whose mask would be lost: give a plain one")

    def device(self, x):
        return "cpu"

    def on_gpu(self, device):
        return False

    def dtype(self, x):
        return _NAMES.get(x.dtype) or x.dtype.newbyteorder("=").name

    def host(self, x, dtype):
        """The values in a NumPy array of this dtype; the same memory where it has that dtype."""
        return _rounded(x, dtype)

    def bounds(self, x):
        """The least and the greatest value of integers, or of floats without NaN."""
        return x.min().item(), x.max().item()

    def fetched(self, x):
        """The values of what a kernel saw or filled, in the CPU's memory."""
        return x

    def empty(self, shape, dtype, device):
        """A result to fill, and the kernel's view of it."""
        array = np.empty(shape, numpy_dtype(dtype))
        return array, array

    def from_host(self, array, dtype, device):
        """The caller's array with the values of a NumPy array that nobody else holds."""
        return _rounded(array, dtype)

    # -- small calls, see `plain` --
    def plain(self, x):
        """What a kernel sees of a usual array, or None if it isn't one."""
        if type(x) is np.ndarray and x.dtype == _FLOAT32:
            flags = x.flags
            if flags.c_contiguous and flags.aligned:
                view = x.view()
                view.setflags(write=False)
                return view
        return None

    def given_back(self, array):
        """The caller's array of a result that was computed from `plain` ones."""
        return array

    def quick(self, plan, given, more, integers):
        """What `quick` below returns; None for other libraries' arrays too."""
        places, shapes = [], []
        for x in given:
            if x is None:
                places.append(0)
                shapes.append(None)
            elif type(x) is np.ndarray and x.dtype == _FLOAT32 and x.flags.c_contiguous and x.flags.aligned:
                places.append(x.__array_interface__["data"][0])
                shapes.append(x.shape)
            else:
                return None
        if integers is not None:
            x, size = integers, _LONG.get(getattr(integers, "dtype", None))
            if type(x) is not np.ndarray or size is None or not (x.flags.c_contiguous and x.flags.aligned):
                return None
            places += x.__array_interface__["data"][0], size
            shapes.append(x.shape)
        try:
            call = plan(*shapes, *more)
        except TypeError:  # what can't be remembered, such as an array in a number's place, or is of a wrong kind
            return None
        if call is None:
            return None
        kernel, shape, sizes, _ = call
        out = np.empty(shape, _FLOAT32)
        return None if kernel(*places, out.__array_interface__["data"][0], *sizes) is False else out

    def replay(self, run, given, numbers):
        """What `replay` below returns."""
        return run(*given, *numbers)

    # -- what launches of CUDA kernels need; on NumPy arrays, in the emulator --
    def argsort(self, x):
        """The stable order of integers, as int64."""
        return np.argsort(x, kind="stable")

    def running_sum(self, x):
        """The sums of integers up to each, itself included, as int64."""
        return np.cumsum(x, dtype=np.int64)

    def zero(self, x):
        """Fill with zeros."""
        x.fill(0)

    def pointer(self, x):
        """The address of the first element."""
        return x.ctypes.data

    def matmul(self, a, b, out):
        """Fill `out` with products of matrices, for all that the axes before the last two hold."""
        with np.errstate(over="ignore", invalid="ignore"):
            if a.dtype.name in ("float32", "float64"):
                np.matmul(a, b, out=out)
            else:
                out[:] = np.matmul(a.astype(np.float32), b.astype(np.float32))

    def deterministic(self):
        """Whether sums must be added in the same order in every run."""
        return False


class Torch(NumPy):
    name = "torch"
    noun = "a torch tensor"
    fresh = True

    def __init__(self):
        self.torch = torch = sys.modules["torch"]
        self._dtypes = {name: getattr(torch, name) for name in (*FLOATS, *INTEGERS, "bool") if hasattr(torch, name)}
        self._names = {dtype: name for name, dtype in self._dtypes.items()}
        self._unsigned = {self._dtypes.get(name) for name in ("uint16", "uint32", "uint64")}
        self._raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)  # a fifth of the public call's time
        self._plain = (torch.Tensor, torch.nn.Parameter)
        self._gpu: dict = {}
        self._float32 = torch.float32
        self.quick = _quick_with_tensors(torch)
        self.replay = with_tensors(torch, self)
        self._strided, self._dual = torch.strided, torch.autograd.forward_ad
        self.pointer = torch.Tensor.data_ptr  # which a method of ours would take twice as long to call
        self._recording, self._wrapped = torch.is_grad_enabled, torch._C._functorch.is_functorch_wrapped_tensor

    def refuse(self, function, argument, x):
        if (  # what is usual, quickly
            type(x) in self._plain
            and x.layout is self._strided
            and (x.is_cpu or x.is_cuda)
            and not (x.requires_grad and self._recording())
            and not x.is_quantized
            and not self._wrapped(x)
            and self._dual._current_level < 0
        ):
            return
        torch = self.torch
        if type(x) not in self._plain:
            fake = sys.modules.get("torch._subclasses.fake_tensor")
            if fake is not None and isinstance(x, fake.FakeTensor):
                raise TypeError(
                    f"{function}: {argument} is a fake tensor, without values: inside torch.compile use arrayvision.torch_bridge"
                )
        if x.requires_grad and torch.is_grad_enabled():
            raise TypeError(
                f"{function}: {argument} requires grad, and arrayvision.ops records no gradients: use "
                f"arrayvision.torch_bridge.ops.{function.removesuffix('_backward')}, or give {argument}.detach()"
            )
        if x.layout is not torch.strided:
            raise TypeError(f"{function}: {argument} is a sparse tensor ({x.layout}): give {argument}.to_dense()")
        if x.device.type not in ("cpu", "cuda"):
            what = "has no values" if x.device.type == "meta" else f"is on {x.device}"
            raise TypeError(f"{function}: {argument} {what}: give a tensor on the CPU or a CUDA device")
        if x.is_quantized:
            raise TypeError(f"{function}: {argument} is quantized: give {argument}.dequantize()")
        if self._wrapped(x):
            raise TypeError(
                f"{function}: {argument} is traced by torch.func, which sees no values: use arrayvision.torch_bridge"
            )
        if self._dual._current_level >= 0 and self._dual.unpack_dual(x).tangent is not None:
            raise TypeError(
                f"{function}: {argument} carries a forward-mode tangent, which would be lost: give its primal"
            )

    def device(self, x):
        return x.device

    def on_gpu(self, device):
        found = self._gpu.get(device)
        if found is None:
            found = self._gpu[device] = device.type == "cuda"  # which takes as long as all other checks of an array
        return found

    def dtype(self, x):
        return self._names.get(x.dtype) or str(x.dtype).removeprefix("torch.")

    def host(self, x, dtype):
        if x.requires_grad:
            x = x.detach()
        if x.is_neg():
            x = x.resolve_neg()
        wanted = self._dtypes.get(dtype)
        if x.dtype is not wanted and wanted is not None:
            x = x.to(wanted)
        if dtype == "bfloat16":  # NumPy takes it as bits
            return x.contiguous().view(self.torch.int16).numpy().view(numpy_dtype(dtype))
        return x.numpy()

    def bounds(self, x):
        if x.dtype in self._unsigned:  # torch has no minimum of these
            x = x.detach().cpu().numpy()
            return x.min().item(), x.max().item()
        low, high = self.torch.aminmax(x)
        return low.item(), high.item()

    def contiguous(self, x, dtype):
        wanted = self._dtypes[dtype]
        if x.dtype is wanted and x.is_contiguous() and not x.is_neg():
            return x  # what is usual, quickly: only its address is asked for
        return x.detach().to(wanted).resolve_neg().contiguous()

    def empty(self, shape, dtype, device):
        if self.on_gpu(device):
            array = self.torch.empty(shape, dtype=self._dtypes[dtype], device=device)
            return array, array
        # In the CPU's memory NumPy allocates: its large arrays lie in huge pages, and writing one takes a third of the time.
        view = np.empty(shape, _DTYPES.get(dtype) or numpy_dtype(dtype))
        if dtype == "bfloat16":
            return self.torch.from_numpy(view.view(np.int16)).view(self.torch.bfloat16), view
        return self.torch.from_numpy(view), view

    def from_host(self, array, dtype, device):
        return self.torch.from_numpy(array).to(device, self._dtypes[dtype])

    def plain(self, x):
        if (
            x.dtype is self._float32
            and x.is_cpu
            and type(x) in self._plain
            and not x.requires_grad
            and not self._wrapped(x)
            and self._dual._current_level < 0
        ):
            try:
                if x.is_contiguous():
                    view = x.numpy()
                    view.setflags(write=False)
                    return view
            except (RuntimeError, TypeError):  # sparse, or lazily negated
                pass
        return None

    def given_back(self, array):
        return self.torch.from_numpy(array)

    def fetched(self, x):
        return x.cpu().numpy()

    def stream(self, device):
        if self._raw_stream is not None:
            return self._raw_stream(device.index)
        return self.torch.cuda.current_stream(device).cuda_stream

    def ordinal(self, device):
        return device.index

    def argsort(self, x):
        return self.torch.sort(x, stable=True).indices

    def running_sum(self, x):
        return self.torch.cumsum(x, 0, dtype=self.torch.int64)

    def zero(self, x):
        x.zero_()

    def matmul(self, a, b, out):
        self.torch.matmul(a, b, out=out)

    def deterministic(self):
        spoil()  # another call may find another answer
        return self.torch.are_deterministic_algorithms_enabled()


def _quick_with_tensors(torch):
    """`NumPy.quick` for tensors, with all names at hand: looking one up takes as long as most of what is asked here."""
    tensor, parameter, float32, long = torch.Tensor, torch.nn.Parameter, torch.float32, {torch.int32: 4, torch.int64: 8}
    dual, recording = torch.autograd.forward_ad, torch.is_grad_enabled
    empty, from_numpy, single = np.empty, torch.from_numpy, _FLOAT32

    def quick(plan, given, more, integers):
        if dual._current_level >= 0:
            return None
        places, shapes = [], []
        try:
            for x in given:
                kind = type(x)
                if kind is not tensor and kind is not parameter:
                    if x is not None:
                        return None
                    places.append(0)
                    shapes.append(None)
                    continue
                if (
                    x.dtype is not float32
                    or not x.is_cpu
                    or not x.is_contiguous()
                    or (x.requires_grad and recording())
                    or x.is_neg()
                ):
                    return None
                place = x.data_ptr()
                if not place:  # empty, or its memory was given back
                    return None
                places.append(place)
                shapes.append(x.shape)
            if integers is not None:
                x, kind = integers, type(integers)
                size = long.get(x.dtype) if kind is tensor or kind is parameter else None
                if size is None or not x.is_cpu or not x.is_contiguous():
                    return None
                places += x.data_ptr(), size
                shapes.append(x.shape)
            call = plan(*shapes, *more)
        except (RuntimeError, TypeError):  # sparse, or traced by torch.func: without memory of its own; or as above
            return None
        if call is None:
            return None
        kernel, shape, sizes, _ = call
        out = from_numpy(empty(shape, single))
        return None if kernel(*places, out.data_ptr(), *sizes) is False else out

    return quick


class CuPy(NumPy):
    name = "CuPy"
    noun = "a CuPy array"

    def plain(self, x):
        return None

    def __init__(self):
        self.cupy = import_cupy()

    def refuse(self, function, argument, x):
        pass

    def device(self, x):
        return x.device.id

    def on_gpu(self, device):
        return True

    def contiguous(self, x, dtype):
        with self.cupy.cuda.Device(x.device.id):
            return self.cupy.asarray(x, numpy_dtype(dtype), order="C")  # ascontiguousarray gives a number an axis

    def empty(self, shape, dtype, device):
        with self.cupy.cuda.Device(device):
            array = self.cupy.empty(shape, numpy_dtype(dtype))
        return array, array

    def from_host(self, array, dtype, device):
        with self.cupy.cuda.Device(device):
            return self.cupy.asarray(array, numpy_dtype(dtype))

    def fetched(self, x):
        return x.get()

    def pointer(self, x):
        return x.data.ptr

    def stream(self, device):
        with self.cupy.cuda.Device(device):
            return self.cupy.cuda.get_current_stream().ptr

    def ordinal(self, device):
        return device

    def argsort(self, x):
        with self.cupy.cuda.Device(x.device.id):
            return self.cupy.argsort(x)  # stable: CuPy has no other

    def running_sum(self, x):
        with self.cupy.cuda.Device(x.device.id):
            return self.cupy.cumsum(x, dtype=self.cupy.int64)

    def zero(self, x):
        with self.cupy.cuda.Device(x.device.id):
            x.fill(0)

    def matmul(self, a, b, out):
        with self.cupy.cuda.Device(a.device.id):
            if a.dtype.name != "bfloat16":
                self.cupy.matmul(a, b, out=out)
            else:  # its own sums of these would be rounded, or not be there
                out[...] = self.cupy.matmul(a.astype("float32"), b.astype("float32"))


class JAX(NumPy):
    name = "JAX"
    noun = "a JAX array"
    views = False

    def plain(self, x):
        return None

    def __init__(self):
        self.jax = sys.modules["jax"]

    def refuse(self, function, argument, x):
        if isinstance(x, self.jax.core.Tracer):
            raise TypeError(
                f"{function}: {argument} is traced by JAX and has no values: call it through jax.pure_callback"
            )
        if len(x.devices()) != 1:
            raise TypeError(f"{function}: {argument} is sharded over {len(x.devices())} devices: give an array on one")

    def device(self, x):
        (device,) = x.devices()
        return device

    def on_gpu(self, device):
        return device.platform in ("gpu", "cuda")

    def host(self, x, dtype):
        return super().host(np.asarray(x), dtype)

    def empty(self, shape, dtype, device):
        if self.on_gpu(device):
            return library("cupy").empty(shape, dtype, device.local_hardware_id)
        return None, np.empty(shape, numpy_dtype(dtype))  # a JAX array can't be written: it takes this one over

    def from_host(self, array, dtype, device):
        return self.jax.device_put(_rounded(array, dtype), device)  # the same memory, if aligned

    # On a GPU, kernels see CuPy's view of a JAX array, and JAX takes CuPy's results over; both through DLPack.
    def contiguous(self, x, dtype):
        return library("cupy").contiguous(import_cupy().from_dlpack(x), dtype)

    def from_gpu(self, array):
        # JAX has streams of its own. Without waiting here it could read the result too early, and, once the call has
        # returned and its inputs are let go of, give their memory away under a kernel that still runs.
        cupy = import_cupy()
        with cupy.cuda.Device(array.device.id):
            cupy.cuda.get_current_stream().synchronize()
        return self.jax.dlpack.from_dlpack(array)


class DLPack(NumPy):
    """Any library whose arrays know their namespace (the array API standard) or speak DLPack, on the CPU."""

    views = False

    def __init__(self, xp):
        self.xp = xp
        self.name = xp.__name__.split(".")[0]
        self.noun = f"an array of {self.name}"

    def plain(self, x):
        return None

    def refuse(self, function, argument, x):
        if hasattr(x, "__dlpack_device__") and x.__dlpack_device__()[0] not in (1, 3):  # CPU, pinned
            raise TypeError(
                f"{function}: {argument} ({self.noun}) is not in the CPU's memory; on a GPU give CuPy, torch or JAX arrays"
            )

    def device(self, x):
        return getattr(x, "device", "cpu")

    def dtype(self, x):
        return str(x.dtype).rsplit(".", 1)[-1]

    def host(self, x, dtype):
        return super().host(np.from_dlpack(x) if hasattr(x, "__dlpack__") else np.asarray(x), dtype)

    def bounds(self, x):
        return super().bounds(np.from_dlpack(x) if hasattr(x, "__dlpack__") else np.asarray(x))

    def empty(self, shape, dtype, device):
        return None, np.empty(shape, numpy_dtype(dtype))

    def from_host(self, array, dtype, device):
        array = _rounded(array, dtype)
        try:
            return self.xp.from_dlpack(array)
        except (AttributeError, TypeError, BufferError):
            return self.xp.asarray(array)


_KINDS = {"torch": (Torch, "Tensor"), "cupy": (CuPy, "ndarray"), "jax": (JAX, "Array")}
NUMPY = NumPy()
_of_type: dict = {np.ndarray: NUMPY}  # array type -> library


@functools.cache
def library(root: str):
    """The one object for a library that is imported already."""
    return _of_type[np.ndarray] if root == "numpy" else _KINDS[root][0]()


def library_of(x, function="array", argument="x"):
    """The library that an array belongs to; TypeError if it is no array."""
    kind = type(x)
    found = _of_type.get(kind)
    if found is None:
        found = _of_type[kind] = _find(x, kind, function, argument)
    return found


def _find(x, kind, function, argument):
    if issubclass(kind, np.ndarray):
        return library("numpy")
    for root, (_, array) in _KINDS.items():
        module = sys.modules.get(root)
        if module is not None and issubclass(kind, getattr(module, array, ())):
            return library(root)
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(x, jax.core.Tracer):
        return library("jax")
    if hasattr(x, "__array_namespace__"):
        return DLPack(x.__array_namespace__())
    if hasattr(x, "__dlpack__"):
        root = sys.modules.get(kind.__module__.split(".")[0])
        if hasattr(root, "from_dlpack"):
            return DLPack(root)
    text = f"{function}: {argument} must be an array (NumPy, CuPy, torch, JAX or with DLPack), got {kind.__name__}"
    if hasattr(x, "to_numpy"):  # a DataFrame, a Series
        text += f": give {argument}.to_numpy()"
    elif isinstance(x, (list, tuple)) or hasattr(x, "__array__") or hasattr(x, "__array_interface__"):  # a PIL image
        text += f": give np.asarray({argument})"
    raise InvalidKind(text)


def plain(first, second) -> tuple | None:
    """What kernels see of two arrays of a small call, quickly; None for what isn't usual, and needs all of the checks below.

    Usual are contiguous float32 arrays in the CPU's memory, both NumPy's or both torch's: for those `arrays`, `Arrays.read`
    and `Arrays.empty` take longer than a small problem does.

    Returns
    -------
    (array, array, callable) or None
        NumPy views, and what gives a NumPy array as one of the caller's library.
    """
    found = _of_type.get(type(first))
    if EMULATED or _of_type.get(type(second)) is not found or found is None:
        return None
    a, b = found.plain(first), found.plain(second)
    return None if a is None or b is None else (a, b, found.given_back)


def quick(plan, given, *more, integers=None):
    """The result of a small call of usual arrays, by a kernel that takes addresses; None for all other calls.

    Usual are those that `plain` takes, and contiguous int32 and int64 ones as `integers`. What follows from their shapes is
    remembered, so a call takes two or three microseconds.

    Parameters
    ----------
    plan : callable
        ``plan(*shapes, *more)``, with a cache (`functools.lru_cache`, typed, for True is 1): ``(kernel, shape, sizes, kept)``:
        what is called and with what, the result's shape, and what memory there are addresses of among `sizes`. None where
        shapes don't fit or something else is to be checked, and for more than `SMALL` numbers where threads need arrays. A
        TypeError counts as None.
    given : sequence of arrays
        Float32 ones; None for one left out, whose shape is None and address 0.
    *more
        Other arguments.
    integers : array, optional
        The last argument.

    Returns
    -------
    array or None
        What ``kernel(*addresses, address, *sizes)`` filled; None if it returned False. With `integers` the last of the
        addresses are theirs and how many bytes one of them has.
    """
    library = _of_type.get(type(given[0]))
    return None if EMULATED or library is None else library.quick(plan, given, more, integers)


def replay(run, given, *numbers):
    """``run(*given, *numbers)``, a function's whole work, of arrays (or None) and numbers; of usual tensors on a GPU by the launches that
    the same call made before (see `arrayvision.replay`). What these are must follow from shapes, dtypes and numbers.
    """
    library = _of_type.get(type(given[0]))
    return run(*given, *numbers) if library is None else library.replay(run, given, numbers)


SMALL = 16384  # numbers of a result: more are worth threads, and take longer than the checks


# ---- the arrays of a call ----------------------------------------------------------------------------------------------
class Output:
    """A result: `view` is what the kernel fills, `result()` the caller's array."""

    __slots__ = ("array", "at", "dtype", "view")

    def __init__(self, at, array, view, dtype):
        self.at, self.array, self.view, self.dtype = at, array, view, dtype

    def result(self):
        if self.array is not None:
            return self.array
        library, device = self.at.library, self.at.device
        if not self.at.gpu:
            return library.from_host(self.view, self.dtype, device)
        array = library_of(self.view).contiguous(self.view, self.dtype)
        return library.from_gpu(array) if isinstance(library, JAX) else array


class Arrays:
    """The arrays of one call of a function, all of one library and on one device; `arrays` makes it.

    Attributes
    ----------
    function : str
        The function's name, with which its errors begin.
    library, device
        Theirs.
    gpu : bool
        Whether they are in a GPU's memory.
    backend : {"cpu", "cuda"}
        The package of the kernels.
    narrow : str or None
        The dtype to which results are rounded in the end, where `floats` gave a wider one to compute in.
    """

    __slots__ = ("_given", "backend", "device", "function", "gpu", "library", "narrow")

    def __init__(self, function, given, library, device):
        self.function, self._given, self.library, self.device = function, given, library, device
        self.gpu = library.on_gpu(device)
        self.backend = "cuda" if self.gpu or EMULATED else "cpu"
        self.narrow = None

    def kernels(self, name: str):
        """The module of kernels of that name."""
        return _kernels(self.backend, name)

    def dtype(self, x) -> str:
        """The dtype's name, "float32" for one."""
        return self.library.dtype(x)

    def sizes(self, **shapes: str) -> SimpleNamespace:
        """Check arguments' shapes, and name their sizes.

        Parameters
        ----------
        **shapes : str
            An argument's shape in letters (any size) and numbers (that size): ``boxes="N 4"``. Where two arguments have
            the same letter their sizes must agree. "..." at the end stands for any further sizes; a question mark behind
            it allows the argument to be left out.

        Returns
        -------
        SimpleNamespace
            The sizes by their letters.

        Raises
        ------
        TypeError
            If an argument is None and may not be.
        ValueError
            If a shape is not as wanted, or two sizes differ; the error names both arguments.
        """
        given = self._given
        key: list = []
        for argument, text in shapes.items():
            x = given[argument]
            key.append(text)
            key.append(None if x is None else x.shape)
        seen = _SEEN.get(tuple(key))
        if seen is None:
            if len(_SEEN) > 1000:
                _SEEN.clear()
            seen = _SEEN[tuple(key)] = self._sizes(shapes)
        return seen

    def _sizes(self, shapes):
        found: dict = {}
        for argument, text in shapes.items():
            wanted, optional = _shape_of(text)
            x = self._given[argument]
            if x is None:
                if optional:
                    continue
                raise InvalidKind(f"{self.function}: {argument} must be an array, got None")
            have = x.shape
            if len(have) != len(wanted) and (wanted[-1] != "..." or len(have) < len(wanted) - 1):
                raise self._shape(argument, wanted, have)
            for axis, (size, want) in enumerate(zip(have, wanted, strict=False)):
                if want == "...":
                    break
                if type(want) is int:
                    if size != want:
                        raise self._shape(argument, wanted, have)
                elif want not in found:
                    found[want] = size, argument, axis
                elif found[want][0] != size:
                    raise self._disagree(argument, wanted, have, found, want, axis)
        return SimpleNamespace(**{name: size for name, (size, _, _) in found.items()})

    def _disagree(self, argument, wanted, have, found, name, axis):
        size, first, first_axis = found[name]
        if axis == first_axis == 0:
            return InvalidValue(
                f"{self.function}: {argument} must have as many rows as {first}, got {have[0]} and {size}"
            )
        error = self._shape(argument, [found[w][0] if w == name else w for w in wanted], have)
        return InvalidValue(f"{error} ({size} is {first}'s {name})")

    def _shape(self, argument, wanted, have):
        text = f"({', '.join(map(str, wanted))}{',' if len(wanted) == 1 else ''})"
        return InvalidValue(f"{self.function}: {argument} must have shape {text}, got {tuple(have)}")

    def require(self, condition: bool, message: str) -> None:
        """Raise a ValueError that begins with the function's name unless the condition holds."""
        if not condition:
            raise InvalidValue(f"{self.function}: {message}")

    def real(self, **arrays) -> None:
        """Check that arrays hold real numbers."""
        for argument, x in arrays.items():
            if self.library.dtype(x) not in _FLOAT_OF:
                raise TypeError(
                    f"{self.function}: {argument} must hold real numbers, got dtype {self.library.dtype(x)}"
                )

    def floats(self, **arrays) -> str:
        """The dtype to compute a result in from these, whose own dtype is `float_dtype` of theirs.

        The two are the same, but that integers which float32 doesn't hold (beyond 2**24) are computed in float64.
        """
        self.narrow = None
        names = [*map(self.library.dtype, arrays.values())]
        result = names[0]
        if result in FLOATS and names.count(result) == len(names):
            return result
        self.real(**arrays)
        result = float_dtype(*names)
        if result == "float64" or not any(
            name in _WIDE and self._inexact(x) for name, x in zip(names, arrays.values(), strict=True)
        ):
            return result
        self.narrow = result
        return "float64"

    def _inexact(self, x):
        if math.prod(x.shape) == 0:
            return False
        least, greatest = self.library.bounds(x)
        return max(-least, greatest) > 2**24

    def accumulator(self, dtype: str) -> str:
        """The dtype of sums, and of positions, beside values of this dtype: float32 beside 16-bit storage."""
        return "float64" if dtype == "float64" else "float32"

    def integers(self, dtype: str | None = "int64", least: int | None = None, below: int | None = None, **argument):
        """Check that an array holds whole numbers in a range, and read it: ``at.integers(labels=labels, below=80)``.

        Floats may hold them too. A GPU's integers are not looked at, since that would wait for it: its kernels check; nor
        are the emulator's, so that tests see them do it.

        Parameters
        ----------
        dtype : {"int64", "int32", None}
            What kernels see; None leaves int32 as it is, and makes int64 of others.
        least, below : int, optional
            The range.
        **argument
            The array, by its name.

        Returns
        -------
        array
            What `read` gives.

        Raises
        ------
        TypeError
            If it holds no integers.
        ValueError
            If a number is not whole, out of range, or more than the dtype holds.
        """
        ((name, x),) = argument.items()
        kind = self.library.dtype(x)
        if kind not in _FLOAT_OF and kind != "bool":
            raise TypeError(f"{self.function}: {name} must hold integers, got dtype {kind}")
        if dtype is None:
            dtype = "int32" if kind == "int32" else "int64"
        bits = 63 if dtype == "int64" else 31
        fits = _BITS.get(kind, 64) <= bits and least is None and below is None
        seen = self.backend == "cpu" or kind not in INTEGERS
        if not fits and seen and math.prod(x.shape):
            self._within(name, x, kind, dtype, least, below)
        return self.read(x, dtype)

    def _within(self, name, x, kind, dtype, least, below):
        """Check that numbers are whole, within [least, below) and held by `dtype`."""
        values = self.library.host(x, "float64") if kind in FLOATS and not self.gpu else x
        if kind in FLOATS and not bool(((np.trunc(values) if not self.gpu else values // 1) == values).all()):
            raise InvalidValue(f"{self.function}: {name} must hold whole numbers")
        low, high = (values.min().item(), values.max().item()) if kind in FLOATS else self.library.bounds(x)
        bound = 2**63 if dtype == "int64" else 2**31
        if low < (-bound if least is None else least) or high >= (bound if below is None else below):
            limits = [f"at least {least}"] * (least is not None) + [f"below {below}"] * (below is not None)
            wanted = f"numbers {' and '.join(limits)}" if limits else f"numbers that {dtype} holds"
            raise InvalidValue(f"{self.function}: {name} must hold {wanted}, got {low:g} to {high:g}")

    def read(self, x, dtype: str):
        """What a kernel sees of an input: its values in this dtype, contiguous; the caller's memory where that is so."""
        if self.gpu:
            return self.library.contiguous(x, dtype)
        if self.backend == "cpu" and dtype in _WIDER:
            dtype = _WIDER[dtype]
        return self.view(self.library.host(x, dtype))

    def view(self, a):
        """What a kernel sees of what the library's `host` gave."""
        if not a.flags.carray:  # contiguous, aligned and writeable
            flags = a.flags
            if not (flags.c_contiguous and flags.aligned):
                a = np.require(a, requirements=["C", "A"])
        view = a if self.library.fresh else a.view(np.ndarray)
        view.setflags(write=False)
        return view

    def empty(self, shape, dtype: str, exact: bool = False, result: str | None = None, by: str | None = None) -> Output:
        """A result to fill, on this device. Where `floats` gave a wider dtype than the result's own, it is rounded to that
        in the end, unless `exact`: for a result that holds values of an input. `result` is the caller's array's dtype, if
        it isn't the kernel's, and `by` the argument that says how large it is, for the error that no memory holds it."""
        library = self.library
        if result is not None:
            pass
        elif self.narrow is not None and dtype == "float64" and not exact:
            result = self.narrow
        elif self.backend == "cpu" and dtype in _WIDER:
            return Output(self, None, self._allocate(NUMPY, shape, _WIDER[dtype], by)[1], dtype)
        else:
            result = dtype
        array, view = self._allocate(library, shape, dtype, by)
        taken_over = result != dtype or (self.gpu and isinstance(library, JAX))  # not the array that the kernel fills
        return Output(self, None if taken_over else array, view, result)

    def _allocate(self, library, shape, dtype, by):
        try:
            return library.empty(shape, dtype, self.device)
        except (ValueError, MemoryError) as error:  # ValueError: more elements than memory has addresses
            wanted = f"{by} must be so small that the result fits" if by else "the result must fit"
            raise TooLarge(f"{self.function}: {wanted} in memory, got one of shape {tuple(shape)}") from error


@functools.cache
def _kernels(backend, name):
    return importlib.import_module(f"arrayvision.{backend}.{name}")


@functools.cache
def _shape_of(text):
    wanted = text.removesuffix("?").split()
    return tuple(int(w) if w.isdigit() else w for w in wanted), text.endswith("?")


_SEEN: dict = {}  # shapes wanted and shapes given -> their sizes, where they agree
_WIDER = {"float16": "float32", "bfloat16": "float32"}
_WIDE = ("int32", "int64", "uint32", "uint64")  # float32 doesn't hold all of their values
_BITS = {"bool": 1, "int8": 7, "uint8": 8, "int16": 15, "uint16": 16, "int32": 31, "uint32": 32, "int64": 63}
_FLOAT_OF = {name: name for name in FLOATS} | dict.fromkeys(INTEGERS, "float32")
_RANK = {"float16": 0, "bfloat16": 0, "float32": 1, "float64": 2}


def _promote(a, b):
    if _RANK[a] == _RANK[b]:
        return a if a == b else "float32"
    return a if _RANK[a] > _RANK[b] else b


def float_dtype(*names: str) -> str:
    """The dtype of a result from arrays of these dtypes: it depends on no values, so graphs can be built from it.

    Floats are promoted (float16 with bfloat16 to float32); integers count as float32.
    """
    result = _FLOAT_OF[names[0]]
    for name in names[1:]:
        result = _promote(result, _FLOAT_OF[name])
    return result


EMULATED = (
    os.environ.get("ARRAYVISION_CUDA") == "emulate"
)  # CUDA kernels run in the emulator, on arrays in the CPU's memory


def arrays(function: str, **given) -> Arrays:
    """The arrays of a call by their arguments' names (None stands for one left out).

    Raises
    ------
    TypeError
        If one is no array, can't be read (meta, sparse, traced ...), or two are of different libraries or devices.
    """
    first = None
    for argument, x in given.items():
        if x is None:
            continue
        found = _of_type.get(type(x)) or library_of(x, function, argument)
        found.refuse(function, argument, x)
        device = found.device(x)
        if first is None:
            first, library, home = argument, found, device
        elif found is not library and found.name != library.name:
            raise TypeError(
                f"{function}: {first} is {library.noun}, {argument} is {found.noun}: give both from one library"
            )
        elif device != home:
            raise TypeError(f"{function}: {first} is on {home}, {argument} is on {device}: give both on one device")
    if first is None:
        raise TypeError(f"{function}: {next(iter(given))} must be an array, got None")
    return Arrays(function, given, library, home)
