"""Images of any CPU library for functions written on NumPy: `images` turns them into NumPy and results back.

NumPy images go through as they are. Others are viewed without a copy where their library allows it; results are of the
caller's library. float16 and bfloat16 are computed in float32 and given back as they came. What OpenCV refuses becomes
a ValueError that names the function and says what the image was.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np

from arrayvision import check
from arrayvision.array import arrays, library_of
from arrayvision.errors import InvalidValue

F = TypeVar("F", bound=Callable)


def images(*names: str) -> Callable[[F], F]:
    """Let a function on NumPy arrays take arrays of any CPU library in these arguments, and give back the same library.

    The arguments must share one library and device. An array that the function returns unchanged is returned as the
    caller's own object, so functions that work in place do so for torch too.
    """

    def decorate(function):
        name = function.__name__
        signature = inspect.signature(function)
        order = list(signature.parameters)
        places, first = [(n, order.index(n)) for n in names], names[0]

        @functools.wraps(function)
        def call(*args, **kwargs):
            for n, i in places:
                x = args[i] if i < len(args) else kwargs.get(n)
                if getattr(x, "shape", None) is not None and max(x.shape, default=0) > _EDGE:
                    measured(name, n, x.shape)
                plain = type(x) is np.ndarray and x.dtype.char != "e" and x.dtype.isnative
                if not plain and (x is not None or n == first):
                    return _convert(function, signature, names, args, kwargs)
            try:
                return function(*args, **kwargs)
            except cv2.error as error:
                n, i = places[0]
                raise _refused(name, n, args[i] if i < len(args) else kwargs[n], error) from None

        return call

    return decorate


_EDGE = 1 << 15  # within which no image has too many pixels


def measured(function: str, argument: str, shape: tuple[int, ...]) -> None:
    """Refuse what OpenCV's sizes, ints of 32 bits, can't hold: it would crash."""
    if math.prod(shape[:2]) >= 1 << 31:
        raise InvalidValue(f"{function}: {argument} must have fewer than {1 << 31} pixels, got shape {tuple(shape)}")


def _convert(function, signature, names, args, kwargs):
    name = function.__name__
    bound = signature.bind(*args, **kwargs)  # TypeError as Python words it, where arguments are missing
    if bound.arguments[names[0]] is None:
        raise TypeError(f"{name}: {names[0]} must be an array (NumPy, torch, JAX or with DLPack), got None")
    given = {n: bound.arguments[n] for n in names if bound.arguments.get(n) is not None}
    at = arrays(name, **given)
    if at.gpu:
        raise TypeError(f"{name}: {names[0]} is on {at.device}: this function runs on the CPU, give a copy there")
    hosts, half = {}, None
    for n, x in given.items():
        dtype = at.dtype(x)
        if dtype in ("float16", "bfloat16"):
            if half is None:
                half = dtype
            host = at.library.host(x, "float32")
        elif type(x) is np.ndarray:  # OpenCV reads other byte orders as if they were its own
            host = x if x.dtype.isnative or n == "out" or name.endswith("_") else x.astype(x.dtype.newbyteorder("="))
        else:
            host = np.asarray(at.library.host(x, dtype))
        bound.arguments[n] = host
        hosts[id(host)] = (host, x)
    try:
        result = function(*bound.args, **bound.kwargs)
    except cv2.error as error:
        n, host = names[0], bound.arguments[names[0]]
        raise _refused(name, n, host, error) from None
    return _give(at, result, hosts, half)


def _give(at, result, hosts, half):
    if isinstance(result, (tuple, list)):
        return type(result)(_give(at, r, hosts, half) for r in result)
    if not isinstance(result, np.ndarray):
        return result
    if id(result) in hosts:
        return hosts[id(result)][1]
    return give(at, result, half)


def give(at, array: np.ndarray, half: str | None = None):
    """A NumPy array in the library of `at`; float32 as `half` where that is given."""
    dtype = at.library.dtype(array) if at.library.name == "NumPy" else array.dtype.name
    if half is not None and dtype == "float32":
        dtype = half
    if at.library.name != "NumPy" and (not array.flags.writeable or any(s < 0 for s in array.strides)):
        array = array.copy()  # torch takes no negative strides, and warns of memory it must not write
    return at.library.from_host(array, dtype, at.device)


def to_numpy(function: str, argument: str, x) -> np.ndarray:
    """The values of any array, on any device, for functions whose results are NumPy's."""
    if type(x) is np.ndarray:
        return x
    library = library_of(x, function, argument)
    library.refuse(function, argument, x)
    if library.on_gpu(library.device(x)):
        x = x.cpu() if hasattr(x, "cpu") else x.get() if hasattr(x, "get") else np.asarray(x)
        library = library_of(x, function, argument)
    dtype = library.dtype(x)
    return np.asarray(library.host(x, "float32" if dtype in ("float16", "bfloat16") else dtype))


def _refused(name, argument, x, error):
    if isinstance(error, ValueError):  # ours already
        return error
    reason = (getattr(error, "err", "") or str(error)).strip().splitlines()[0]
    return ValueError(f"{name}: {argument} of shape {x.shape} and dtype {x.dtype} can't be processed: {reason}")


# ---- shapes and layouts ----------------------------------------------------------------------------------------------
def image(function: str, argument: str, x: np.ndarray, channels: tuple[int, ...] | None = None) -> None:
    """Check that an array is an image, (H, W) or (H, W, C), with pixels; of one of these numbers of channels."""
    if x.ndim not in (2, 3):
        raise InvalidValue(f"{function}: {argument} must have shape (H, W) or (H, W, C), got {tuple(x.shape)}")
    if x.size == 0:
        raise ValueError(f"{function}: {argument} must have pixels, got shape {tuple(x.shape)}")
    if channels is not None and (x.shape[2] if x.ndim == 3 else 1) not in channels:
        wanted = " or ".join(map(str, channels))
        raise InvalidValue(f"{function}: {argument} must have {wanted} channels, got shape {tuple(x.shape)}")


def color(function: str, argument: str, x: np.ndarray) -> None:
    """Check that an array is an (H, W, 3) image with pixels."""
    if x.ndim != 3 or x.shape[2] != 3:
        raise InvalidValue(f"{function}: {argument} must have shape (H, W, 3), got {tuple(x.shape)}")
    if x.size == 0:
        raise ValueError(f"{function}: {argument} must have pixels, got shape {tuple(x.shape)}")


def packed(x: np.ndarray) -> np.ndarray:
    """The image, C-contiguous, aligned, native; flipped views by OpenCV, several times faster than NumPy's copy."""
    if x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative:
        return x
    if x.dtype.isnative and x.size and x.dtype in _CV and (x.ndim == 2 or (x.ndim == 3 and x.shape[2] in (1, 3))):
        if x.ndim == 3 and x.strides[2] < 0 and x.shape[2] == 3:
            return cv2.cvtColor(packed(x[:, :, ::-1]), cv2.COLOR_BGR2RGB)
        down, right = x.strides[0] < 0, x.strides[1] < 0
        if down or right:
            upright = packed(x[:: -1 if down else 1, :: -1 if right else 1])
            return cv2.flip(upright, -1 if down and right else 0 if down else 1).reshape(x.shape)
    return np.require(x, x.dtype.newbyteorder("="), requirements=["C", "A"])


_CV = {np.dtype(name) for name in ("uint8", "uint16", "float32")}


def read_only(x: np.ndarray) -> np.ndarray:
    """A view that kernels take as an input: one specialization, whatever the caller's flags."""
    view = x.view()
    view.flags.writeable = False
    return view


def rows(x: np.ndarray) -> np.ndarray:
    """The packed image as a read-only vector."""
    return read_only(packed(x).reshape(-1))


def like(result: np.ndarray, x: np.ndarray) -> np.ndarray:
    """OpenCV drops a last axis of one channel: put it back where the input had one."""
    return result[..., None] if x.ndim == 3 and result.ndim == 2 else result


def bordered(function: str, argument: str, value, x: np.ndarray, kinds=(tuple,)):
    """A border's value as OpenCV takes it (a tuple per channel), from a number or one number a channel."""
    channels = x.shape[2] if x.ndim == 3 else 1
    if isinstance(value, kinds):
        if len(value) != channels:
            raise InvalidValue(f"{function}: {argument} must have {channels} numbers, one a channel, got {len(value)}")
        return tuple(check.number(function, argument, v) for v in value)
    return (check.number(function, argument, value),) * channels


def in_fours(process: Callable, x: np.ndarray, border: tuple) -> np.ndarray:
    """Process images of more than 4 channels four at a time: OpenCV's border values have four numbers."""
    if x.ndim == 2 or x.shape[2] <= 4:
        return like(process(x, border), x)
    parts = [
        like(process(np.ascontiguousarray(x[:, :, c : c + 4]), border[c : c + 4]), x[:, :, c : c + 4])
        for c in range(0, x.shape[2], 4)
    ]
    return np.concatenate(parts, axis=2)


_WORK = {"bool": "uint8", "int8": "int16"}
_KNOWN = ("uint8", "uint16", "int16", "float32", "float64")


def interpolable(process: Callable, x: np.ndarray) -> np.ndarray:
    """Process an image whose dtype OpenCV doesn't interpolate in one that it does (exact for integers to 2**53)."""
    name = x.dtype.name
    if name in _KNOWN:
        return process(x)
    if x.dtype.kind not in "biu":
        raise TypeError(f"img must hold real numbers, got dtype {name}")
    result = process(x.astype(_WORK.get(name, "float64")))
    if result.dtype.kind == "f":
        limits = np.iinfo(x.dtype)
        top = np.nextafter(float(limits.max), 0) if limits.bits == 64 else limits.max
        result = np.clip(np.rint(result), limits.min, top)
    return result.astype(x.dtype)
