"""What projects import from modules of `mmcv.image` beside its functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from arrayvision.image import colorspace, io
from arrayvision.older.transforms import _scale_size as _scale_size

jpeg = None  # a decoder of libjpeg-turbo: ours needs no object
TJCS_RGB, TJPF_BGR, TJPF_GRAY = 0, 1, 6  # libjpeg-turbo's color spaces and orders of pixels


def __getattr__(name: str) -> Any:
    if name == "imread_backend":
        return io.imread_backend
    if name == "pillow_interp_codes":
        return _interpolations()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _interpolations():
    """Pillow's numbers; None without Pillow."""
    try:
        ways = io.pillow("Image").Resampling
    except ImportError:
        return None
    return {way.name.lower(): way for way in ways}


def convert_color_factory(src: str, dst: str) -> Callable:
    """A function that converts images from a color space to another: "bgr", "rgb", "hsv", "hls", "gray", ... ."""
    known = getattr(colorspace, f"{src}2{dst}", None)
    if known is not None:
        return known

    def convert(img):
        return colorspace.imconvert(img, src, dst)

    convert.__name__ = f"{src}2{dst}"
    convert.__doc__ = f"Convert an image from {src.upper()} to {dst.upper()}."
    return convert
