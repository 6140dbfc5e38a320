"""NumPy arrays, numbers and dtypes out of a checkpoint, rebuilt from checked values and from nothing else.

torch's `weights_only` calls what is allowed with whatever arguments a file gives. `np.ndarray` reads memory of the file's
choice when called so, and a dtype takes flags that say which bytes are pointers; neither may be allowed. What stands here
in their place checks each argument: a dtype of numbers or text, a shape, and bytes of exactly the length that follows.
"""

from __future__ import annotations

import math
import pickle
import re
from typing import Any

import numpy as np

_CODE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,6})")
_REFUSED = pickle.UnpicklingError


class Dtype:
    """In the place of `numpy.dtype`."""

    value: np.dtype

    def __new__(cls, code: Any = None, align: Any = False, copy: Any = True) -> Dtype:
        if type(code) is not str or not _CODE.fullmatch(code):
            raise _REFUSED(f"an array of dtype {code!r}, where numbers and text of fixed length are allowed")
        self = super().__new__(cls)
        self.value = np.dtype(code)
        return self

    def __setstate__(self, state: Any) -> None:
        """Take the order of bytes; the rest must be what such a dtype has."""
        if type(state) is not tuple or len(state) != 8:
            raise _REFUSED("a dtype with a state of another form")
        version, order, parts, names, fields, size, alignment, flags = state
        own = self.value
        if (
            version != 3
            or order not in ("<", ">", "|", "=")
            or (parts, names, fields) != (None, None, None)
            or size not in (-1, own.itemsize)
            or alignment not in (-1, own.alignment)
            or flags not in (0, own.flags)
        ):
            raise _REFUSED(f"a dtype {own} with fields, sizes or flags that are not its own")
        self.value = own.newbyteorder(order)


class Array(np.ndarray):
    """In the place of `numpy.ndarray`: empty until its one `__setstate__`."""

    def __new__(cls, *ignored: Any) -> Array:
        return super().__new__(cls, (0,), "V1")  # of a dtype that torch takes no view of

    def __setstate__(self, state: Any) -> None:
        if self.dtype.kind != "V":  # a tensor may lie on its memory
            raise _REFUSED("an array that is set twice")
        if type(state) is not tuple or len(state) != 5:
            raise _REFUSED("an array with a state of another form")
        _, shape, dtype, fortran, data = state
        kind = _dtype(dtype)
        if type(shape) is not tuple or len(shape) > 32 or not all(type(n) is int and 0 <= n < 1 << 62 for n in shape):
            raise _REFUSED(f"an array of shape {shape!r}")
        if type(fortran) is not bool or type(data) is not bytes or len(data) != math.prod(shape) * kind.itemsize:
            raise _REFUSED(f"an array of shape {shape} and dtype {kind} whose bytes do not fill it exactly")
        super().__setstate__((1, shape, kind, fortran, data))  # type: ignore[arg-type]


def _dtype(x):
    if not isinstance(x, Dtype):
        raise _REFUSED(f"an array whose dtype is of {type(x).__name__}")
    return x.value


def reconstruct(*ignored: Any) -> Array:
    """In the place of NumPy's `_reconstruct`: an array that waits for its state."""
    return Array()


def scalar(dtype: Any = None, data: Any = None) -> Any:
    """In the place of NumPy's `scalar`: one number from exactly its bytes."""
    kind = _dtype(dtype)
    if type(data) is not bytes or len(data) != kind.itemsize or not data:
        raise _REFUSED(f"a number of dtype {kind} from other than {kind.itemsize} bytes")
    return np.frombuffer(data, kind)[0]


def no_bytes(*args: Any) -> bytes:
    """In the place of `bytes`, which pickles call without arguments where an array has no values."""
    if args:
        raise _REFUSED("bytes made of a number or an object")
    return b""


ALLOWED: list[Any] = [(Array, "numpy.ndarray"), (Dtype, "numpy.dtype")]
ALLOWED += [(no_bytes, "__builtin__.bytes"), (no_bytes, "builtins.bytes")]
for _package in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
    ALLOWED += [(reconstruct, f"{_package}.multiarray._reconstruct"), (scalar, f"{_package}.multiarray.scalar")]


def plain(x: Any) -> Any:
    """The loaded value with NumPy's own arrays and dtypes in the place of those above; containers are changed in place."""
    done: dict[int, Any] = {}
    kept = [x]  # what has an entry in `done` must live on, or its id may be another's

    def replaced(value):
        if isinstance(value, Array):
            if value.dtype.kind == "V":
                raise _REFUSED("an array without values")
            if id(value) not in done:
                done[id(value)] = value.view(np.ndarray)
            return done[id(value)]
        if isinstance(value, Dtype):
            return value.value
        if value is Array or value is Dtype:
            return np.ndarray if value is Array else np.dtype
        if id(value) in done:
            return done[id(value)]
        if isinstance(value, tuple) and type(value) is not tuple:  # torch.Size
            return value
        if isinstance(value, tuple):
            changed = tuple(map(replaced, value))
            changed = value if all(a is b for a, b in zip(changed, value, strict=True)) else changed
            kept.append(value)
            done[id(value)] = changed
            return changed
        if isinstance(value, (dict, list)):
            kept.append(value)
            done[id(value)] = value
            for key in list(value) if isinstance(value, dict) else range(len(value)):
                value[key] = replaced(value[key])
            for own in list(getattr(value, "__dict__", ())):  # an OrderedDict's `_metadata`
                value.__dict__[own] = replaced(value.__dict__[own])
        return value

    return replaced(x)
