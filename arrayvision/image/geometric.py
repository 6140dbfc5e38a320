"""Resizing, cropping, padding, flipping and warping of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, overload

import cv2
import numpy as np

from arrayvision import check
from arrayvision.check import choice
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.image import _array
from arrayvision.image._array import images
from arrayvision.image.io import pillow, processing_backend
from arrayvision.typing import ImageArray

cv2_interp_codes = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
_PILLOW = ("nearest", "bilinear", "bicubic", "box", "lanczos", "hamming")
cv2_border_modes = {
    "constant": cv2.BORDER_CONSTANT,
    "edge": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT,
    "reflect_101": cv2.BORDER_REFLECT_101,
    "replicate": cv2.BORDER_REPLICATE,
    "symmetric": cv2.BORDER_REFLECT,
    "wrap": cv2.BORDER_WRAP,
}
_PAD_MODES = {"edge": cv2.BORDER_REPLICATE, "reflect": cv2.BORDER_REFLECT_101, "symmetric": cv2.BORDER_REFLECT}
_DIRECTIONS = ("horizontal", "vertical", "diagonal")
_MOST = 1 << 15  # OpenCV's coordinates in warps are 16 bits
_PIXELS = 1 << 31


# ---- sizes -----------------------------------------------------------------------------------------------------------
def _pair(function, argument, value):
    """A size as two ints, (w, h); whole floats and NumPy's ints are taken."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
        raise TypeError(f"{function}: {argument} must be (w, h), got {type(value).__name__}")
    if len(value) != 2:
        raise ValueError(f"{function}: {argument} must be (w, h), got {len(value)} numbers")
    pair = []
    for v in value:
        v = check.number(function, argument, v)
        if v != v // 1 or v < 1 or v > 1 << 30:
            raise ValueError(f"{function}: {argument} must be two ints from 1 to {1 << 30}, got {tuple(value)}")
        pair.append(int(v))
    if pair[0] * pair[1] > _PIXELS:
        raise ValueError(f"{function}: {argument} must have at most {_PIXELS} pixels, got {tuple(pair)}")
    return pair[0], pair[1]


def _scaled(size, scale):
    """(w, h) times a factor, rounded half up, at least a pixel; a pair of factors scales each."""
    fw, fh = scale if isinstance(scale, (tuple, list)) else (scale, scale)
    w, h = (max(int(n * float(f) + 0.5), min(n, 1)) for n, f in zip(size, (fw, fh), strict=True))
    return w, h


@overload
def rescale_size(
    old_size: tuple[int, int], scale: float | tuple[int, int], return_scale: Literal[False] = ...
) -> tuple[int, int]: ...
@overload
def rescale_size(
    old_size: tuple[int, int], scale: float | tuple[int, int], return_scale: Literal[True]
) -> tuple[tuple[int, int], float]: ...
@overload
def rescale_size(
    old_size: tuple[int, int], scale: float | tuple[int, int], return_scale: bool
) -> tuple[int, int] | tuple[tuple[int, int], float]: ...
def rescale_size(old_size: tuple[int, int], scale: float | tuple[int, int], return_scale: bool = False) -> Any:
    """The size that a rescaled image will have.

    Parameters
    ----------
    old_size : (int, int)
        (w, h).
    scale : float or (int, int)
        A factor, greater than 0; or the greatest size allowed: the long edge stays within its larger number, the short
        edge within its smaller one.
    return_scale : bool
        Return the factor too.

    Returns
    -------
    (int, int) or ((int, int), float)
        (w, h), rounded half up, at least 1; and the factor.

    Raises
    ------
    TypeError
        If scale is neither a number nor a tuple.
    ValueError
        If it isn't greater than 0.

    Examples
    --------
    >>> rescale_size((400, 300), (1000, 600), return_scale=True)
    ((800, 600), 2.0)
    """
    name = "rescale_size"
    w, h = _pair(name, "old_size", old_size)
    if isinstance(scale, tuple):
        if len(scale) != 2:
            raise ValueError(f"{name}: scale must be a number or two, got {len(scale)}")
        edges = [check.number(name, "scale", s, above=0) for s in scale]
        factor = min(max(edges) / max(h, w), min(edges) / min(h, w))
    elif isinstance(scale, (int, float, np.integer, np.floating)) and not isinstance(scale, bool):
        factor = scale if type(scale) in (int, float) else float(scale)
        check.number(name, "scale", factor, above=0)
    else:
        raise TypeError(f"{name}: scale must be a number or a tuple of two, got {type(scale).__name__}")
    if not math.isfinite(factor):
        raise ValueError(f"{name}: scale must be finite, got {factor}")
    size = _scaled((w, h), factor)
    return (size, factor) if check.flag(name, "return_scale", return_scale) else size


# ---- resizing --------------------------------------------------------------------------------------------------------
def _resize(name, img, size, interpolation, backend, out=None):
    _array.image(name, "img", img)
    size = _pair(name, "size", size)
    if processing_backend(name, backend) == "pillow":
        check.choice(name, "interpolation", interpolation, _PILLOW)
        if img.dtype != np.uint8:
            raise InvalidKind(f"{name}: img must be uint8 for Pillow, got {img.dtype}")
        module = pillow("Image")
        picture = module.fromarray(_array.packed(img[..., 0] if img.ndim == 3 and img.shape[2] == 1 else img))
        resized = np.array(picture.resize(size, getattr(module.Resampling, interpolation.upper())))
        resized = _array.like(resized, img)
    else:
        code = cv2_interp_codes[check.choice(name, "interpolation", interpolation, tuple(cv2_interp_codes))]
        fits = out is not None and out.shape[:2] == size[::-1] and out.dtype == img.dtype
        if fits and out.flags.c_contiguous and out.flags.writeable and img.dtype.name in _array._KNOWN:
            written = cv2.resize(img, size, dst=out, interpolation=code)
            if written is out:
                return out
            resized = _array.like(written, img)
        else:
            resized = _array.interpolable(lambda x: _array.like(cv2.resize(x, size, interpolation=code), x), img)
    if out is None:
        return resized
    if out.shape != resized.shape or out.dtype != resized.dtype:
        raise ValueError(
            f"{name}: out must have shape {resized.shape} and dtype {resized.dtype}, got {out.shape} and {out.dtype}"
        )
    out[...] = resized
    return out


@overload
def imresize(
    img: ImageArray,
    size: tuple[int, int],
    return_scale: Literal[False] = ...,
    interpolation: str = ...,
    out: ImageArray | None = ...,
    backend: str | None = ...,
) -> ImageArray: ...
@overload
def imresize(
    img: ImageArray,
    size: tuple[int, int],
    return_scale: Literal[True],
    interpolation: str = ...,
    out: ImageArray | None = ...,
    backend: str | None = ...,
) -> tuple[ImageArray, float, float]: ...
@overload
def imresize(
    img: ImageArray,
    size: tuple[int, int],
    return_scale: bool,
    interpolation: str = ...,
    out: ImageArray | None = ...,
    backend: str | None = ...,
) -> ImageArray | tuple[ImageArray, float, float]: ...
@images("img", "out")
def imresize(
    img: ImageArray,
    size: tuple[int, int],
    return_scale: bool = False,
    interpolation: str = "bilinear",
    out: ImageArray | None = None,
    backend: str | None = None,
) -> Any:
    """Resize an image to a given size.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        Any real dtype (only uint8 with Pillow).
    size : (int, int)
        (w, h), each at least 1.
    return_scale : bool
        Return the factors too.
    interpolation : str
        "nearest", "bilinear", "bicubic", "area" or "lanczos"; with Pillow "nearest", "bilinear", "bicubic", "box",
        "lanczos" or "hamming".
    out : array, optional
        The result's memory, of its shape and dtype.
    backend : {None, "cv2", "pillow"}
        None takes what `use_backend` chose, if it is one of these, else "cv2".

    Returns
    -------
    array (h, w, C) or (h, w), or (array, w_scale, h_scale)
        Of img's dtype; integers rounded. The factors are w / W and h / H.

    Raises
    ------
    TypeError
        If something is no array, or of a wrong kind.
    ValueError
        If img has no pixels, a size isn't positive, or the interpolation, backend or out is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> imresize(np.zeros((4, 6, 3), np.uint8), (3, 8)).shape
    (8, 3, 3)
    """
    name = "imresize"
    resized = _resize(name, img, size, interpolation, backend, out)
    if not check.flag(name, "return_scale", return_scale):
        return resized
    h, w = img.shape[:2]
    return resized, size[0] / w, size[1] / h


@overload
def imresize_like(
    img: ImageArray,
    dst_img: ImageArray,
    return_scale: Literal[False] = ...,
    interpolation: str = ...,
    backend: str | None = ...,
) -> ImageArray: ...
@overload
def imresize_like(
    img: ImageArray,
    dst_img: ImageArray,
    return_scale: Literal[True],
    interpolation: str = ...,
    backend: str | None = ...,
) -> tuple[ImageArray, float, float]: ...
@overload
def imresize_like(
    img: ImageArray,
    dst_img: ImageArray,
    return_scale: bool,
    interpolation: str = ...,
    backend: str | None = ...,
) -> ImageArray | tuple[ImageArray, float, float]: ...
def imresize_like(
    img: ImageArray,
    dst_img: ImageArray,
    return_scale: bool = False,
    interpolation: str = "bilinear",
    backend: str | None = None,
) -> Any:
    """Resize an image to another's size; otherwise as `imresize`."""
    if not hasattr(dst_img, "shape") or len(dst_img.shape) not in (2, 3):
        raise TypeError(f"imresize_like: dst_img must be an image, got {type(dst_img).__name__}")
    h, w = dst_img.shape[:2]
    return imresize(img, (w, h), return_scale, interpolation, backend=backend)


@overload
def imrescale(
    img: ImageArray,
    scale: float | tuple[int, int],
    return_scale: Literal[False] = ...,
    interpolation: str = ...,
    backend: str | None = ...,
) -> ImageArray: ...
@overload
def imrescale(
    img: ImageArray,
    scale: float | tuple[int, int],
    return_scale: Literal[True],
    interpolation: str = ...,
    backend: str | None = ...,
) -> tuple[ImageArray, float]: ...
@overload
def imrescale(
    img: ImageArray,
    scale: float | tuple[int, int],
    return_scale: bool,
    interpolation: str = ...,
    backend: str | None = ...,
) -> ImageArray | tuple[ImageArray, float]: ...
def imrescale(
    img: ImageArray,
    scale: float | int | tuple[int, int],
    return_scale: bool = False,
    interpolation: str = "bilinear",
    backend: str | None = None,
) -> Any:
    """Resize an image, keeping its aspect ratio.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        As for `imresize`.
    scale : float or (int, int)
        As for `rescale_size`.
    return_scale : bool
        Return the factor too.
    interpolation, backend
        As for `imresize`.

    Returns
    -------
    array (h, w, C) or (h, w), or (array, float)
        The image; and the factor.

    Raises
    ------
    TypeError, ValueError
        As `rescale_size` and `imresize`.
    """
    if not hasattr(img, "shape") or len(img.shape) not in (2, 3):
        raise TypeError(f"imrescale: img must be an image, got {type(img).__name__}")
    h, w = img.shape[:2]
    if h < 1 or w < 1:
        raise ValueError(f"imrescale: img must have pixels, got shape {tuple(img.shape)}")
    if max(h, w) > 1 << 30:
        raise ValueError(f"imrescale: img must be at most {1 << 30} pixels wide and high, got shape {tuple(img.shape)}")
    size, factor = rescale_size((w, h), scale, return_scale=True)
    resized = imresize(img, size, interpolation=interpolation, backend=backend)
    return (resized, factor) if check.flag("imrescale", "return_scale", return_scale) else resized


@overload
def imresize_to_multiple(
    img: ImageArray,
    divisor: int | tuple[int, int],
    size: int | tuple[int, int] | None = ...,
    scale_factor: float | tuple[float, float] | None = ...,
    keep_ratio: bool = ...,
    return_scale: Literal[False] = ...,
    interpolation: str = ...,
    out: ImageArray | None = ...,
    backend: str | None = ...,
) -> ImageArray: ...
@overload
def imresize_to_multiple(
    img: ImageArray,
    divisor: int | tuple[int, int],
    size: int | tuple[int, int] | None = ...,
    scale_factor: float | tuple[float, float] | None = ...,
    keep_ratio: bool = ...,
    *,
    return_scale: Literal[True],
    interpolation: str = ...,
    out: ImageArray | None = ...,
    backend: str | None = ...,
) -> tuple[ImageArray, float, float]: ...
@overload
def imresize_to_multiple(
    img: ImageArray,
    divisor: int | tuple[int, int],
    size: int | tuple[int, int] | None = ...,
    scale_factor: float | tuple[float, float] | None = ...,
    keep_ratio: bool = ...,
    *,
    return_scale: bool,
    interpolation: str = ...,
    out: ImageArray | None = ...,
    backend: str | None = ...,
) -> ImageArray | tuple[ImageArray, float, float]: ...
def imresize_to_multiple(
    img: ImageArray,
    divisor: int | tuple[int, int],
    size: int | tuple[int, int] | None = None,
    scale_factor: float | int | tuple[float, float] | tuple[int, int] | None = None,
    keep_ratio: bool = False,
    return_scale: bool = False,
    interpolation: str = "bilinear",
    out: ImageArray | None = None,
    backend: str | None = None,
) -> Any:
    """Resize an image to a size or by a factor, then up to the next multiples of a divisor.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        As for `imresize`.
    divisor : int or (int, int)
        For width and height.
    size : int or (int, int), optional
        (w, h); with `keep_ratio`, the greatest size allowed, as in `rescale_size`.
    scale_factor : float or (float, float), optional
        For width and height. Give either size or scale_factor.
    keep_ratio : bool
        Keep the aspect ratio of `size` before rounding up.
    return_scale, interpolation, out, backend
        As for `imresize`.

    Returns
    -------
    array, or (array, w_scale, h_scale)
        As `imresize`.

    Raises
    ------
    TypeError
        If something is of a wrong kind.
    ValueError
        If both or neither of size and scale_factor are given, or a number isn't positive.
    """
    name = "imresize_to_multiple"
    if not hasattr(img, "shape") or len(img.shape) not in (2, 3):
        raise TypeError(f"{name}: img must be an image, got {type(img).__name__}")
    h, w = img.shape[:2]
    if (size is None) == (scale_factor is None):
        raise ValueError(f"{name}: give either size or scale_factor, got {'neither' if size is None else 'both'}")
    if size is None:
        factors = scale_factor if isinstance(scale_factor, tuple) else (scale_factor, scale_factor)
        if len(factors) != 2:
            raise ValueError(f"{name}: scale_factor must be a number or two, got {len(factors)}")
        size = _scaled((w, h), [check.number(name, "scale_factor", f, above=0) for f in factors])
    elif isinstance(size, int):
        size = (size, size)
    wide, high = _pair(name, "size", size)
    if check.flag(name, "keep_ratio", keep_ratio) and scale_factor is None:
        wide, high = rescale_size((w, h), (wide, high))
    divisors = divisor if isinstance(divisor, (tuple, list)) else (divisor, divisor)
    if len(divisors) != 2:
        raise ValueError(f"{name}: divisor must be an int or two, got {len(divisors)}")
    dw, dh = (check.integer(name, "divisor", d, 1) for d in divisors)
    return imresize(img, (-(-wide // dw) * dw, -(-high // dh) * dh), return_scale, interpolation, out, backend)


# ---- flipping --------------------------------------------------------------------------------------------------------
@images("img")
def imflip(img: ImageArray, direction: str = "horizontal") -> ImageArray:
    """Flip an image.

    Parameters
    ----------
    img : array (H, W, ...) or (H, W)
        Any dtype.
    direction : {"horizontal", "vertical", "diagonal"}
        "diagonal" flips both ways.

    Returns
    -------
    array
        Of img's shape. A view for NumPy; the input isn't changed.

    Raises
    ------
    TypeError
        If img is no array.
    ValueError
        If it has less than 2 dimensions, or the direction is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> imflip(np.array([[1, 2, 3]]))
    array([[3, 2, 1]])
    """
    choice("imflip", "direction", direction, _DIRECTIONS)
    if img.ndim < 2:
        raise InvalidValue(f"imflip: img must have shape (H, W, ...), got {tuple(img.shape)}")
    return _flipped(img, direction)


def _flipped(img, direction):
    if direction == "horizontal":
        return img[:, ::-1]
    return img[::-1] if direction == "vertical" else img[::-1, ::-1]


@images("img")
def imflip_(img: ImageArray, direction: str = "horizontal") -> ImageArray:
    """Flip an image in its own memory, and return it; otherwise as `imflip`. No JAX array, nothing read-only."""
    choice("imflip_", "direction", direction, _DIRECTIONS)
    if img.ndim < 2:
        raise InvalidValue(f"imflip_: img must have shape (H, W, ...), got {tuple(img.shape)}")
    if not img.flags.writeable:
        raise TypeError("imflip_: img can't be written: give a copy, or call imflip")
    img[...] = _flipped(img, direction).copy()
    return img


# ---- cropping --------------------------------------------------------------------------------------------------------
@images("img", "bboxes")
def imcrop(
    img: ImageArray, bboxes: ImageArray, scale: float = 1.0, pad_fill: float | list | None = None
) -> ImageArray | list[ImageArray]:
    """Crop patches out of an image.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        Any dtype.
    bboxes : array (K, 4) or (4,)
        Boxes (x1, y1, x2, y2) in pixels, x2 and y2 being the last pixels inside; fractions are cut off.
    scale : float
        The boxes are first scaled about their centers.
    pad_fill : float or sequence of C floats, optional
        What fills the part of a box outside of the image; None cuts that part off.

    Returns
    -------
    list of K arrays, or one array for a box (4,)
        (h, w, C) or (h, w). Without `pad_fill` views for NumPy: a box quite outside gives the nearest edge pixels.

    Raises
    ------
    TypeError
        If something is no array.
    ValueError
        If a shape is wrong, a box has no area or a NaN, or a number is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> imcrop(np.arange(9).reshape(3, 3), np.array([1, 1, 3, 1]), pad_fill=-1)
    array([[ 4,  5, -1]])
    """
    name = "imcrop"
    _array.image(name, "img", img)
    channels = 1 if img.ndim == 2 else img.shape[2]
    if bboxes.ndim not in (1, 2) or bboxes.shape[-1] != 4:
        raise InvalidValue(f"{name}: bboxes must have shape (K, 4) or (4,), got {tuple(bboxes.shape)}")
    scale = check.number(name, "scale", scale, above=0)
    if pad_fill is not None:
        if isinstance(pad_fill, (int, float)):
            pad_fill = [pad_fill] * channels
        if not isinstance(pad_fill, (list, tuple, np.ndarray)):
            raise TypeError(f"{name}: pad_fill must be a number or a sequence, got {type(pad_fill).__name__}")
        if len(pad_fill) != channels:
            raise InvalidValue(f"{name}: pad_fill must have {channels} numbers, one a channel, got {len(pad_fill)}")
    boxes = bboxes.reshape(-1, 4).astype(np.float64)
    if not np.isfinite(boxes).all():
        raise ValueError(f"{name}: bboxes must be finite")
    if scale != 1.0:
        grow = (boxes[:, 2:] - boxes[:, :2] + 1) * (scale - 1) * 0.5
        boxes = boxes + np.concatenate([-grow, grow], axis=1)
    if np.abs(boxes).max(initial=0) > 2**30:
        raise ValueError(f"{name}: bboxes must be within {2**30} pixels, got {np.abs(boxes).max():g}")
    boxes = np.trunc(boxes).astype(np.int64)
    if (boxes[:, 2:] < boxes[:, :2]).any():
        i = int(np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(axis=1))[0])
        raise ValueError(f"{name}: bboxes must have x2 >= x1 and y2 >= y1, got {bboxes.reshape(-1, 4)[i].tolist()}")
    patches = [_patch(img, box, pad_fill) for box in boxes.tolist()]
    return patches[0] if bboxes.ndim == 1 else patches


def _patch(img, box, pad_fill):
    h, w = img.shape[:2]
    x1, y1, x2, y2 = box
    if pad_fill is None:
        x1, x2 = min(max(x1, 0), w - 1), min(max(x2, 0), w - 1)
        y1, y2 = min(max(y1, 0), h - 1), min(max(y2, 0), h - 1)
        return img[y1 : y2 + 1, x1 : x2 + 1]
    size = (y2 - y1 + 1, x2 - x1 + 1)
    if size[0] * size[1] > _PIXELS:
        raise ValueError(f"imcrop: bboxes must have at most {_PIXELS} pixels, got {box}")
    patch = np.empty((*size, *img.shape[2:]), img.dtype)
    patch[...] = np.asarray(pad_fill).astype(img.dtype) if img.ndim == 3 else img.dtype.type(pad_fill[0])
    left, right, top, bottom = max(x1, 0), min(x2, w - 1) + 1, max(y1, 0), min(y2, h - 1) + 1
    if left < right and top < bottom:
        patch[top - y1 : bottom - y1, left - x1 : right - x1] = img[top:bottom, left:right]
    return patch


# ---- padding ---------------------------------------------------------------------------------------------------------
@images("img")
def impad(
    img: ImageArray,
    *,
    shape: tuple[int, int] | None = None,
    padding: int | tuple | None = None,
    pad_val: float | list = 0,
    padding_mode: str = "constant",
) -> ImageArray:
    """Pad an image on its sides, or to a shape.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        Any dtype.
    shape : (int, int), optional
        (h, w) of the result: pads on the right and at the bottom. Sides of img that are longer stay so.
    padding : int, (int, int) or (int, int, int, int), optional
        On all sides; left and right, top and bottom; or left, top, right, bottom. Give either shape or padding.
    pad_val : float or tuple of C floats
        For "constant".
    padding_mode : {"constant", "edge", "reflect", "symmetric"}
        "edge" repeats the last pixel, "reflect" mirrors without repeating it, "symmetric" with.

    Returns
    -------
    array
        A new image of img's dtype.

    Raises
    ------
    TypeError
        If something is of a wrong kind.
    ValueError
        If both or neither of shape and padding are given, a number is negative, or pad_val has not one number a channel.

    Examples
    --------
    >>> import numpy as np
    >>> impad(np.ones((1, 2), np.uint8), padding=(1, 0), pad_val=9)
    array([[9, 1, 1, 9]], dtype=uint8)
    """
    name = "impad"
    _array.image(name, "img", img)
    if (shape is None) == (padding is None):
        raise InvalidValue(f"{name}: give either shape or padding, got {'neither' if shape is None else 'both'}")
    if not isinstance(pad_val, (tuple, list)) and (
        isinstance(pad_val, (str, bytes, bool)) or not isinstance(pad_val, (int, float, np.number))
    ):
        raise TypeError(f"{name}: pad_val must be a number or a tuple of numbers, got {type(pad_val).__name__}")
    border = _array.bordered(name, "pad_val", pad_val, img, (tuple, list))
    choice(name, "padding_mode", padding_mode, ("constant", "edge", "reflect", "symmetric"))
    if shape is not None:
        if not hasattr(shape, "__len__") or len(shape) < 2:
            raise TypeError(f"{name}: shape must be (h, w), got {shape!r}")
        sides = (0, 0, max(0, int(shape[1]) - img.shape[1]), max(0, int(shape[0]) - img.shape[0]))
    elif isinstance(padding, tuple) and len(padding) in (2, 4):
        sides = padding if len(padding) == 4 else padding * 2
    elif isinstance(padding, (int, np.integer)) and not isinstance(padding, bool):
        sides = (padding,) * 4
    else:
        raise ValueError(f"{name}: padding must be an int or a tuple of 2 or 4, got {padding!r}")
    left, top, right, bottom = (check.integer(name, "padding", s, 0) for s in sides)
    if (img.shape[0] + top + bottom) * (img.shape[1] + left + right) > _PIXELS:
        raise ValueError(f"{name}: padding must give at most {_PIXELS} pixels, got {sides}")
    if padding_mode != "constant":
        return _array.like(_pad(img, top, bottom, left, right, _PAD_MODES[padding_mode], (0,) * 4), img)
    if img.dtype.name not in ("uint8", "int8", "uint16", "int16", "float32", "float64"):
        out = np.empty((img.shape[0] + top + bottom, img.shape[1] + left + right, *img.shape[2:]), img.dtype)
        out[...] = np.asarray(border).astype(img.dtype) if img.ndim == 3 else np.asarray(border[0]).astype(img.dtype)
        out[top : top + img.shape[0], left : left + img.shape[1]] = img
        return out
    return _array.in_fours(lambda x, value: _pad(x, top, bottom, left, right, cv2.BORDER_CONSTANT, value), img, border)


def _pad(img, top, bottom, left, right, kind, value):
    if img.dtype.name in ("int64", "uint64", "uint32", "bool", "float16"):  # OpenCV has no such type, or reads another
        mode = next(name for name, code in _PAD_MODES.items() if code == kind)
        return np.pad(img, ((top, bottom), (left, right)) + ((0, 0),) * (img.ndim - 2), mode=mode)
    return cv2.copyMakeBorder(img, top, bottom, left, right, kind, value=value)


def impad_to_multiple(img: ImageArray, divisor: int, pad_val: float | list = 0) -> ImageArray:
    """Pad an image on the right and at the bottom until both edges are multiples of a divisor.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        Any dtype.
    divisor : int
        At least 1.
    pad_val : float or tuple of C floats
        As for `impad`.

    Returns
    -------
    array
        A new image of img's dtype.

    Raises
    ------
    TypeError, ValueError
        As `impad`.
    """
    divisor = check.integer("impad_to_multiple", "divisor", divisor, 1)
    if not hasattr(img, "shape") or len(img.shape) not in (2, 3):
        raise TypeError(f"impad_to_multiple: img must be an image, got {type(img).__name__}")
    h, w = img.shape[:2]
    return impad(img, shape=(-(-h // divisor) * divisor, -(-w // divisor) * divisor), pad_val=pad_val)


@images("img")
def cutout(img: ImageArray, shape: int | tuple[int, int], pad_val: int | float | tuple = 0) -> ImageArray:
    """Fill a rectangle at a random place of an image.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        Any dtype.
    shape : int or (int, int)
        (h, w) of the rectangle, or both.
    pad_val : float or tuple of C floats
        What fills it.

    Returns
    -------
    array
        A new image. NumPy's global random state draws the rectangle's center, within the image.

    Raises
    ------
    TypeError
        If something is of a wrong kind.
    ValueError
        If shape is negative, or pad_val has not one number a channel.
    """
    name = "cutout"
    _array.image(name, "img", img)
    if isinstance(shape, int) and not isinstance(shape, bool):
        shape = (shape, shape)
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise InvalidKind(f"{name}: shape must be an int or a tuple of two, got {shape!r}")
    cut_h, cut_w = (check.integer(name, "shape", s, 0) for s in shape)
    if not isinstance(pad_val, (int, float, tuple, np.number)) or isinstance(pad_val, bool):
        raise TypeError(f"{name}: pad_val must be a number or a tuple of numbers, got {type(pad_val).__name__}")
    border = _array.bordered(name, "pad_val", pad_val, img)
    h, w = img.shape[:2]
    y0, x0 = np.random.uniform(h), np.random.uniform(w)  # noqa: NPY002
    y1, x1 = int(max(0, y0 - cut_h / 2.0)), int(max(0, x0 - cut_w / 2.0))
    y2, x2 = min(h, y1 + cut_h), min(w, x1 + cut_w)
    out = np.array(img)
    out[y1:y2, x1:x2] = np.asarray(border if img.ndim == 3 else border[0]).astype(img.dtype)
    return out


# ---- warping ---------------------------------------------------------------------------------------------------------
def _warp(name, img, matrix, size, border, interpolation, mode="constant"):
    code = cv2_interp_codes[choice(name, "interpolation", interpolation, tuple(cv2_interp_codes))]
    if max(img.shape[:2]) >= _MOST or max(size) >= _MOST:
        raise ValueError(f"{name}: img and result must be less than {_MOST} pixels wide and high, got {img.shape}")

    def warp(x):
        return _array.in_fours(
            lambda part, value: cv2.warpAffine(
                part, matrix, size, flags=code, borderMode=cv2_border_modes[mode], borderValue=value
            ),
            x,
            border,
        )

    return _array.interpolable(warp, img)


@images("img")
def imrotate(
    img: ImageArray,
    angle: float,
    center: tuple[float, float] | None = None,
    scale: float = 1.0,
    border_value: int = 0,
    interpolation: str = "bilinear",
    auto_bound: bool = False,
    border_mode: str = "constant",
) -> ImageArray:
    """Rotate an image.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        Any real dtype.
    angle : float
        Degrees, clockwise.
    center : (float, float), optional
        (x, y) of the point that stays; the image's center by default.
    scale : float
        Factor, greater than 0.
    border_value : float or tuple of C floats
        For "constant".
    interpolation : str
        "nearest", "bilinear", "bicubic", "area" or "lanczos".
    auto_bound : bool
        Give the result the size that holds the whole rotated image.
    border_mode : {"constant", "replicate", "reflect", "reflect_101", "wrap", "edge", "symmetric"}
        What lies outside of the image, by OpenCV's names: "reflect" repeats the last pixel, "reflect_101" does not. "edge"
        is "replicate" and "symmetric" is "reflect".

    Returns
    -------
    array
        Of img's dtype; and of its shape, unless `auto_bound`.

    Raises
    ------
    TypeError
        If something is of a wrong kind.
    ValueError
        If both center and auto_bound are given, or a number is NaN, infinite or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> imrotate(np.array([[1, 2], [3, 4]], np.uint8), 90)
    array([[3, 1],
           [4, 2]], dtype=uint8)
    """
    name = "imrotate"
    _array.image(name, "img", img)
    angle, scale = check.number(name, "angle", angle), check.number(name, "scale", scale, above=0)
    check.flag(name, "auto_bound", auto_bound)
    choice(name, "border_mode", border_mode, tuple(cv2_border_modes))
    if not math.isfinite(angle) or not math.isfinite(scale):
        raise ValueError(f"{name}: angle and scale must be finite, got {angle} and {scale}")
    if center is not None and auto_bound:
        raise ValueError(f"{name}: give either center or auto_bound, got both")
    h, w = img.shape[:2]
    if center is None:
        center = ((w - 1) * 0.5, (h - 1) * 0.5)
    elif not isinstance(center, tuple) or len(center) != 2:
        raise InvalidKind(f"{name}: center must be a tuple of two numbers, got {center!r}")
    x, y = (check.number(name, "center", c) for c in center)
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"{name}: center must be finite, got {center}")
    border = _array.bordered(name, "border_value", border_value, img, (tuple, list))
    matrix = cv2.getRotationMatrix2D((x, y), -angle, scale)
    if auto_bound:
        cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
        new_w, new_h = h * sin + w * cos, h * cos + w * sin
        matrix[0, 2] += (new_w - w) * 0.5
        matrix[1, 2] += (new_h - h) * 0.5
        if max(new_w, new_h) >= _MOST:
            raise ValueError(f"{name}: the result must be less than {_MOST} pixels wide and high, got scale {scale:g}")
        w, h = max(1, round(new_w)), max(1, round(new_h))
    return _warp(name, img, matrix, (w, h), border, interpolation, border_mode)


@images("img")
def imshear(
    img: ImageArray,
    magnitude: int | float,
    direction: str = "horizontal",
    border_value: int | tuple[int, int] = 0,
    interpolation: str = "bilinear",
) -> ImageArray:
    """Shear an image: x moves by magnitude * y ("horizontal"), or y by magnitude * x ("vertical").

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        Any real dtype.
    magnitude : float
        Finite.
    direction : {"horizontal", "vertical"}
    border_value : float or tuple of C floats
        What lies outside.
    interpolation : str
        "nearest", "bilinear", "bicubic", "area" or "lanczos".

    Returns
    -------
    array
        Of img's shape and dtype.

    Raises
    ------
    TypeError
        If img is no array, or magnitude no number.
    ValueError
        If border_value is neither a number nor a tuple, or something is out of range.
    """
    name = "imshear"
    magnitude = _moved(name, img, "magnitude", magnitude, direction)
    border = _border(name, border_value, img)
    matrix = np.array([[1, magnitude, 0], [0, 1, 0]] if direction == "horizontal" else [[1, 0, 0], [magnitude, 1, 0]])
    return _warp(name, img, matrix.astype(np.float32), img.shape[1::-1], border, interpolation)


@images("img")
def imtranslate(
    img: ImageArray,
    offset: int | float,
    direction: str = "horizontal",
    border_value: int | tuple = 0,
    interpolation: str = "bilinear",
) -> ImageArray:
    """Move an image to the right ("horizontal") or down ("vertical") by an offset in pixels; otherwise as `imshear`."""
    name = "imtranslate"
    offset = _moved(name, img, "offset", offset, direction)
    border = _border(name, border_value, img)
    matrix = np.array([[1, 0, offset], [0, 1, 0]] if direction == "horizontal" else [[1, 0, 0], [0, 1, offset]])
    return _warp(name, img, matrix.astype(np.float32), img.shape[1::-1], border, interpolation)


def _moved(name, img, argument, value, direction):
    _array.image(name, "img", img)
    choice(name, "direction", direction, ("horizontal", "vertical"))
    value = check.number(name, argument, value)
    if not abs(value) < 2**30:
        raise ValueError(f"{name}: {argument} must be within {2**30}, got {value}")
    return value


def _border(name, value, img):
    if not isinstance(value, (int, float, tuple, np.number)) or isinstance(value, bool):
        raise ValueError(f"{name}: border_value must be a number or a tuple of numbers, got {value!r}")
    return _array.bordered(name, "border_value", value, img)


# ---- boxes that `imcrop` works with ------------------------------------------------------------------------------------
def bbox_clip(bboxes: np.ndarray, img_shape: Sequence[int]) -> np.ndarray:
    """Clip boxes (..., 4 * k) to the pixels of an image of shape (H, W): x to 0 ... W - 1, y to 0 ... H - 1."""
    if bboxes.shape[-1] % 4:
        raise InvalidValue(f"bbox_clip: bboxes must have shape (..., 4 * k), got {tuple(bboxes.shape)}")
    last = np.empty(bboxes.shape[-1], bboxes.dtype)
    last[0::2], last[1::2] = img_shape[1] - 1, img_shape[0] - 1
    return np.maximum(np.minimum(bboxes, last), 0)


def bbox_scaling(bboxes: np.ndarray, scale: float, clip_shape: Sequence[int] | None = None) -> np.ndarray:
    """Scale boxes (..., 4), x2 and y2 being the last pixels inside, about their centers; and clip them."""
    scaled = bboxes.copy()
    if float(scale) != 1.0:
        grow = (bboxes[..., 2:] - bboxes[..., :2] + 1) * (scale - 1) * 0.5
        scaled = bboxes + np.concatenate([-grow, grow], axis=-1)
    return scaled if clip_shape is None else bbox_clip(scaled, clip_shape)
