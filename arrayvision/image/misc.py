"""Batches of tensors as images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from arrayvision import check
from arrayvision.array import FLOATS
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.image._array import to_numpy
from arrayvision.image.photometric import imdenormalize
from arrayvision.typing import ImageArray


def tensor2imgs(
    tensor: ImageArray, mean: Sequence[float] | None = None, std: Sequence[float] | None = None, to_rgb: bool = True
) -> list[np.ndarray]:
    """Turn a batch of normalized images into uint8 images.

    Parameters
    ----------
    tensor : array (N, C, H, W)
        Of any library, on any device; C is 1 or 3.
    mean, std : sequence of C numbers, optional
        What the images were normalized with; 0 and 1 by default.
    to_rgb : bool
        Whether they were turned from BGR to RGB when normalized: if so, they are turned back. Must be False for C = 1.

    Returns
    -------
    list of N NumPy arrays (H, W, 3) or (H, W)
        uint8, clipped to 0 to 255. Fractions are cut off; NaN becomes 0.

    Raises
    ------
    TypeError
        If tensor is no array.
    ValueError
        If its shape is wrong, or mean or std has another number of values than it has channels.

    Examples
    --------
    >>> import numpy as np
    >>> tensor2imgs(np.zeros((2, 3, 4, 5), np.float32), mean=(1, 2, 3))[0][0, 0]
    array([3, 2, 1], dtype=uint8)
    """
    name = "tensor2imgs"
    if not hasattr(tensor, "shape"):
        raise InvalidKind(f"{name}: tensor must be an array, got {type(tensor).__name__}")
    if len(tensor.shape) != 4 or tensor.shape[1] not in (1, 3):
        raise InvalidValue(f"{name}: tensor must have shape (N, 1, H, W) or (N, 3, H, W), got {tuple(tensor.shape)}")
    channels = tensor.shape[1]
    to_rgb = check.flag(name, "to_rgb", to_rgb)
    if to_rgb and channels == 1:
        raise InvalidValue(f"{name}: to_rgb must be False for one channel")
    mean, std = _numbers(name, "mean", mean, channels, 0), _numbers(name, "std", std, channels, 1)
    host = to_numpy(name, "tensor", tensor)
    if host.dtype.name not in FLOATS:
        host = host.astype(np.float32)
    swap = to_rgb and channels == 3
    return [_image(x, mean, std, swap) for x in host]


def _numbers(name, argument, values, channels, default):
    if values is None:
        return np.full(channels, default, np.float64)
    values = np.asarray(values, np.float64).reshape(-1)
    if len(values) != channels:
        raise InvalidValue(f"{name}: {argument} must have {channels} numbers, one a channel, got {len(values)}")
    return values


def _image(x, mean, std, swap):
    img = np.ascontiguousarray(x.transpose(1, 2, 0))
    img = imdenormalize(img[..., 0] if img.shape[2] == 1 else img, mean, std, to_bgr=swap)
    return np.nan_to_num(np.clip(img, 0, 255, out=img), copy=False).astype(np.uint8)
