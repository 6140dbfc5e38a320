"""Conversions between color spaces, of (H, W, 3) images in uint8 [0, 255] or float32 [0, 1]."""

from __future__ import annotations

import cv2
import numpy as np

from arrayvision import check
from arrayvision.cpu import image as kernels
from arrayvision.cpu.threads import parallel_for
from arrayvision.image import _array
from arrayvision.image._array import images
from arrayvision.typing import ImageArray

# ITU-R BT.601 with studio swing, the constants of MATLAB's rgb2ycbcr and ycbcr2rgb: for values in [0, 1], results in
# [0, 255]; rows Y, Cb, Cr, columns R, G, B.
_TO_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
_TO_OFFSET = np.array([16.0, 128.0, 128.0])
# for values in [0, 255], results in [0, 255]; rows R, G, B, columns Y, Cb, Cr
_FROM_YCBCR = 255 * np.array(
    [[0.00456621, 0.0, 0.00625893], [0.00456621, -0.00153632, -0.00318811], [0.00456621, 0.00791071, 0.0]]
)
_FROM_OFFSET = np.array([-222.921, 135.576, -276.836])


def _convert(name, img, code):
    _array.image(name, "img", img)
    return cv2.cvtColor(img, code)


@images("img")
def imconvert(img: ImageArray, src: str, dst: str) -> ImageArray:
    """Convert an image from one color space to another.

    Parameters
    ----------
    img : array (H, W, 3) or (H, W)
        The image, as OpenCV's conversion takes it: uint8, uint16 or float32 (floats in [0, 1]).
    src, dst : str
        Color spaces as OpenCV names them: "bgr", "rgb", "gray", "hsv", "hls", "lab", "luv", "yuv", "ycrcb", "xyz" ...

    Returns
    -------
    array
        The converted image, of the same dtype.

    Raises
    ------
    TypeError
        If img is no array, or src or dst no string.
    ValueError
        If OpenCV has no such conversion, or not for such an image.

    Examples
    --------
    >>> import numpy as np
    >>> imconvert(np.full((1, 1, 3), 7, np.uint8), "bgr", "gray")
    array([[7]], dtype=uint8)
    """
    for argument, value in (("src", src), ("dst", dst)):
        if not isinstance(value, str):
            raise TypeError(f"imconvert: {argument} must be a string, got {type(value).__name__}")
    code = getattr(cv2, f"COLOR_{src.upper()}2{dst.upper()}", None)
    if code is None:
        raise ValueError(f"imconvert: no conversion from {src!r} to {dst!r}")
    return _convert("imconvert", img, code)


@images("img")
def bgr2gray(img: ImageArray, keepdim: bool = False) -> ImageArray:
    """Convert a BGR image to gray (ITU-R BT.601 luma).

    Parameters
    ----------
    img : array (H, W, 3)
        uint8, uint16 or float32.
    keepdim : bool
        Give (H, W, 1) instead of (H, W).

    Returns
    -------
    array (H, W) or (H, W, 1)
        Of the same dtype.

    Raises
    ------
    TypeError
        If img is no array.
    ValueError
        If it isn't an image of 3 (or 4) channels, or of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> bgr2gray(np.zeros((2, 2, 3), np.uint8), keepdim=True).shape
    (2, 2, 1)
    """
    check.flag("bgr2gray", "keepdim", keepdim)
    gray = _convert("bgr2gray", img, cv2.COLOR_BGR2GRAY)
    return gray[..., None] if keepdim else gray


@images("img")
def rgb2gray(img: ImageArray, keepdim: bool = False) -> ImageArray:
    """Convert an RGB image to gray; otherwise as `bgr2gray`."""
    check.flag("rgb2gray", "keepdim", keepdim)
    gray = _convert("rgb2gray", img, cv2.COLOR_RGB2GRAY)
    return gray[..., None] if keepdim else gray


@images("img")
def gray2bgr(img: ImageArray) -> ImageArray:
    """Repeat a gray image, (H, W) or (H, W, 1), in three channels: (H, W, 3), same dtype."""
    return _convert("gray2bgr", img, cv2.COLOR_GRAY2BGR)


@images("img")
def gray2rgb(img: ImageArray) -> ImageArray:
    """Repeat a gray image, (H, W) or (H, W, 1), in three channels: (H, W, 3), same dtype."""
    return _convert("gray2rgb", img, cv2.COLOR_GRAY2RGB)


@images("img")
def bgr2rgb(img: ImageArray) -> ImageArray:
    """Reverse the three channels of an (H, W, 3) image; a new image."""
    return _convert("bgr2rgb", img, cv2.COLOR_BGR2RGB)


@images("img")
def rgb2bgr(img: ImageArray) -> ImageArray:
    """Reverse the three channels of an (H, W, 3) image; a new image."""
    return _convert("rgb2bgr", img, cv2.COLOR_RGB2BGR)


@images("img")
def bgr2hsv(img: ImageArray) -> ImageArray:
    """Convert BGR to HSV: hue in degrees [0, 360] for float32 (the rest in [0, 1]), halved for uint8."""
    return _convert("bgr2hsv", img, cv2.COLOR_BGR2HSV)


@images("img")
def hsv2bgr(img: ImageArray) -> ImageArray:
    """Convert HSV, as `bgr2hsv` gives it, to BGR."""
    return _convert("hsv2bgr", img, cv2.COLOR_HSV2BGR)


@images("img")
def bgr2hls(img: ImageArray) -> ImageArray:
    """Convert BGR to HLS: hue in degrees [0, 360] for float32 (the rest in [0, 1]), halved for uint8."""
    return _convert("bgr2hls", img, cv2.COLOR_BGR2HLS)


@images("img")
def hls2bgr(img: ImageArray) -> ImageArray:
    """Convert HLS, as `bgr2hls` gives it, to BGR."""
    return _convert("hls2bgr", img, cv2.COLOR_HLS2BGR)


# ---- YCbCr -----------------------------------------------------------------------------------------------------------
def _mix(name, img, matrix, offset, first_only=False):
    """matrix @ pixel + offset, for matrices from [0, 255] to [0, 255]; floats are in [0, 1] on both sides."""
    _array.color(name, "img", img)
    if img.dtype == np.uint8:
        offset, whole = offset.astype(np.float32), True
    elif img.dtype == np.float32:
        offset, whole = (offset / 255).astype(np.float32), False
    else:
        raise TypeError(f"{name}: img must be uint8 or float32, got {img.dtype}")
    pixels = _array.rows(img)
    out = np.empty(img.shape[:2] if first_only else img.shape, img.dtype)
    run = kernels.dot3 if first_only else kernels.mix3
    parallel_for(
        run,
        pixels.size // 3,
        kernels.GRAIN,
        pixels,
        matrix.astype(np.float32),
        offset,
        np.float32(255),
        whole,
        out.reshape(-1),
        cost=1,
    )
    return out


@images("img")
def rgb2ycbcr(img: ImageArray, y_only: bool = False) -> ImageArray:
    """Convert RGB to YCbCr as MATLAB's `rgb2ycbcr` does (ITU-R BT.601, Y from 16 to 235).

    OpenCV's conversion to YCrCb is the full-range one of JPEG, another.

    Parameters
    ----------
    img : array (H, W, 3)
        uint8, or float32 in [0, 1].
    y_only : bool
        Give the Y channel alone.

    Returns
    -------
    array (H, W, 3) or (H, W)
        Of the same dtype and range: rounded uint8, or float32 with Y from 16/255 to 235/255.

    Raises
    ------
    TypeError
        If img is no array, or neither uint8 nor float32.
    ValueError
        If its shape is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> rgb2ycbcr(np.full((1, 1, 3), 255, np.uint8))
    array([[[235, 128, 128]]], dtype=uint8)
    """
    return _mix("rgb2ycbcr", img, _TO_YCBCR / 255, _TO_OFFSET, check.flag("rgb2ycbcr", "y_only", y_only))


@images("img")
def bgr2ycbcr(img: ImageArray, y_only: bool = False) -> ImageArray:
    """Convert BGR to YCbCr; otherwise as `rgb2ycbcr`."""
    return _mix("bgr2ycbcr", img, _TO_YCBCR[:, ::-1] / 255, _TO_OFFSET, check.flag("bgr2ycbcr", "y_only", y_only))


@images("img")
def ycbcr2rgb(img: ImageArray) -> ImageArray:
    """Convert YCbCr to RGB as MATLAB's `ycbcr2rgb` does.

    Parameters
    ----------
    img : array (H, W, 3)
        uint8, or float32 with the range that `rgb2ycbcr` gives.

    Returns
    -------
    array (H, W, 3)
        Of the same dtype: rounded and clipped uint8; float32 isn't clipped.

    Raises
    ------
    TypeError
        If img is no array, or neither uint8 nor float32.
    ValueError
        If its shape is wrong.
    """
    return _mix("ycbcr2rgb", img, _FROM_YCBCR, _FROM_OFFSET)


@images("img")
def ycbcr2bgr(img: ImageArray) -> ImageArray:
    """Convert YCbCr to BGR; otherwise as `ycbcr2rgb`."""
    return _mix("ycbcr2bgr", img, _FROM_YCBCR[::-1], _FROM_OFFSET[::-1])


def _convert_input_type_range(img):
    """uint8 [0, 255] or float32 [0, 1] as float32 in [0, 1]."""
    if img.dtype == np.uint8:
        return img.astype(np.float32) / 255
    if img.dtype == np.float32:
        return img.astype(np.float32)
    raise TypeError(f"img must be uint8 or float32, got {img.dtype}")


def _convert_output_type_range(img, dst_type):
    """Floats in [0, 255] as uint8, rounded, or as float32 in [0, 1]."""
    if dst_type not in (np.uint8, np.float32):
        raise TypeError(f"dst_type must be uint8 or float32, got {dst_type}")
    return img.round().astype(np.uint8) if dst_type == np.uint8 else img.astype(np.float32) / 255
