"""What the RoI operators share: checks of features and RoIs, sizes, and features in the layout they lie in."""

from __future__ import annotations

import math

import numpy as np

from arrayvision import check
from arrayvision.array import FLOATS
from arrayvision.errors import InvalidValue

MOST = 2**31 - 1  # rows or columns


def size(name: str, argument: str, value) -> tuple[int, int]:
    """A size (height, width) of at least 1 x 1, given so or as one int for both."""
    return check.pair(name, argument, value, 1)


def input_shape(name: str, value) -> tuple[int, int, int, int]:
    """The shape (B, C, H, W) of the features that a gradient is for."""
    b, c, h, w = check.sizes(name, "input_shape", value, 4)
    return b, c, h, w


def scale(name: str, value) -> float:
    """`spatial_scale`: finite."""
    value = check.number(name, "spatial_scale", value)
    if not math.isfinite(value):
        raise InvalidValue(f"{name}: spatial_scale must be finite, got {value:g}")
    return value


def sampling(name: str, value, argument: str = "sampling_ratio") -> int:
    """`sampling_ratio`: at least 0; negative ones count as 0, as in other libraries."""
    return max(check.integer(name, argument, value, None, 1024), 0)


def features(at, argument: str, x) -> tuple[str, str]:
    """Check features (B, C, H, W); their result's dtype, and the dtype of RoIs and sums beside them."""
    key = None if x is None else (x.shape, at.dtype(x))
    dtype, at.narrow = _FEATURES.get(key), None
    if dtype is None:
        n = at.sizes(**{argument: "B C H W"})
        dtype = at.floats(**{argument: x})
        if n.H * n.W >= 2**31:
            raise InvalidValue(f"{at.function}: {argument} must have fewer than 2**31 positions, got {tuple(x.shape)}")
        if at.dtype(x) in FLOATS:  # of integers the values tell it
            _remember(_FEATURES, key, dtype)
    return dtype, at.accumulator(dtype)


_FEATURES: dict = {}  # shapes and dtypes of features that were checked -> their result's dtype
_REGIONS: dict = {}  # shapes and dtypes of regions that were checked, and how many columns were wanted


def _remember(checked, key, value):
    """Checks take as long as a launch: arrays like those before need none."""
    if len(checked) > 1000:
        checked.clear()
    checked[key] = value


def read(at, x, dtype: str):
    """What a kernel sees of features: (B, H, W, C), True if they lie so, else (B, C, H, W), False."""
    if at.gpu:
        if hasattr(x, "is_contiguous"):  # torch
            last = None if x.is_contiguous() else x.permute(0, 2, 3, 1)
            found = last is not None and last.is_contiguous()
        else:
            last = x.transpose(0, 2, 3, 1) if hasattr(x, "flags") and not x.flags.c_contiguous else None
            found = last is not None and last.flags.c_contiguous
        return at.read(last if found else x, dtype), found
    if at.backend == "cpu" and dtype != "float64":
        dtype = "float32"
    a = at.library.host(x, dtype)
    last = a.transpose(0, 2, 3, 1)
    if last.flags.c_contiguous and last.flags.aligned:
        view = last.view(np.ndarray)
        view.flags.writeable = False
        return view, True
    return at.view(a), False


def rois(at, argument: str, x, width: int, batch: int, dtype: str):
    """Check RoIs (K, width), whose first column is the image's index, and read them. On the CPU an index that names no
    image is a ValueError; a GPU's values can't be seen without waiting for it: its kernels give NaN."""
    key = None if x is None else (x.shape, at.dtype(x), width)
    if key not in _REGIONS:
        at.sizes(**{argument: f"K {width}"})
        at.real(**{argument: x})
        _remember(_REGIONS, key, True)
    view = at.read(x, dtype)
    if at.backend == "cpu" and len(view):
        bad = at.kernels("bilinear").check_batch(view, batch)
        if bad >= 0:
            raise InvalidValue(
                f"{at.function}: {argument}[{bad}] has batch index {view[bad, 0]:g}, which must be within [0, {batch})"
            )
    return view


def check_grad(at, grad, rois, shape) -> None:
    """Check a result's gradient against the regions and the features' shape."""
    check.same_length(at.function, "grad", grad, "rois", rois)
    if grad.shape[1] != shape[1]:
        raise InvalidValue(f"{at.function}: grad must have the features' {shape[1]} channels, got {grad.shape[1]}")
