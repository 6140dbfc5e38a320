"""Optical flow: files, quantization, warping. Flow is (H, W, 2): dx to the right, dy down, in pixels."""

from __future__ import annotations

import os
import struct
from typing import Any

import cv2
import numpy as np

from arrayvision import check
from arrayvision.arraymisc import dequantize
from arrayvision.check import choice
from arrayvision.cpu import flow as kernels
from arrayvision.cpu.threads import parallel_for
from arrayvision.errors import InvalidValue
from arrayvision.image import _array, _files
from arrayvision.image._array import images
from arrayvision.image._damage import damage
from arrayvision.image.io import imread, imwrite
from arrayvision.typing import ImageArray

_MAGIC = b"PIEH"


class UnknownMode(ValueError, NotImplementedError):
    """A mode that isn't known; also a NotImplementedError, for code that catches that."""


def _flow(name, argument, flow):
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise InvalidValue(f"{name}: {argument} must have shape (H, W, 2), got {tuple(flow.shape)}")
    if flow.dtype.kind not in "iuf":
        raise TypeError(f"{name}: {argument} must hold real numbers, got dtype {flow.dtype}")


# ---- files -----------------------------------------------------------------------------------------------------------
def flowread(
    flow_or_path: ImageArray | str, quantize: bool = False, concat_axis: int = 0, *args: Any, **kwargs: Any
) -> np.ndarray:
    """Read optical flow.

    Parameters
    ----------
    flow_or_path : str, path or array (H, W, 2)
        A .flo file, or an image of quantized flow; a path or URL. An array is returned as it is.
    quantize : bool
        Read an image in which dx and dy lie side by side, and dequantize it.
    concat_axis : {0, 1}
        Whether dy is below dx or to its right.
    *args, **kwargs
        `max_val` and `denorm` of `dequantize_flow`.

    Returns
    -------
    array (H, W, 2)
        float32.

    Raises
    ------
    TypeError
        If flow_or_path is neither a path nor an array.
    ValueError
        If an array has another shape, an image can't be split, or a file is damaged.
    OSError
        If a file isn't one of flow, is cut off, or can't be read; FileNotFoundError if there is none.

    Notes
    -----
    .flo is the format of the Middlebury benchmark: S. Baker et al., "A Database and Evaluation Methodology for Optical
    Flow", 2011.
    """
    name = "flowread"
    check.flag(name, "quantize", quantize)
    choice(name, "concat_axis", concat_axis, (0, 1))
    if not isinstance(flow_or_path, (str, os.PathLike)):
        shape = getattr(flow_or_path, "shape", None)
        if shape is None:
            raise TypeError(f"{name}: flow_or_path must be a path or an array, got {type(flow_or_path).__name__}")
        if len(shape) != 3 or shape[2] != 2:
            raise ValueError(f"{name}: flow_or_path must have shape (H, W, 2), got {tuple(shape)}")
        return flow_or_path
    path = os.fspath(flow_or_path)
    if not quantize:
        return _parse(name, _files.read(name, path), path)
    both = imread(path, flag="unchanged", backend="cv2")
    if both.ndim != 2:
        raise OSError(f"{name}: {path} is no image of quantized flow: it has {both.shape[2]} channels")
    if both.shape[concat_axis] % 2:
        raise InvalidValue(f"{name}: {path} can't be split in two along axis {concat_axis}: its shape is {both.shape}")
    dx, dy = np.split(both, 2, axis=concat_axis)
    return dequantize_flow(dx, dy, *args, **kwargs).astype(np.float32)


def _parse(name, content, file):
    if content[:4] != _MAGIC:
        raise OSError(f"{name}: {file} is no .flo file: it doesn't begin with PIEH")
    if len(content) < 12:
        raise OSError(f"{name}: {file} is cut off")
    w, h = struct.unpack_from("<ii", content, 4)
    if w < 1 or h < 1:
        raise OSError(f"{name}: {file} is damaged: its header gives {w} x {h} pixels")
    if len(content) < 12 + 8 * w * h:
        raise OSError(f"{name}: {file} is cut off: {w} x {h} pixels take {12 + 8 * w * h} bytes, it has {len(content)}")
    return np.frombuffer(content, "<f4", 2 * w * h, 12).reshape(h, w, 2).astype(np.float32)


def flow_from_bytes(content: bytes) -> np.ndarray:
    """Read optical flow from the bytes of a .flo file.

    Parameters
    ----------
    content : bytes-like

    Returns
    -------
    array (H, W, 2)
        float32.

    Raises
    ------
    TypeError
        If content isn't bytes.
    OSError
        If it isn't a .flo file, or is cut off.
    """
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise TypeError(f"flow_from_bytes: content must be bytes, got {type(content).__name__}")
    return _parse("flow_from_bytes", bytes(content), f"<{len(content)} bytes>")


def sparse_flow_from_bytes(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Read sparse optical flow from the bytes of a 16-bit PNG, as the KITTI benchmark stores it.

    Parameters
    ----------
    content : bytes-like
        A PNG whose red, green and blue are dx and dy, times 64 plus 2**15, and validity.

    Returns
    -------
    flow : array (H, W, 2)
        float32.
    valid : array (H, W)
        float32: 0 where flow isn't known.

    Raises
    ------
    TypeError
        If content isn't bytes.
    ValueError
        If it is no image, or a damaged one.

    Notes
    -----
    M. Menze and A. Geiger, "Object Scene Flow for Autonomous Vehicles", 2015.
    """
    name = "sparse_flow_from_bytes"
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise TypeError(f"{name}: content must be bytes, got {type(content).__name__}")
    wrong = damage(bytes(content)) if len(content) else "it is empty"
    if wrong:
        raise ValueError(f"{name}: <{len(content)} bytes> is damaged: {wrong}")
    try:
        img = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    except cv2.error:
        img = None
    if img is None:
        raise ValueError(f"{name}: <{len(content)} bytes> is no image that can be decoded")
    img = img[:, :, ::-1].astype(np.float32)
    return (img[:, :, :2] - 2**15) / 64.0, img[:, :, 2]


@images("flow")
def flowwrite(
    flow: ImageArray, filename: str, quantize: bool = False, concat_axis: int = 0, *args: Any, **kwargs: Any
) -> None:
    """Write optical flow, and the file's parent folders.

    Parameters
    ----------
    flow : array (H, W, 2)
        Any real dtype; written as float32.
    filename : str or path
        A .flo file (whatever its extension), or an image for quantized flow; a path or URL.
    quantize : bool
        Write an image with dx and dy in 255 levels: much smaller, lossy.
    concat_axis : {0, 1}
        Whether dy lies below dx in it or to its right.
    *args, **kwargs
        `max_val` and `norm` of `quantize_flow`.

    Raises
    ------
    TypeError
        If something is of a wrong kind.
    ValueError
        If flow has another shape or concat_axis is wrong.
    OSError
        If the file can't be written.
    """
    name = "flowwrite"
    _flow(name, "flow", flow)
    check.flag(name, "quantize", quantize)
    choice(name, "concat_axis", concat_axis, (0, 1))
    if not isinstance(filename, (str, os.PathLike)):
        raise TypeError(f"{name}: filename must be a path, got {type(filename).__name__}")
    if quantize:
        imwrite(np.concatenate(quantize_flow(flow, *args, **kwargs), axis=concat_axis), os.fspath(filename))
        return
    head = _MAGIC + struct.pack("<ii", flow.shape[1], flow.shape[0])
    _files.write(name, os.fspath(filename), head + np.ascontiguousarray(flow, "<f4").tobytes())


# ---- quantization ----------------------------------------------------------------------------------------------------
@images("flow")
def quantize_flow(flow: ImageArray, max_val: float = 0.02, norm: bool = True) -> tuple[ImageArray, ImageArray]:
    """Quantize flow to 255 levels, in one pass: 255 and not 256, so that no motion stays no motion.

    Parameters
    ----------
    flow : array (H, W, 2)
        Any real dtype; NaN gives level 0.
    max_val : float
        Values beyond plus and minus this are clipped; greater than 0.
    norm : bool
        First divide dx by the width and dy by the height.

    Returns
    -------
    dx, dy : arrays (H, W)
        uint8, 0 to 254.

    Raises
    ------
    TypeError
        If flow is no array of real numbers.
    ValueError
        If its shape is wrong, or max_val not greater than 0 and finite.

    Examples
    --------
    >>> import numpy as np
    >>> quantize_flow(np.zeros((1, 1, 2), np.float32))[0]
    array([[127]], dtype=uint8)
    """
    name = "quantize_flow"
    _flow(name, "flow", flow)
    max_val = _above_zero(name, max_val)
    h, w = flow.shape[:2]
    kind = np.float64 if flow.dtype != np.float32 else np.float32
    flow = flow.astype(kind, copy=False)
    width, height = (w, h) if check.flag(name, "norm", norm) else (1, 1)
    dx, dy = np.empty((h, w), np.uint8), np.empty((h, w), np.uint8)
    numbers = (kind(width), kind(height), kind(max_val), kind(2 * max_val))
    out = (dx.reshape(-1), dy.reshape(-1))
    parallel_for(kernels.quantize, h * w, kernels.GRAIN, _array.rows(flow), *numbers, *out, cost=1)
    return dx, dy


def _above_zero(name, max_val):
    max_val = check.number(name, "max_val", max_val, above=0)
    if not np.isfinite(max_val):
        raise ValueError(f"{name}: max_val must be finite, got {max_val}")
    return max_val


@images("dx", "dy")
def dequantize_flow(dx: ImageArray, dy: ImageArray, max_val: float = 0.02, denorm: bool = True) -> ImageArray:
    """Undo `quantize_flow`, up to half a level.

    Parameters
    ----------
    dx, dy : arrays (H, W) or (H, W, 1)
        Levels, 0 to 254.
    max_val : float
        As for `quantize_flow`.
    denorm : bool
        Multiply dx by the width and dy by the height.

    Returns
    -------
    array (H, W, 2)
        float64.

    Raises
    ------
    TypeError
        If something is no array.
    ValueError
        If shapes are wrong or differ, or max_val not greater than 0 and finite.
    """
    name = "dequantize_flow"
    if dx.shape != dy.shape:
        raise InvalidValue(f"{name}: dx and dy must have one shape, got {tuple(dx.shape)} and {tuple(dy.shape)}")
    if not (dx.ndim == 2 or (dx.ndim == 3 and dx.shape[2] == 1)):
        raise InvalidValue(f"{name}: dx must have shape (H, W) or (H, W, 1), got {tuple(dx.shape)}")
    max_val = _above_zero(name, max_val)
    h, w = dx.shape[:2]
    flow = np.empty((h, w, 2))
    for c, (part, size) in enumerate(((dx, w), (dy, h))):
        values = dequantize(part.reshape(h, w), -max_val, max_val, 255)
        flow[..., c] = values * size if denorm else values
    return flow


# ---- warping ---------------------------------------------------------------------------------------------------------
@images("img", "flow")
def flow_warp(
    img: ImageArray, flow: ImageArray, filling_value: int = 0, interpolate_mode: str = "nearest"
) -> ImageArray:
    """Warp an image by optical flow: each pixel is taken from where its flow points.

    Parameters
    ----------
    img : array (H, W, C)
        Any real dtype.
    flow : array (H, W, 2)
        Any real dtype.
    filling_value : float
        What pixels get whose flow points out of the image, to its last row or column, or nowhere (NaN).
    interpolate_mode : {"nearest", "bilinear"}

    Returns
    -------
    array (H, W, C)
        Of img's dtype; integers rounded.

    Raises
    ------
    TypeError
        If something is no array of real numbers.
    ValueError
        If shapes are wrong, filling_value doesn't fit img's dtype, or the mode is unknown (also a NotImplementedError).

    Examples
    --------
    >>> import numpy as np
    >>> flow_warp(np.arange(9.0).reshape(3, 3, 1), np.ones((3, 3, 2)))[0, 0]
    array([4.])
    """
    name = "flow_warp"
    _flow(name, "flow", flow)
    if img.ndim != 3 or img.shape[:2] != flow.shape[:2]:
        raise InvalidValue(f"{name}: img must have shape {(*flow.shape[:2], 'C')}, got {tuple(img.shape)}")
    if img.dtype.kind not in "biuf":
        raise TypeError(f"{name}: img must hold real numbers, got dtype {img.dtype}")
    if interpolate_mode not in ("nearest", "bilinear"):
        raise UnknownMode(f"{name}: interpolate_mode must be 'nearest' or 'bilinear', got {interpolate_mode!r}")
    fill = _fill(name, filling_value, img.dtype)
    if flow.dtype not in (np.float32, np.float64):
        flow = flow.astype(np.float64)
    source = _array.packed(img)
    source = source.view(np.uint8) if img.dtype == bool else source
    out = np.empty_like(source)
    fill = source.dtype.type(fill)
    h, w, channels = img.shape
    pixels, vectors, rows = _array.rows(source), _array.rows(flow), max(1, 8192 // max(1, w))
    if source.dtype == np.uint8 and channels == 3 and interpolate_mode == "bilinear":
        flat = out.reshape(-1)
        parallel_for(kernels.warp_bytes, h, rows, pixels, vectors, w, h, fill, flat, cost=w * 4)
        return out.view(bool) if img.dtype == bool else out
    kind = np.float32 if img.dtype.itemsize < 4 or img.dtype == np.float32 else np.float64
    parallel_for(
        kernels.warp,
        h,
        rows,
        pixels,
        vectors,
        w,
        h,
        channels,
        interpolate_mode == "nearest",
        img.dtype.kind != "f",
        np.empty(0, kind),
        fill,
        out.reshape(-1),
        cost=w * 4,
    )
    return out.view(bool) if img.dtype == bool else out


def _fill(name, value, dtype):
    if isinstance(value, float) and np.isnan(value) and dtype.kind == "f":
        return value
    value = check.number(name, "filling_value", value)
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
        raise ValueError(f"{name}: filling_value must fit {dtype}, got {value:g}")
    return value
