"""Changes of an image's values: normalization, contrast, color, tables."""

from __future__ import annotations

import cv2
import numpy as np

from arrayvision import check
from arrayvision.cpu import image as kernels
from arrayvision.cpu.threads import parallel_for
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.image import _array
from arrayvision.image._array import images
from arrayvision.image.io import pillow, processing_backend
from arrayvision.typing import ImageArray

_LEVELS = np.arange(256)
_MOST = 1 << 21


def _run(kernel, pixels, out, *args, channels=3, cost=0.5):
    """Let a kernel go over an image's pixels: `kernel(pixels, *args, out, ...)`."""
    n = pixels.size // channels
    parallel_for(kernel, n, kernels.GRAIN, pixels, *args, out.reshape(-1), cost=cost)
    return out


def _bytes(name, img):
    if img.dtype != np.uint8:
        raise InvalidKind(f"{name}: img must be uint8, got {img.dtype}")


# ---- normalization ---------------------------------------------------------------------------------------------------
def _statistics(name, img, mean, std, swap, argument):
    """mean and std as float64 vectors, one number a channel."""
    if img.ndim not in (2, 3):
        raise InvalidValue(f"{name}: img must have shape (H, W) or (H, W, C), got {tuple(img.shape)}")
    channels = img.shape[2] if img.ndim == 3 else 1
    check.flag(name, argument, swap)
    if swap and channels != 3:
        raise InvalidValue(f"{name}: {argument} must be False unless img has 3 channels, got shape {tuple(img.shape)}")
    found = []
    for what, values in (("mean", mean), ("std", std)):
        try:
            values = np.asarray(_array.to_numpy(name, what, values) if hasattr(values, "shape") else values, np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"{name}: {what} must hold numbers, got {type(values).__name__}") from None
        values = values.reshape(-1)
        if len(values) == 1:
            values = np.repeat(values, channels)
        if len(values) != channels:
            raise InvalidValue(f"{name}: {what} must have {channels} numbers, one a channel, got {len(values)}")
        found.append(values)
    if img.dtype.kind not in "biuf":
        raise TypeError(f"{name}: img must hold real numbers, got dtype {img.dtype}")
    return found


@images("img")
def imnormalize(img: ImageArray, mean: ImageArray, std: ImageArray, to_rgb: bool = True) -> ImageArray:
    """Subtract a mean and divide by a standard deviation, channel by channel, and turn BGR into RGB, in one pass.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        Any real dtype.
    mean, std : array (C,), or a number
        In the order of the result's channels. A std of 0 gives infinities and NaN.
    to_rgb : bool
        Reverse the channels first; C must be 3.

    Returns
    -------
    array (H, W, C) or (H, W)
        float32.

    Raises
    ------
    TypeError
        If something is no array, or holds no real numbers.
    ValueError
        If mean or std has another number of values than img has channels, or to_rgb is set without 3 channels.

    Examples
    --------
    >>> import numpy as np
    >>> imnormalize(np.full((1, 1, 3), 5, np.uint8), np.array([1, 2, 3]), np.array([2, 2, 2]))
    array([[[2. , 1.5, 1. ]]], dtype=float32)
    """
    mean, std = _statistics("imnormalize", img, mean, std, to_rgb, "to_rgb")
    if img.dtype not in (np.uint8, np.float32):
        img = img.astype(np.float32)
    return _normalize(_array.rows(img), mean, std, to_rgb, np.empty(img.shape, np.float32))


def shift_and_scale(mean: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What kernels subtract and multiply by: mean and 1 / std in float32, from vectors in float64."""
    with np.errstate(divide="ignore", over="ignore"):
        return _array.read_only(mean.astype(np.float32)), _array.read_only((1 / std).astype(np.float32))


def _normalize(pixels, mean, std, swap, out):
    mean, scale = shift_and_scale(mean, std)
    if len(mean) == 3:
        return _run(kernels.normalize3, pixels, out, mean, scale, swap)
    with np.errstate(invalid="ignore"):
        np.subtract(pixels.reshape(out.shape), mean, out=out)
        return np.multiply(out, scale, out=out)


@images("img")
def imnormalize_(img: ImageArray, mean: ImageArray, std: ImageArray, to_rgb: bool = True) -> ImageArray:
    """Normalize a float image in its own memory; otherwise as `imnormalize`.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        float32 or float64, in memory that can be written (no JAX array, nothing read-only).
    mean, std, to_rgb
        As for `imnormalize`.

    Returns
    -------
    array
        img itself.

    Raises
    ------
    TypeError
        If img isn't float32 or float64, or can't be written.
    ValueError
        As `imnormalize`.
    """
    name = "imnormalize_"
    if img.dtype not in (np.float32, np.float64):
        raise InvalidKind(f"{name}: img must be float32 or float64, got {img.dtype}")
    _writable(name, img)
    mean, std = _statistics(name, img, mean, std, to_rgb, "to_rgb")
    if img.dtype == np.float32 and img.flags.c_contiguous and img.flags.aligned and img.dtype.isnative:
        _normalize(img.reshape(-1), mean, std, to_rgb, img)
        return img
    with np.errstate(divide="ignore", invalid="ignore"):
        source = img[..., ::-1].copy() if to_rgb else img
        img[...] = (source - mean) / std if img.ndim == 3 else (source - mean[0]) / std[0]
    return img


def _writable(name, img):
    if not img.flags.writeable:
        raise TypeError(f"{name}: img can't be written: give a copy, or call {name[:-1]}")


@images("img")
def imdenormalize(img: ImageArray, mean: ImageArray, std: ImageArray, to_bgr: bool = True) -> ImageArray:
    """Undo `imnormalize`: multiply by std, add mean, and turn RGB into BGR, in one pass.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        float32 or float64.
    mean, std : array (C,), or a number
        In the order of img's channels.
    to_bgr : bool
        Reverse the channels afterwards; C must be 3.

    Returns
    -------
    array
        Of img's shape and dtype; not rounded, but for what lies within the arithmetic's own rounding errors of a whole
        number other than 0: that is this number, so that pixels survive `imnormalize`, this and a cast to integers.

    Raises
    ------
    TypeError
        If img isn't float32 or float64.
    ValueError
        If mean or std has another number of values than img has channels, or to_bgr is set without 3 channels.

    Examples
    --------
    >>> import numpy as np
    >>> imdenormalize(np.ones((1, 1, 3), np.float32), np.array([1, 2, 3]), np.array([2, 2, 2]))
    array([[[5., 4., 3.]]], dtype=float32)
    """
    name = "imdenormalize"
    if img.dtype not in (np.float32, np.float64):
        raise InvalidKind(f"{name}: img must be float32 or float64, got {img.dtype}")
    mean, std = _statistics(name, img, mean, std, to_bgr, "to_bgr")
    kind = img.dtype.newbyteorder("=")
    close = kind.type(np.finfo(kind).eps * 4)  # eight roundings; normalizing and undoing it takes six
    if len(mean) == 3:
        out = np.empty(img.shape, kind)
        std, mean = _array.read_only(std.astype(kind)), _array.read_only(mean.astype(kind))
        return _run(kernels.denormalize3, _array.rows(img), out, std, mean, close, to_bgr)
    scaled, shift = img * std.astype(kind), mean.astype(kind)
    value = scaled + shift
    with np.errstate(invalid="ignore"):
        whole = np.rint(value)
        near = (whole != 0) & (np.abs(value - whole) <= close * (np.abs(scaled) + np.abs(shift)))
    return np.where(near, whole, value).reshape(img.shape).astype(kind, copy=False)


# ---- value by value --------------------------------------------------------------------------------------------------
@images("img")
def iminvert(img: ImageArray) -> ImageArray:
    """255 minus the image, in its own dtype (of integers, modulo their range).

    Examples
    --------
    >>> import numpy as np
    >>> iminvert(np.array([[0, 250]], np.uint8))
    array([[255,   5]], dtype=uint8)
    """
    if img.dtype == np.uint8 and img.size:
        img = _array.packed(img)
        return cv2.bitwise_not(img.reshape(len(img), -1)).reshape(img.shape)
    return np.full_like(img, 255) - img


@images("img")
def solarize(img: ImageArray, thr: float = 128) -> ImageArray:
    """Invert the values that aren't below a threshold: x where x < thr, else 255 - x.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        uint8, or any real dtype with values from 0 to 255.
    thr : float
        The threshold, 0 to 255.

    Returns
    -------
    array
        Of img's shape and dtype.

    Raises
    ------
    TypeError
        If img is no array, or thr no number.
    ValueError
        If thr is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> solarize(np.array([[0, 128, 255]], np.uint8))
    array([[  0, 127,   0]], dtype=uint8)
    """
    thr = check.number("solarize", "thr", thr)
    if img.dtype != np.uint8:
        return np.where(img < thr, img, 255 - img)
    pixels = _array.rows(img)
    if thr <= 0 or thr > 255:
        return np.array(img) if thr > 255 else iminvert(img)
    return _run(
        kernels.solarize,
        pixels,
        np.empty(img.shape, np.uint8),
        np.uint8(np.ceil(thr)),
        np.uint8(255),
        channels=1,
        cost=0.05,
    )


@images("img")
def posterize(img: ImageArray, bits: int) -> ImageArray:
    """Keep the upper bits of each value.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        uint8, or other integers from 0 to 255.
    bits : int
        How many of 8 to keep: 0 to 8.

    Returns
    -------
    array
        Of img's shape and dtype.

    Raises
    ------
    TypeError
        If img isn't of integers, or bits no int.
    ValueError
        If bits is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> posterize(np.array([[1, 127, 254]], np.uint8), 1)
    array([[  0,   0, 128]], dtype=uint8)
    """
    bits = check.integer("posterize", "bits", bits, 0)
    if bits > 8:
        raise ValueError(f"posterize: bits must be at most 8, got {bits}")
    if img.dtype.kind not in "iu":
        raise TypeError(f"posterize: img must hold integers, got dtype {img.dtype}")
    shift = 8 - bits
    if img.dtype == np.uint8 and img.size:
        img = _array.packed(img)
        mask = np.float64(255 >> shift << shift)
        return cv2.bitwise_and(img.reshape(len(img), -1), (mask, mask, mask, mask)).reshape(img.shape)
    return np.left_shift(np.right_shift(img, shift), shift)


@images("img", "lut_table")
def lut_transform(img: ImageArray, lut_table: ImageArray) -> ImageArray:
    """Replace each value by its entry in a table.

    Parameters
    ----------
    img : array of any shape
        Values from 0 to 255 of any real dtype; fractions are cut off.
    lut_table : array (256,)
        The entries.

    Returns
    -------
    array
        Of img's shape and the table's dtype.

    Raises
    ------
    TypeError
        If something is no array.
    ValueError
        If the table has another shape, or img values out of range.

    Examples
    --------
    >>> import numpy as np
    >>> lut_transform(np.array([[0, 255]], np.uint8), np.arange(256, dtype=np.uint8)[::-1])
    array([[255,   0]], dtype=uint8)
    """
    name = "lut_transform"
    if lut_table.shape != (256,):
        raise InvalidValue(f"{name}: lut_table must have shape (256,), got {tuple(lut_table.shape)}")
    if img.dtype != np.uint8:
        if img.size and not (img.min() >= 0 and img.max() <= 255):
            raise InvalidValue(f"{name}: img must hold values from 0 to 255, got {img.min()} to {img.max()}")
        img = img.astype(np.uint8)
    if (
        img.ndim in (2, 3)
        and img.size
        and lut_table.dtype.name in ("uint8", "int8", "uint16", "int16", "float32", "float64")
    ):
        img = _array.packed(img)
        return cv2.LUT(img.reshape(len(img), -1), np.ascontiguousarray(lut_table)).reshape(img.shape)
    return lut_table[img]


# ---- contrast and color ----------------------------------------------------------------------------------------------
def _by_pillow(name, backend, img):
    """Whether Pillow is to do it."""
    if processing_backend(name, backend) == "cv2":
        return False
    _bytes(name, img)
    return True


def _enhance(kind, img, factor):
    """One of Pillow's enhancers, on a BGR image."""
    picture = pillow("Image").fromarray(np.ascontiguousarray(img[..., ::-1]))
    return np.ascontiguousarray(np.array(getattr(pillow("ImageEnhance"), kind)(picture).enhance(factor))[:, :, ::-1])


def _fade(img, factor, base):
    """img * factor + base, clipped to 0 to 255, in img's dtype: fractions of integers are cut off."""
    if img.dtype == np.uint8:
        out = np.empty(img.shape, np.uint8)
        return _run(kernels.fade, _array.rows(img), out, np.float32(factor), np.float32(base), channels=1, cost=0.1)
    return np.clip(img.astype(np.float32) * np.float32(factor) + np.float32(base), 0, 255).astype(img.dtype)


def _weight(value):
    """A weight of bytes as the kernels take it: beyond 2**21 all results are 0 or 255 anyway."""
    return min(max(value, -_MOST), _MOST)


@images("img")
def adjust_brightness(img: ImageArray, factor: float = 1.0, backend: str | None = None) -> ImageArray:
    """Multiply an image's values: 0 gives black, 1 the image.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        uint8, or any real dtype with values from 0 to 255.
    factor : float
        Finite.
    backend : {None, "cv2", "pillow"}
        "pillow" takes Pillow's ImageEnhance.Brightness, for (H, W, 3) uint8.

    Returns
    -------
    array
        Of img's shape and dtype, clipped to 0 to 255, fractions of integers cut off.

    Raises
    ------
    TypeError
        If img is no array, or factor no number.
    ValueError
        If factor is NaN or infinite, or the backend unknown.

    Examples
    --------
    >>> import numpy as np
    >>> adjust_brightness(np.array([[10, 200]], np.uint8), 1.5)
    array([[ 15, 255]], dtype=uint8)
    """
    name = "adjust_brightness"
    factor = _finite(name, "factor", factor)
    if _by_pillow(name, backend, img):
        _array.color(name, "img", img)
        return _enhance("Brightness", img, factor)
    return _fade(img, _weight(factor) if img.dtype == np.uint8 else factor, 0)


def _finite(name, argument, value):
    value = check.number(name, argument, value)
    if not np.isfinite(value):
        raise ValueError(f"{name}: {argument} must be finite, got {value}")
    return value


@images("img")
def adjust_contrast(img: ImageArray, factor: float = 1.0, backend: str | None = None) -> ImageArray:
    """Blend an image with its mean gray: 0 gives that gray, 1 the image.

    Parameters
    ----------
    img : array (H, W, 3)
        BGR; uint8, or uint16 or float32 with values from 0 to 255.
    factor : float
        Finite.
    backend : {None, "cv2", "pillow"}
        "pillow" takes Pillow's ImageEnhance.Contrast, for uint8.

    Returns
    -------
    array (H, W, 3)
        img * factor + mean * (1 - factor), the mean rounded, clipped to 0 to 255, fractions of integers cut off.

    Raises
    ------
    TypeError
        If img is no array, or factor no number.
    ValueError
        If img's shape is wrong, factor is NaN or infinite, or the backend unknown.

    Examples
    --------
    >>> import numpy as np
    >>> adjust_contrast(np.array([[[0, 0, 0], [100, 100, 100]]], np.uint8), 0.5)[0, :, 0]
    array([25, 75], dtype=uint8)
    """
    name = "adjust_contrast"
    _array.color(name, "img", img)
    factor = _finite(name, "factor", factor)
    if _by_pillow(name, backend, img):
        return _enhance("Contrast", img, factor)
    if img.dtype == np.uint8:
        img = _array.packed(img)
        mean, factor = kernels.gray_mean(_array.rows(img)), _weight(factor)
    else:
        mean = round(float(cv2.cvtColor(img, cv2.COLOR_BGR2GRAY).mean(dtype=np.float64)))
    return _fade(img, factor, mean * (1 - factor))


@images("img")
def adjust_color(
    img: ImageArray, alpha: float = 1, beta: float | None = None, gamma: float = 0, backend: str | None = None
) -> ImageArray:
    """Blend an image with its gray version: img * alpha + gray * beta + gamma.

    Parameters
    ----------
    img : array (H, W, 3)
        BGR; uint8, or float32 with values from 0 to 255.
    alpha, beta, gamma : float
        Finite; beta None stands for 1 - alpha.
    backend : {None, "cv2", "pillow"}
        "pillow" takes Pillow's ImageEnhance.Color with the factor alpha, for uint8; beta and gamma are then unused.

    Returns
    -------
    array (H, W, 3)
        Of img's dtype, clipped to 0 to 255; uint8 rounded.

    Raises
    ------
    TypeError
        If img is no array, or a weight no number.
    ValueError
        If img's shape is wrong, a weight NaN or infinite, or the backend unknown.

    Examples
    --------
    >>> import numpy as np
    >>> adjust_color(np.array([[[0, 0, 255]]], np.uint8), 0)
    array([[[76, 76, 76]]], dtype=uint8)
    """
    name = "adjust_color"
    _array.color(name, "img", img)
    alpha, gamma = _finite(name, "alpha", alpha), _finite(name, "gamma", gamma)
    beta = 1 - alpha if beta is None else _finite(name, "beta", beta)
    if _by_pillow(name, backend, img):
        return _enhance("Color", img, alpha)
    if img.dtype == np.uint8:
        weights = (np.float32(_weight(w)) for w in (alpha, beta, gamma))
        return _run(kernels.blend_gray, _array.rows(img), np.empty(img.shape, np.uint8), *weights, cost=1)
    gray = cv2.cvtColor(cv2.cvtColor(img, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return np.clip(cv2.addWeighted(img, alpha, gray, beta, gamma), 0, 255)


@images("img")
def adjust_hue(img: ImageArray, hue_factor: float, backend: str | None = None) -> ImageArray:
    """Turn an image's hues round the color circle.

    Parameters
    ----------
    img : array (H, W, 3)
        BGR (for RGB, negate the factor); uint8, or with OpenCV any real dtype with values from 0 to 255, which are cut to
        uint8. A gray image, (H, W) or (H, W, 1), is returned as it is.
    hue_factor : float
        From -0.5 to 0.5, parts of the circle: both ends give complementary colors, 0 the image.
    backend : {None, "cv2", "pillow"}
        Which library converts to and from HSV.

    Returns
    -------
    array (H, W, 3)
        Of img's dtype.

    Raises
    ------
    TypeError
        If img is no array, or not of uint8 for Pillow, or hue_factor no number.
    ValueError
        If hue_factor is out of range, img's shape wrong, or the backend unknown.
    """
    name = "adjust_hue"
    hue_factor = check.number(name, "hue_factor", hue_factor, -0.5)
    if hue_factor > 0.5:
        raise ValueError(f"{name}: hue_factor must be at most 0.5, got {hue_factor:g}")
    by_pillow = _by_pillow(name, backend, img)
    if img.ndim == 2 or (img.ndim == 3 and img.shape[2] == 1):
        return img
    _array.color(name, "img", img)
    turn = np.uint8(int(hue_factor * 255) % 256)  # of a circle of 256
    if by_pillow:
        image = pillow("Image")
        h, s, v = image.fromarray(np.ascontiguousarray(img[..., ::-1])).convert("HSV").split()
        rgb = image.merge("HSV", (image.fromarray(np.array(h) + turn), s, v)).convert("RGB")
        return np.ascontiguousarray(np.array(rgb)[..., ::-1])
    hsv = cv2.cvtColor(img.astype(np.uint8, copy=False), cv2.COLOR_BGR2HSV_FULL)
    hsv[..., 0] += turn
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL).astype(img.dtype, copy=False)


@images("img")
def imequalize(img: ImageArray) -> ImageArray:
    """Equalize the histogram of each channel.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        uint8.

    Returns
    -------
    array
        Of img's shape; a channel with too few distinct pixels to equalize is left as it is.

    Raises
    ------
    TypeError
        If img is no array of uint8.
    ValueError
        If its shape is wrong.

    Notes
    -----
    As Pillow's ImageOps.equalize: the step is the number of pixels, without those of the highest value, over 255.

    Examples
    --------
    >>> import numpy as np
    >>> imequalize(np.repeat(np.arange(4, dtype=np.uint8), 255).reshape(4, 255))[:, 0]
    array([  0,  85, 170, 255], dtype=uint8)
    """
    return _by_histogram("imequalize", img, _equalizing)


def _equalizing(counts):
    step = (counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
    if not step:
        return _LEVELS
    return np.minimum((np.concatenate([[0], np.cumsum(counts)[:-1]]) + step // 2) // step, 255)


@images("img")
def auto_contrast(img: ImageArray, cutoff: float | tuple[float, float] = 0) -> ImageArray:
    """Stretch each channel so that its darkest value becomes 0 and its lightest 255 (or 254, as float64 rounds).

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        uint8.
    cutoff : float or (float, float)
        The percent of darkest and of lightest pixels to leave out of account; one number for both.

    Returns
    -------
    array
        Of img's shape; fractions cut off, as Pillow's ImageOps.autocontrast does. A channel of one value is left as it is,
        and one of which cutoff leaves nothing.

    Raises
    ------
    TypeError
        If img is no array of uint8, or cutoff neither a number nor a tuple.
    ValueError
        If img's shape is wrong, or cutoff negative.

    Examples
    --------
    >>> import numpy as np
    >>> auto_contrast(np.array([[50, 75, 101]], np.uint8))
    array([[  0, 125, 255]], dtype=uint8)
    """
    name = "auto_contrast"
    if isinstance(cutoff, tuple):
        if len(cutoff) != 2:
            raise InvalidValue(f"{name}: cutoff must have 2 numbers, got {len(cutoff)}")
    elif isinstance(cutoff, (int, float)) and not isinstance(cutoff, bool):
        cutoff = (cutoff, cutoff)
    else:
        raise InvalidKind(f"{name}: cutoff must be a number or a tuple of two, got {type(cutoff).__name__}")
    low, high = (check.number(name, "cutoff", c, 0) for c in cutoff)
    return _by_histogram(name, img, lambda counts: _stretching(counts, low, high))


def _stretching(counts, low, high):
    total = np.cumsum(counts)
    first, last = total[-1] * low // 100, total[-1] - total[-1] * high // 100
    kept = np.flatnonzero(np.diff(np.clip(total, first, last) - first, prepend=0))
    if first >= last or len(kept) < 2:
        return _LEVELS
    scale = 255.0 / (kept[-1] - kept[0])
    return np.clip(_LEVELS * scale - kept[0] * scale, 0, 255)


def _by_histogram(name, img, table_of):
    """Look up each channel in a table made from its histogram."""
    _array.image(name, "img", img)
    _bytes(name, img)
    img = _array.packed(img)
    channels = img.shape[2] if img.ndim == 3 else 1
    if channels == 3:
        counts = kernels.histograms(_array.rows(img))
    else:
        flat = img.reshape(-1, channels)
        counts = np.stack([np.bincount(flat[:, c], minlength=256) for c in range(channels)])
    tables = np.stack([table_of(c) for c in counts]).astype(np.uint8)
    if channels == 1:
        return cv2.LUT(img.reshape(len(img), -1), tables[0]).reshape(img.shape)
    out, tables = np.empty(img.shape, np.uint8), _array.read_only(tables)
    if channels == 3:
        return _run(kernels.look_up3, _array.rows(img), out, tables, cost=1)
    return _run(kernels.look_up, _array.rows(img), out, tables, channels=channels, cost=channels)


@images("img")
def adjust_sharpness(img: ImageArray, factor: float = 1.0, kernel: np.ndarray | None = None) -> ImageArray:
    """Blend an image with a smoothed version of it: 0 gives that version, 1 the image, more sharpens.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        uint8, or another dtype that OpenCV filters, with values from 0 to 255.
    factor : float
        Finite.
    kernel : array (h, w), optional
        The smoothing filter; by default Pillow's, 3 x 3 of ones with 5 in the middle, over 13, which leaves the
        outermost pixels as they are.

    Returns
    -------
    array
        Of img's shape and dtype, clipped to 0 to 255, fractions of integers cut off.

    Raises
    ------
    TypeError
        If img or kernel is no array, or factor no number.
    ValueError
        If a shape is wrong, or factor NaN or infinite.
    """
    name = "adjust_sharpness"
    _array.image(name, "img", img)
    factor = _finite(name, "factor", factor)
    default = kernel is None
    if kernel is None:
        kernel = np.array([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]) / 13
    if not hasattr(kernel, "shape"):
        raise InvalidKind(f"{name}: kernel must be an array, got {type(kernel).__name__}")
    if len(kernel.shape) != 2:
        raise InvalidValue(f"{name}: kernel must have shape (h, w), got {tuple(kernel.shape)}")
    _array.measured(name, "kernel", kernel.shape)
    smooth = _array.like(cv2.filter2D(img, -1, _array.to_numpy(name, "kernel", kernel)), img)
    if default:  # Pillow smooths what has all eight neighbors
        smooth[:1], smooth[-1:], smooth[:, :1], smooth[:, -1:] = img[:1], img[-1:], img[:, :1], img[:, -1:]
    more = cv2.subtract(img, smooth, dtype=cv2.CV_32F)  # 0 where it is smooth already: what is flat stays as it is
    more *= np.float32(factor)  # rounded before the sum, as by Pillow; cv2.scaleAdd rounds once
    more += smooth.reshape(more.shape)
    return _array.like(np.clip(more, 0, 255, out=more).astype(img.dtype), img)


@images("img")
def adjust_lighting(
    img: ImageArray, eigval: np.ndarray, eigvec: np.ndarray, alphastd: float = 0.1, to_rgb: bool = True
) -> ImageArray:
    """Add a random multiple of each principal component of the colors, one for the whole image.

    Parameters
    ----------
    img : array (H, W, 3)
        BGR.
    eigval : array (n,)
        Eigenvalues of the covariance of the training images' colors.
    eigvec : array (3, n)
        Their eigenvectors, in columns.
    alphastd : float
        Standard deviation of the multiples; NumPy's global random state draws them.
    to_rgb : bool
        Turn img from BGR to RGB first.

    Returns
    -------
    array (H, W, 3)
        float64, neither rounded nor clipped.

    Raises
    ------
    TypeError
        If something is no array, or alphastd no float.
    ValueError
        If a shape is wrong, or alphastd negative.

    Notes
    -----
    A. Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012.
    """
    name = "adjust_lighting"
    _array.color(name, "img", img)
    for argument, x in (("eigval", eigval), ("eigvec", eigvec)):
        if not hasattr(x, "shape"):
            raise InvalidKind(f"{name}: {argument} must be an array, got {type(x).__name__}")
    eigval, eigvec = _array.to_numpy(name, "eigval", eigval), _array.to_numpy(name, "eigvec", eigvec)
    if eigval.ndim != 1:
        raise InvalidValue(f"{name}: eigval must have shape (n,), got {tuple(eigval.shape)}")
    if eigvec.shape != (3, len(eigval)):
        raise InvalidValue(f"{name}: eigvec must have shape (3, {len(eigval)}), got {tuple(eigvec.shape)}")
    if not isinstance(alphastd, float):
        raise InvalidKind(f"{name}: alphastd must be a float, got {type(alphastd).__name__}")
    alphastd = check.number(name, "alphastd", alphastd, 0)
    img = img.astype(np.float32)
    if check.flag(name, "to_rgb", to_rgb):
        img = cv2.cvtColor(img, cv2.COLOR_BGR2RGB)
    return img + eigvec @ (np.random.normal(0, alphastd, len(eigval)) * eigval)  # noqa: NPY002


@images("img")
def clahe(img: ImageArray, clip_limit: float = 40.0, tile_grid_size: tuple[int, int] = (8, 8)) -> ImageArray:
    """Equalize a gray image's histogram tile by tile, with limited contrast (CLAHE).

    Parameters
    ----------
    img : array (H, W)
        uint8, or values from 0 to 255.
    clip_limit : float
        How far a histogram's bins may rise above the mean before they are cut; 0 for no limit.
    tile_grid_size : (int, int)
        How many tiles in a row and in a column.

    Returns
    -------
    array (H, W)
        uint8.

    Raises
    ------
    TypeError
        If img is no array, clip_limit no number, or tile_grid_size no tuple of ints.
    ValueError
        If img's shape is wrong, or a number NaN, negative or not positive.

    Notes
    -----
    K. Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV, 1994.
    """
    name = "clahe"
    if img.ndim != 2 or img.size == 0:
        raise InvalidValue(f"{name}: img must have shape (H, W) with pixels, got {tuple(img.shape)}")
    clip_limit = check.number(name, "clip_limit", clip_limit, 0)
    if not isinstance(tile_grid_size, tuple) or len(tile_grid_size) != 2:
        raise InvalidValue(f"{name}: tile_grid_size must be a tuple of 2 ints, got {tile_grid_size!r}")
    if not all(isinstance(t, int) and not isinstance(t, bool) for t in tile_grid_size):
        raise InvalidKind(f"{name}: tile_grid_size must be a tuple of 2 ints, got {tile_grid_size!r}")
    if min(tile_grid_size) < 1 or max(tile_grid_size) > 1 << 14:
        raise ValueError(f"{name}: tile_grid_size must be from 1 to {1 << 14}, got {tile_grid_size!r}")
    return cv2.createCLAHE(clip_limit, tile_grid_size).apply(_array.packed(img).astype(np.uint8, copy=False))
