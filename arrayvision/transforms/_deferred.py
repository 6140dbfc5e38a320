"""Images whose processing waits until it can be done in one pass.

`Resize`, `RandomFlip`, `Normalize`, `Pad` and `ImageToTensor` in a row read and write an image five times. In a `Compose`
whose steps are such a row (the first two may be missing), they find a `Deferred` in the place of an 8-bit color image:
they say what is to be done, and the last has it done. Results are the same, to the bit.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

_ROW = ("resize", "flip", "normalize", "pad", "tensor")  # what the classes' `_part` says


def _place(step: Any) -> int | None:
    """Where in a row a step belongs; None if nowhere: a subclass, or a step with another `transform`, may do anything."""
    part = vars(type(step)).get("_part")
    if part is None or not step._deferrable():
        return None
    if "transform" in vars(step) and "_random_params" not in vars(step):  # those that share parameters call their own
        return None
    return _ROW.index(part)


def defer(results: Any, steps: Sequence, i: int) -> None:
    """Put a `Deferred` in the place of the image if a row begins at step i."""
    if "_part" not in vars(type(steps[i])) or not isinstance(results, dict):
        return
    img = results.get("img")
    if type(img) is not np.ndarray or img.dtype != np.uint8 or img.ndim != 3 or img.shape[2] != 3 or img.size == 0:
        return
    row: list[int] = []
    for step in steps[i : i + len(_ROW)]:
        place = _place(step)
        if place is None or (row and place <= row[-1]):
            break
        row.append(place)
    if row[-3:] == [2, 3, 4]:
        results["img"] = Deferred(img)


def settle(results: Any) -> None:
    """Put an array back in the place of a `Deferred`: the row came to an early end."""
    if isinstance(results, dict) and isinstance(results.get("img"), Deferred):
        results["img"] = results["img"].array()


class Deferred:
    """A color image (H, W, 3) of bytes, and what is to be done with it, in the order of these methods."""

    ndim = 3

    def __init__(self, img: np.ndarray):
        self._img = img
        self._size = img.shape[1::-1]
        self._direction: str | None = None
        self._statistics: tuple | None = None
        self._border: tuple | None = None  # (shape, value)

    @property
    def shape(self) -> tuple[int, int, int]:
        """What it will be."""
        h, w = self._size[::-1] if self._border is None else self._border[0]
        return h, w, 3

    def resize(self, scale: Any, keep_ratio: bool) -> Deferred:
        """Bilinearly, to `scale` (w, h), or within it."""
        from arrayvision.image import geometric

        old = self._size
        size = geometric.rescale_size(old, scale) if keep_ratio else geometric._pair("imresize", "size", scale)
        halved = 2 * size[0] == old[0] and 2 * size[1] == old[1]  # which OpenCV takes means for
        if size != old and (halved or min(old) < 2 or not _as_opencv()):
            self._img = np.asarray(geometric.imresize(self._img, size, backend="cv2"))
        self._size = size
        return self

    def flip(self, direction: str) -> Deferred:
        """Horizontally, vertically or both."""
        self._direction = direction
        return self

    def normalize(self, mean: np.ndarray, std: np.ndarray, swap: bool) -> None:
        """As `imnormalize`."""
        self._statistics = mean, std, swap

    def pad(self, shape: tuple[int, int], value: float) -> Deferred:
        """On the right and at the bottom, to (h, w)."""
        self._border = tuple(shape[:2]), value
        return self

    def array(self) -> np.ndarray:
        """All that was said so far, step by step."""
        from arrayvision import image

        img: Any = self._img
        if self._size != img.shape[1::-1]:
            img = image.imresize(img, self._size, backend="cv2")
        if self._direction is not None:
            img = image.imflip(img, self._direction)
        if self._statistics is not None:
            img = image.imnormalize(img, *self._statistics)
        if self._border is not None:
            img = image.impad(img, shape=self._border[0], pad_val=self._border[1])
        return img

    def planes(self) -> np.ndarray:
        """All of it in one pass, as (3, H, W) float32."""
        from arrayvision import image
        from arrayvision.image._array import packed, read_only
        from arrayvision.image.photometric import shift_and_scale

        mean, std, swap = self._statistics  # type: ignore[misc]
        mean, scale = shift_and_scale(np.asarray(mean, np.float64), np.asarray(std, np.float64))
        (w, h), (height, width, _) = self._size, self.shape
        out = np.empty((3, height, width), np.float32)
        if self._border is not None:
            out[:, h:] = self._border[1]
            out[:, :h, w:] = self._border[1]
        if (w, h) != self._img.shape[1::-1]:
            _resize_to_planes(packed(self._img), (w, h), self._direction, mean, scale, swap, out)
            return out
        img = packed(self._img if self._direction is None else image.imflip(self._img, self._direction))
        _run("normalize_planes", h, 0.5 * w, read_only(img.reshape(h, 3 * w)), mean, scale, swap, out)
        return out


def _run(name, rows, cost, *args):
    from arrayvision.cpu import planes
    from arrayvision.cpu.threads import parallel_for

    parallel_for(getattr(planes, name), rows, 32, *args, cost=cost)


# ---- resizing as OpenCV does -----------------------------------------------------------------------------------------
@functools.lru_cache(256)
def _places(source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """(target, 2) int32: the two pixels (one twice at the ends) that each pixel of a line lies between, and their weights.

    Pixels' centers are at halves. Weights in 1 / 2048, rounded from float32, as in OpenCV's 8-bit bilinear resize.
    """
    at = ((np.arange(target) + 0.5) * (1 / (target / source)) - 0.5).astype(np.float32)
    first = np.floor(at)
    part = at - first
    places = np.clip(np.stack([first, first + 1], 1), 0, source - 1).astype(np.int32)
    weights = np.rint(np.stack([1 - part, part], 1) * np.float32(2048)).astype(np.int32)
    return places, weights


def _resize_to_planes(img, size, direction, mean, scale, swap, out):
    from arrayvision.image._array import read_only

    (h, w), (width, height) = img.shape[:2], size
    columns, across = _places(w, width)
    rows, down = _places(h, height)
    # A pair of columns is read from its first pixel on: at the ends it is moved inside, the other pixel having all weight.
    left = np.clip(columns[:, 0], 0, w - 2)
    ends = columns[:, 0] == columns[:, 1]
    across = np.where(ends[:, None], np.where(columns[:, :1] == left[:, None], [2048, 0], [0, 2048]), across)
    if direction in ("horizontal", "diagonal"):
        left, across = left[::-1], across[::-1]
    if direction in ("vertical", "diagonal"):
        rows, down = rows[::-1], down[::-1]
    lines = read_only(img.reshape(h, 3 * w))
    last = np.concatenate([lines[-1], np.zeros(2, np.uint8)])
    starts, first, second = np.ascontiguousarray([3 * left, across[:, 0], across[:, 1]], np.int32)
    tables = (starts, first, second, np.ascontiguousarray(rows), np.ascontiguousarray(down))
    tables = map(read_only, (last, *tables))
    _run("resize_to_planes", height, 1.2 * width, lines, *tables, mean, scale, swap, out)


@functools.cache
def _as_opencv() -> bool:
    """Whether this OpenCV resizes as we do: some builds for other processors round otherwise."""
    import cv2

    y, x, c = np.ogrid[:48, :70, :3]
    img = np.ascontiguousarray((x * x + 3 * y * y + x * y + 85 * c) % 251, dtype=np.uint8)
    zero, one = np.zeros(3, np.float32), np.ones(3, np.float32)
    for w, h in ((49, 33), (101, 75), (20, 90)):
        out = np.empty((3, h, w), np.float32)
        _resize_to_planes(img, (w, h), None, zero, one, False, out)
        if not np.array_equal(out.transpose(1, 2, 0), cv2.resize(img, (w, h), interpolation=cv2.INTER_LINEAR)):
            return False
    return True
