"""Reading and writing images, by OpenCV, libjpeg-turbo (simplejpeg), Pillow or tifffile."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import math
import os
import threading
import warnings
from pathlib import Path
from typing import Any, overload

import cv2
import numpy as np

from arrayvision import check
from arrayvision.array import library_of
from arrayvision.errors import InvalidValue
from arrayvision.image import _damage, _ends, _files, _netpbm, _tiff
from arrayvision.image._array import images
from arrayvision.image._damage import damage, kind, orientation
from arrayvision.typing import ImageArray

supported_backends = ["cv2", "turbojpeg", "pillow", "tifffile"]
imread_backend = "cv2"

imread_flags = {
    "color": cv2.IMREAD_COLOR,
    "grayscale": cv2.IMREAD_GRAYSCALE,
    "unchanged": cv2.IMREAD_UNCHANGED,
    "color_ignore_orientation": cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_COLOR,
    "grayscale_ignore_orientation": cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_GRAYSCALE,
}
_NAMES = {int(code): name for name, code in imread_flags.items()}


class UnknownFormat(ValueError, cv2.error):
    """An extension that no encoder knows; also an error of OpenCV's kind."""


# ---- back ends -------------------------------------------------------------------------------------------------------
def _optional(module, package, extra="image"):
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImportError(f'{package} is needed for this: pip install "arrayvision[{extra}]"') from None


@functools.cache
def pillow(module: str):
    """A module of Pillow."""
    return _optional(f"PIL.{module}", "pillow")


_SYMBOLS = {"turbojpeg": "TurboJPEG", "pillow": "Image", "tifffile": "tifffile"}


def __getattr__(name):
    """The symbols by which older code knows the optional back ends; setting one to None turns the back end off."""
    for backend, symbol in _SYMBOLS.items():
        if name == symbol:
            return _module_of(backend)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _module_of(backend):
    if globals().get(_SYMBOLS.get(backend, ""), ...) is None:
        raise ImportError(f"{backend} is turned off: {_SYMBOLS[backend]} was set to None")
    if backend == "turbojpeg":
        return _optional("simplejpeg", "simplejpeg")
    if backend == "pillow":
        return pillow("Image")
    return _optional("tifffile", "tifffile") if backend == "tifffile" else cv2


def use_backend(backend: str) -> None:
    """Choose what decodes images where no `backend` is given.

    Parameters
    ----------
    backend : {"cv2", "turbojpeg", "pillow", "tifffile"}
        "cv2" at first. "turbojpeg" is the fastest for JPEG and reads nothing else; "tifffile" reads TIFF as it is
        stored, stacks of pages too. "cv2" and "pillow" read TIFF and Netpbm files alike, sample by sample.

    Raises
    ------
    ValueError
        If there is no such back end.
    ImportError
        If its package is missing; names the extra to install.
    """
    global imread_backend
    if backend not in supported_backends:
        raise InvalidValue(f"use_backend: backend must be one of {', '.join(supported_backends)}, got {backend!r}")
    _module_of(backend)
    imread_backend = backend


def processing_backend(function: str, backend: str | None) -> str:
    """ "cv2" or "pillow", for functions that either can do; None takes what `use_backend` chose, if one of them."""
    if backend is None:
        return imread_backend if imread_backend == "pillow" else "cv2"
    if backend not in ("cv2", "pillow"):
        raise ValueError(f"{function}: backend must be 'cv2', 'pillow' or None, got {backend!r}")
    return backend


# ---- how large -------------------------------------------------------------------------------------------------------
_max_pixels: int | None = None


def set_max_pixels(count: int) -> None:
    """Let files have this many pixels at most: larger ones are refused by their headers, before memory is taken.

    Parameters
    ----------
    count : int
        Width times height; of more than four channels, each four count once. `ARRAYVISION_MAX_PIXELS` sets it, too;
        without either it is 2**28, 16,384 x 16,384. OpenCV has a limit of its own, 2**30, which
        `OPENCV_IO_MAX_IMAGE_PIXELS` raises if it is set before OpenCV is imported.

    Raises
    ------
    TypeError
        If count is no int.
    ValueError
        If it is less than 1.
    """
    global _max_pixels
    _max_pixels = check.integer("set_max_pixels", "count", count, 1)


def get_max_pixels() -> int:
    """How many pixels a file may have."""
    if _max_pixels is not None:
        return _max_pixels
    wanted = os.environ.get("ARRAYVISION_MAX_PIXELS", "")
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else 1 << 28


def _allowed(width, height, channels, length):
    """Refuse what is too large for the limit, or for the file: one rule for every format and back end."""
    wrong = _damage.promise(width, height, channels, length, get_max_pixels())
    if wrong:
        raise _TooLarge(wrong)


class _TooLarge(InvalidValue):
    pass


# ---- reading ---------------------------------------------------------------------------------------------------------
@overload
def imread(
    img_or_path: str | Path | bytes,
    flag: str = ...,
    channel_order: str = ...,
    backend: str | None = ...,
    file_client_args: dict | None = ...,
    *,
    backend_args: dict | None = ...,
) -> np.ndarray: ...
@overload
def imread(
    img_or_path: ImageArray,
    flag: str = ...,
    channel_order: str = ...,
    backend: str | None = ...,
    file_client_args: dict | None = ...,
    *,
    backend_args: dict | None = ...,
) -> ImageArray: ...
def imread(
    img_or_path: Any,
    flag: str = "color",
    channel_order: str = "bgr",
    backend: str | None = None,
    file_client_args: dict | None = None,
    *,
    backend_args: dict | None = None,
) -> Any:
    """Read an image.

    Parameters
    ----------
    img_or_path : str, path, bytes, file object or array
        A path; a URL of any scheme that fsspec knows (http://, s3://, gs://, memory:// ...); a file's bytes; an object
        with `read`, opened in binary mode. An array is returned as it is.
    flag : str
        - "color": (H, W, 3) uint8, turned upright as its EXIF orientation says;
        - "grayscale": (H, W) uint8, turned upright;
        - "unchanged": as it is stored: alpha, 16 bits, floats, any number of channels of a TIFF; not turned. Palettes
          and inks become colors, less than 8 bits fill the range of 8, and where 0 is white it becomes black;
        - "color_ignore_orientation", "grayscale_ignore_orientation": not turned.

        Or OpenCV's number for it. "tifffile" always reads as "unchanged", and leaves all numbers as they are;
        "turbojpeg" can't. Floats, signed numbers and 32 bits have no form of 8 bits: they take "unchanged".
    channel_order : {"bgr", "rgb"}
        Of 3 or 4 channels (alpha stays last). "tifffile" gives the order of the file.
    backend : {None, "cv2", "turbojpeg", "pillow", "tifffile"}
        None takes what `use_backend` chose.
    file_client_args : dict, optional
        The older name of backend_args; deprecated.
    backend_args : dict, optional
        Options of fsspec's file system; its key "backend" names the protocol ("local", "http", "s3" ...).

    Returns
    -------
    array
        (H, W, C) or (H, W).

    Raises
    ------
    TypeError
        If img_or_path is none of these.
    ValueError
        If it is no image, or a damaged or cut one (the message names the file), or one with more pixels than
        `set_max_pixels` allows, or a flag, order or back end is unknown.
    OSError
        If it can't be read; FileNotFoundError if there is none.
    ImportError
        If the back end's package is missing.

    Warns
    -----
    UserWarning
        If the file lacks nothing but what follows its pixels: a JPEG's end marker, a PNG's IEND.

    Examples
    --------
    >>> imread("cat.jpg", channel_order="rgb")  # doctest: +SKIP
    """
    options = _files.options("imread", backend_args, file_client_args)
    if isinstance(img_or_path, (bytes, bytearray, memoryview)):
        return _decode("imread", bytes(img_or_path), f"<{len(img_or_path)} bytes>", flag, channel_order, backend)
    if isinstance(img_or_path, (str, os.PathLike)) or hasattr(img_or_path, "read"):
        _checked("imread", flag, channel_order, backend)
        content = _files.read("imread", img_or_path, options)
        if isinstance(content, (bytes, bytearray, memoryview)):
            return _decode("imread", bytes(content), _files.file_name(img_or_path), flag, channel_order, backend)
        img_or_path = content  # a back end that decodes itself
    library_of(img_or_path, "imread", "img_or_path")
    return img_or_path


def imfrombytes(
    content: bytes, flag: str = "color", channel_order: str = "bgr", backend: str | None = None
) -> np.ndarray:
    """Read an image from a file's bytes; otherwise as `imread`.

    Parameters
    ----------
    content : bytes-like
        A whole file.
    flag, channel_order, backend
        As for `imread`.

    Returns
    -------
    array
        (H, W, C) or (H, W).

    Raises
    ------
    TypeError
        If content isn't bytes.
    ValueError
        As `imread`.
    """
    if isinstance(content, np.ndarray) and content.dtype == np.uint8 and content.ndim == 1:
        content = content.tobytes()
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise TypeError(f"imfrombytes: content must be bytes, got {type(content).__name__}")
    return _decode("imfrombytes", bytes(content), f"<{len(content)} bytes>", flag, channel_order, backend)


def _checked(name, flag, order, backend):
    """The flag's name, and the back end."""
    backend = imread_backend if backend is None else backend
    if backend not in supported_backends:
        raise ValueError(f"{name}: backend must be one of {', '.join(supported_backends)}, got {backend!r}")
    if isinstance(flag, int) and not isinstance(flag, bool):
        named = _NAMES.get(flag)
        if named is None and backend == "cv2":
            return flag, backend
        flag = named or flag
    if flag not in imread_flags:
        raise ValueError(f"{name}: flag must be one of {', '.join(imread_flags)}, got {flag!r}")
    if order not in ("bgr", "rgb"):
        raise ValueError(f"{name}: channel_order must be 'bgr' or 'rgb', got {order!r}")
    if backend == "turbojpeg" and flag == "unchanged":
        raise ValueError(f"{name}: flag must be a color or grayscale one for turbojpeg, got 'unchanged'")
    return flag, backend


def _decode(name, content, file, flag, order, backend):
    flag, backend = _checked(name, flag, order, backend)
    if not content:
        raise InvalidValue(f"{name}: {file} is empty")
    wrong = damage(content)
    declared = _damage.size(content)
    beyond = declared and _damage.promise(*declared, len(content), get_max_pixels())
    if wrong:
        whole = None if beyond else _ends.completed(content)
        if whole is None:
            raise InvalidValue(f"{name}: {file} is damaged: {wrong}")
        content, lacked = whole
        warnings.warn(f"{name}: {file} lacks {lacked}; its pixels are all there", stacklevel=3)
    if beyond:
        raise InvalidValue(f"{name}: {file} is not read: {beyond}")
    _module_of(backend)  # an ImportError if it isn't there
    try:
        img = _DECODERS[backend](content, flag, order)
    except _TooLarge as error:
        raise InvalidValue(f"{name}: {file} is not read: {error}") from None
    except Exception as error:  # decoders raise whatever they like
        reason = str(getattr(error, "err", "") or error).strip().split("\n")[0]
        raise InvalidValue(f"{name}: {file} can't be decoded by {backend}: {reason or type(error).__name__}") from error
    if img is None or img.size == 0:
        raise InvalidValue(f"{name}: {file} is no image that {backend} can decode")
    return img


def _by_cv2(content, flag, order):
    if isinstance(flag, int):
        return _by_number(content, flag, order)
    if kind(content) == "tiff":
        return _by_tiff(content, flag, order, _plain_cv2, _plain_pillow)
    if kind(content) == "netpbm":
        return _netpbm.read(content, flag, order)
    return _plain_cv2(content, flag, order)


def _by_number(content, flag, order):
    """By a flag that only OpenCV has, so by OpenCV, unless it reads such a file wrong."""
    tiff = kind(content) == "tiff"
    if (tiff and not _tiff.opencv_reads(content)) or content[:2] == b"P7":
        raise ValueError(f"OpenCV reads it wrong with flag {flag}: give one by name, as 'unchanged'")
    img = _plain_cv2(_tiff.upright(content) if tiff else content, flag, order)
    if not tiff or img is None or flag < 0 or flag & cv2.IMREAD_IGNORE_ORIENTATION:
        return img
    return _turned(img, _tiff.orientation(content))


def _plain_cv2(content, flag, order):
    code = flag if isinstance(flag, int) else imread_flags[flag]
    if content[:4] == b"\x59\xa6\x6a\x95" and content[12:16] == b"\0\0\0\x08" and not any(content[24:32]):
        return _by_pillow(content, _NAMES.get(code, "unchanged"), order)  # gray Sun rasters: black by OpenCV
    img = cv2.imdecode(np.frombuffer(content, np.uint8), code)
    if img is not None and order == "rgb" and img.ndim == 3 and img.shape[2] in (3, 4):
        swap = cv2.COLOR_BGR2RGB if img.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        img = cv2.cvtColor(img, swap, img)
    return img


_TURNS = {  # EXIF orientation: how to turn the image upright
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x.swapaxes(0, 1)[::-1],
}


def _by_tiff(content, flag, order, *readers):
    """A TIFF's samples, or what the first of the readers makes of one whose samples can't be told apart."""
    plain, img = _tiff.upright(content), None
    if readers[0] is _plain_cv2 and _tiff.suits_opencv(content):
        img = _plain_cv2(plain, flag, order)
    if img is None:
        img = _tiff.read(content, flag, order)
    for reader in readers if img is None else ():
        with contextlib.suppress(Exception):  # of whatever kind; the next may read it
            img = reader(plain, flag, order)
        if img is not None:
            break
    if flag == "unchanged" or flag.endswith("ignore_orientation") or img is None:
        return img
    return _turned(img, _tiff.orientation(content))


def _turned(img, orientation):
    turn = _TURNS.get(orientation)
    return img if turn is None else np.ascontiguousarray(turn(img))


def _by_turbojpeg(content, flag, order):
    simplejpeg = _module_of("turbojpeg")
    if kind(content) != "jpeg":
        raise ValueError("it is no JPEG file")
    space = "GRAY" if flag.startswith("gray") else order.upper()
    if simplejpeg.decode_jpeg_header(content)[2] in ("CMYK", "YCCK"):  # libjpeg-turbo doesn't convert these
        return _by_cv2(content, flag, order)
    img = simplejpeg.decode_jpeg(content, space)
    img = img[:, :, 0] if space == "GRAY" else img
    return img if flag.endswith("ignore_orientation") else _turned(img, orientation(content))


_opening = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_opening._at_fork_reinit)  # type: ignore[attr-defined]


def _by_pillow(content, flag, order):
    if kind(content) == "tiff":
        return _by_tiff(content, flag, order, _plain_pillow, _plain_cv2)
    if kind(content) == "netpbm":
        return _netpbm.read(content, flag, order)
    return _plain_pillow(content, flag, order)


def _plain_pillow(content, flag, order):
    image = pillow("Image")
    with _opening:  # Pillow's own limit can't be set for one file
        limit, image.MAX_IMAGE_PIXELS = image.MAX_IMAGE_PIXELS, None
        try:
            picture = image.open(io.BytesIO(content))
        finally:
            image.MAX_IMAGE_PIXELS = limit
    _allowed(*picture.size, len(picture.getbands()), len(content))
    picture.load()
    deep = _damage.depth(content)
    if picture.mode == "I" and 8 < deep <= 16:  # 16 bits of a PNG, by an older Pillow
        picture = image.fromarray(np.array(picture).astype(np.uint16))
    if flag == "unchanged":
        if deep > 8 and "16" not in picture.mode and picture.mode not in ("I", "F"):
            raise ValueError(f"Pillow gives 8 of its {deep} bits; backend 'cv2' gives all")
        if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
            picture = picture.convert("RGB")
        array = np.array(picture)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        if order == "bgr" and array.ndim == 3 and array.shape[2] >= 3:
            array[:, :, :3] = array[:, :, 2::-1].copy()
        return array
    if not flag.endswith("ignore_orientation"):
        picture = pillow("ImageOps").exif_transpose(picture)
    if picture.mode in ("I", "F"):
        raise ValueError(f"its {np.array(picture).dtype} values have no form of 8 bits: read it with flag 'unchanged'")
    if picture.mode.startswith("I;16"):  # its 8 upper bits, as OpenCV takes them
        picture = image.fromarray((np.array(picture) >> 8).astype(np.uint8))
    if picture.mode in ("LA", "La", "PA"):  # on black, dark things would vanish where they are transparent
        rgba = picture.convert("RGBA")
        picture = image.new("RGB", rgba.size, (124, 117, 104))
        picture.paste(rgba, mask=rgba.split()[3])
    elif picture.mode != "RGB":
        picture = picture.convert("RGB")
    if flag.startswith("gray"):
        return np.array(picture.convert("L"))
    array = np.array(picture)
    return cv2.cvtColor(array, cv2.COLOR_RGB2BGR) if order == "bgr" else array


def _by_tifffile(content, flag, order):
    with _module_of("tifffile").TiffFile(io.BytesIO(content)) as file:
        pages = file.series[0]
        _allowed(-(-math.prod(pages.shape) // 4), 1, 1, len(content))  # of a stack all
        array = np.asarray(file.asarray())
        if "S" in pages.axes and array.shape == pages.shape:  # samples: planes of them come first in some files
            array = np.moveaxis(array, pages.axes.index("S"), -1)
        return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))


_DECODERS = {"cv2": _by_cv2, "turbojpeg": _by_turbojpeg, "pillow": _by_pillow, "tifffile": _by_tifffile}


# ---- writing ---------------------------------------------------------------------------------------------------------
@images("img")
def imwrite(
    img: ImageArray,
    file_path: str,
    params: list | None = None,
    auto_mkdir: bool | None = None,
    file_client_args: dict | None = None,
    *,
    backend_args: dict | None = None,
) -> bool:
    """Write an image; its parent folders too. A failed write leaves what was there.

    Parameters
    ----------
    img : array (H, W, C) or (H, W)
        BGR or BGRA for 3 or 4 channels. What the format can hold: uint8 for JPEG, BMP, WebP and GIF, uint8 and uint16
        for PNG, PNM and JPEG 2000, float32 for EXR, HDR and PFM, these and other numbers for TIFF, which with tifffile
        installed holds any number of channels and 64-bit integers. Other integers and floats are converted where every
        value stays the same.
    file_path : str or path
        A path or URL; its extension chooses the format.
    params : list, optional
        OpenCV's parameters, as for `cv2.imwrite`.
    auto_mkdir : bool, optional
        Accepted, deprecated: folders are always made.
    file_client_args, backend_args : dict, optional
        As for `imread`.

    Returns
    -------
    bool
        True.

    Raises
    ------
    TypeError
        If something is of a wrong kind.
    ValueError
        If img has no pixels, or the format is unknown (also a `cv2.error`) or can't hold its values; transparency in
        JPEG, for one, or fractions in PNG.
    OSError
        If the file can't be written.

    Examples
    --------
    >>> imwrite(np.zeros((4, 4, 3), np.uint8), "out/black.png")  # doctest: +SKIP
    True
    """
    name = "imwrite"
    if not isinstance(file_path, (str, os.PathLike)):
        raise TypeError(f"{name}: file_path must be a path, got {type(file_path).__name__}")
    path = os.fspath(file_path)
    if auto_mkdir is not None:
        warnings.warn(f"{name}: auto_mkdir is not needed, folders are always made", DeprecationWarning, stacklevel=3)
    options = _files.options(name, backend_args, file_client_args, 4)
    if img.ndim not in (2, 3) or img.size == 0:
        raise ValueError(f"{name}: img must have shape (H, W) or (H, W, C) and pixels, got {tuple(img.shape)}")
    _files.write(name, path, _encode(name, img, path, params), options)
    return True


_BYTES, _DEEP, _REAL = ("uint8",), ("uint8", "uint16"), ("float32",)
_HELD: dict[str, tuple[str, ...]] = {  # by extension: the dtypes that a file holds as they are
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".bmp", ".dib", ".webp", ".gif", ".sr", ".ras", ".pbm"), _BYTES),
    **dict.fromkeys((".png", ".apng", ".pgm", ".ppm", ".pnm", ".pam", ".jp2", ".avif"), _DEEP),
    **dict.fromkeys((".exr", ".hdr", ".pic", ".pfm"), _REAL),
    **dict.fromkeys((".tif", ".tiff"), ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")),
}
_NO_ALPHA = (".jpg", ".jpeg", ".jpe", ".sr", ".ras", ".jp2")


def _held(name, img, extension):
    """The image in a dtype that the format holds, converted if that changes no value.

    bool, uint16 and float16 are not: their scales are 0 to 1 or 65535, and the same numbers would be another picture.
    """

    shape, dtype = img.shape, img.dtype

    def refused(why, advice):
        return ValueError(
            f"{name}: img of shape {shape} and dtype {dtype} can't be written as {extension}, which holds {why}: "
            f"{advice}"
        )

    kinds = _HELD.get(extension, _BYTES)
    if extension == ".pbm":
        if img.dtype == bool:
            return img.astype(np.uint8) * 255
        if not np.isin(img, (0, 255)).all():
            raise refused("black and white alone", "give bool, or 0 and 255 in uint8")
    if img.dtype.name not in kinds:
        possible = kinds if img.dtype.kind in "iuf" and img.dtype.name not in ("uint8", "uint16") else ()
        if img.dtype.name in _DEEP and kinds == _REAL:
            possible = kinds
        for kind in possible:
            with np.errstate(invalid="ignore", over="ignore"):
                converted = img.astype(kind)
            if _same(converted, img):
                img = converted
                break
        else:
            advice = "multiply by 255 and give uint8" if img.dtype == bool else "round, scale or clip to one of these"
            raise refused(" and ".join(kinds) if len(kinds) < 3 else ", ".join(kinds), advice)
    if extension in (".hdr", ".pic") and not (np.isfinite(img).all() and img.min() >= 0):
        raise refused("finite numbers from 0", "clip them")
    if extension in _NO_ALPHA and img.ndim == 3 and img.shape[2] == 4:
        if (img[..., 3] != np.iinfo(img.dtype).max).any():
            raise refused("no alpha", "give its first three channels, or write PNG")
        img = np.ascontiguousarray(img[..., :3])
    return img


def _same(a, b):
    """Whether two arrays hold the same numbers, exactly: NumPy compares int64 with floats in floats."""
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        return b.min() >= np.iinfo(a.dtype).min and b.max() <= np.iinfo(a.dtype).max
    if a.dtype.kind == "f" and b.dtype.kind in "iu":
        with np.errstate(invalid="ignore"):
            return bool((np.abs(a) < 2.0**63).all() and (a.astype(b.dtype) == b).all())
    return bool(((a == b) | ((a != a) & (b != b))).all())


def _encode(name, img, path, params):
    extension = os.path.splitext(path.split("?")[0] if _files.is_url(path) else path)[1].lower()
    tiff = extension in (".tif", ".tiff")
    if tiff and img.dtype.kind in "iuf" and _bands(img):
        buffer = io.BytesIO()
        _module_of("tifffile").imwrite(
            buffer, img, photometric="minisblack", planarconfig="contig" if img.ndim == 3 else None
        )
        return buffer.getvalue()
    if not extension or not cv2.haveImageWriter(f"x{extension}"):
        raise UnknownFormat(f"{name}: file_path must end in an extension that OpenCV writes, got {path!r}")
    what = f"img of shape {img.shape} and dtype {img.dtype}"
    img = _held(name, img, extension)
    if extension == ".pam" and img.ndim == 3 and img.shape[2] in (3, 4):  # OpenCV takes its red for blue
        img = cv2.cvtColor(img, cv2.COLOR_BGR2RGB if img.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    if tiff and img.dtype.kind == "f" and not params:
        params = [cv2.IMWRITE_TIFF_COMPRESSION, 5]  # LZW: some OpenCVs would store floats as logarithms, with losses
    try:
        done, content = cv2.imencode(extension, img, params or [])
    except cv2.error as error:
        reason = str(getattr(error, "err", "") or error).strip().split("\n")[0]
        raise ValueError(f"{name}: {what} can't be written as {extension}: {reason}") from None
    if not done:
        raise ValueError(f"{name}: {what} can't be written as {extension}")
    return content.tobytes()


def _bands(img):
    """Whether an image has numbers of channels, or integers of 64 bits, that only tifffile writes."""
    return img.dtype.name in ("int64", "uint64") or (img.ndim == 3 and (img.shape[2] == 2 or img.shape[2] > 4))
