"""Netpbm files (PBM, PGM, PPM, PAM, PFM), read as they are stored.

OpenCV gives PAM's red for blue, zeros for its alpha, and a PGM of 0 to 100 as it is where a picture of 8 bits is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np

_HEAD = re.compile(rb"P([1-6Ff])(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)")
_NEXT = re.compile(rb"(?:\s|#[^\n]*\n)+([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s")


@dataclass
class Header:
    """What a file says before its pixels."""

    form: str  # "1" to "7", "F" or "f"
    width: int
    height: int
    channels: int
    most: float  # the value of full light; of PFM the scale, negative for little-endian
    start: int  # of the pixels


def header(content: bytes) -> Header:
    """Raises ValueError if it is none."""
    if content[:2] == b"P7":
        stop = content.find(b"ENDHDR\n", 0, 1 << 16) + 7
        if stop < 7:
            raise ValueError("its header has no ENDHDR")
        lines = (line.split(None, 1) for line in content[2:stop].split(b"\n") if not line.startswith(b"#"))
        values = {line[0]: line[1] for line in lines if len(line) == 2}
        try:
            width, height, channels, most = (int(values[key]) for key in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
        except KeyError as error:
            raise ValueError(f"its header has no {error.args[0].decode()}") from None
        return Header("7", width, height, channels, most, stop)
    match = _HEAD.match(content)
    if match is None:
        raise ValueError("its header is none of Netpbm's")
    form, width, height = match[1].decode(), int(match[2]), int(match[3])
    if form in "14":
        return Header(form, width, height, 1, 1, match.end() + 1)
    last = _NEXT.match(content, match.end())
    if last is None:
        raise ValueError("its header has no greatest value")
    return Header(form, width, height, 3 if form in "36F" else 1, float(last[1]), last.end())


def read(content: bytes, flag: str, order: str) -> np.ndarray:
    """The image as `imread` gives it.

    Raises
    ------
    ValueError
        If it is damaged, or has no picture of 8 bits to give.
    """
    head = header(content)
    if head.form in "Ff":
        if flag != "unchanged":
            raise ValueError("its float32 values have no form of 8 bits: read it with flag 'unchanged'")
        img = _floats(content, head)
    else:
        if not 0 < head.most < 65536 or head.most != int(head.most):
            raise ValueError(f"its greatest value is {head.most:g}, not 1 to 65535")
        if flag != "unchanged" and head.channels > 4:
            raise ValueError(f"its {head.channels} channels are no color picture: read it with flag 'unchanged'")
        img = _whole(content, head)
        if flag != "unchanged":
            return _picture(img, head, flag, order)
    if order == "bgr" and head.channels in (3, 4):
        img[..., :3] = img[..., 2::-1].copy()
    return img[..., 0] if head.channels == 1 else img


def _picture(img, head, flag, order):
    """In 8 bits, without alpha."""
    if head.most == 65535:
        img = (img >> 8).astype(np.uint8)  # as of PNG
    elif head.most != 255:
        most = np.uint32(head.most)
        img = ((img.astype(np.uint32) * 255 + most // 2) // most).astype(np.uint8)
    img = np.ascontiguousarray(img[..., : 3 if head.channels > 2 else 1])
    if flag.startswith("gray"):
        return cv2.cvtColor(img, cv2.COLOR_RGB2GRAY) if img.shape[2] == 3 else img[..., 0]
    if img.shape[2] == 1:
        return np.repeat(img, 3, axis=2)
    return cv2.cvtColor(img, cv2.COLOR_RGB2BGR) if order == "bgr" else img


def _floats(content, head):
    pixels = np.frombuffer(content[head.start :], ">f4" if head.most > 0 else "<f4")
    return _shaped(pixels, head)[::-1].astype(np.float32)  # from the bottom line up


def _whole(content, head):
    rest = content[head.start :]
    if head.form == "1":  # digits need no space between them
        digits = np.frombuffer(re.sub(rb"#[^\n]*|\s", b"", rest), np.uint8)
        return (_shaped(digits, head) == ord("0")).astype(np.uint8) * 255
    if head.form == "4":
        line = -(-head.width // 8)
        need = line * head.height
        bits = np.frombuffer(rest[:need].ljust(need, b"\0"), np.uint8).reshape(head.height, line)
        if len(rest) < need:
            raise ValueError("it is cut off")
        return (1 - np.unpackbits(bits, axis=1, count=head.width))[..., None] * np.uint8(255)
    kind = np.dtype(np.uint8 if head.most < 256 else np.uint16)
    if head.form in "23":
        try:
            pixels = np.array(re.sub(rb"#[^\n]*", b"", rest).split(), dtype=np.int64)
        except (ValueError, OverflowError):
            raise ValueError("its pixels are no numbers") from None
    else:
        pixels = np.frombuffer(rest[: len(rest) // kind.itemsize * kind.itemsize], kind.newbyteorder(">"))
    img = _shaped(pixels, head)
    if img.size and (img.max() > head.most or img.min() < 0):
        raise ValueError(f"a value of it is beyond {head.most:g}")
    return img.astype(kind)


def _shaped(pixels, head):
    need = head.width * head.height * head.channels
    if len(pixels) < need:
        raise ValueError("it is cut off")
    return pixels[:need].reshape(head.height, head.width, head.channels)
