"""Image functions beside the plain OpenCV and NumPy formulation, 1080p uint8.

`CASES` lists (name, factory of our call, {peer: factory of its call}, least ratio wanted against the first peer).
"""

from __future__ import annotations

import os
import tempfile

import cv2
import numpy as np

import arrayvision
from arrayvision import image
from arrayvision.bench.measure import Case

H, W = 1080, 1920
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def picture(h=H, w=W):
    """Smooth gradients with noise, as a photograph compresses."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:h, :w]
    waves = np.stack([np.sin(x / 97 + c) + np.cos(y / 61 - c) for c in range(3)], axis=-1)
    return np.clip(waves * 55 + 128 + rng.normal(0, 6, (h, w, 3)), 0, 255).astype(np.uint8)


IMG = picture()


# ---- the plain formulations ------------------------------------------------------------------------------------------
def plain_normalize():
    mean, scale = MEAN.reshape(1, -1), 1 / STD.reshape(1, -1)

    def call():
        img = IMG.astype(np.float32)
        cv2.cvtColor(img, cv2.COLOR_BGR2RGB, img)
        cv2.subtract(img, mean, img)
        cv2.multiply(img, scale, img)
        return img

    return call


def plain_denormalize():
    img, mean, std = image.imnormalize(IMG, MEAN, STD), MEAN.reshape(1, -1), STD.reshape(1, -1)

    def call():
        out = cv2.multiply(img, std)
        cv2.add(out, mean, out)
        return cv2.cvtColor(out, cv2.COLOR_RGB2BGR, out)

    return call


def ours_denormalize():
    img = image.imnormalize(IMG, MEAN, STD)
    return lambda: image.imdenormalize(img, MEAN, STD)


def plain_color():
    def call():
        gray = cv2.cvtColor(cv2.cvtColor(IMG, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        return cv2.addWeighted(IMG, 0.7, gray, 0.3, 5)

    return call


def plain_color_tiled():
    """As it is often written: the gray image repeated by NumPy."""

    def call():
        gray = np.tile(cv2.cvtColor(IMG, cv2.COLOR_BGR2GRAY)[..., None], [1, 1, 3])
        return cv2.addWeighted(IMG, 0.7, gray, 0.3, 5)

    return call


def plain_contrast():
    def call():
        mean = round(cv2.mean(cv2.cvtColor(IMG, cv2.COLOR_BGR2GRAY))[0])
        flat = np.full_like(IMG, mean)
        blended = cv2.addWeighted(IMG.astype(np.float32), 1.3, flat.astype(np.float32), -0.3, 0)
        return np.clip(blended, 0, 255).astype(np.uint8)

    return call


def plain_contrast_bytes():
    def call():
        mean = round(cv2.mean(cv2.cvtColor(IMG, cv2.COLOR_BGR2GRAY))[0])
        return cv2.convertScaleAbs(IMG, alpha=1.3, beta=mean * -0.3)

    return call


def _counts(channel):
    return cv2.calcHist([IMG], [channel], None, [256], [0, 256]).ravel().astype(np.int64)


def plain_auto_contrast():
    levels = np.arange(256)

    def call():
        tables = []
        for c in range(3):
            low, high = np.flatnonzero(_counts(c))[[0, -1]]
            tables.append(np.clip((levels - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8))
        return cv2.LUT(IMG, np.stack(tables, axis=-1).reshape(1, 256, 3))

    return call


def plain_equalize():
    def call():
        tables = []
        for c in range(3):
            counts = _counts(c)
            step = (counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
            before = np.concatenate([[0], np.cumsum(counts)[:-1]])
            tables.append(np.minimum((before + step // 2) // step, 255).astype(np.uint8))
        return cv2.LUT(IMG, np.stack(tables, axis=-1).reshape(1, 256, 3))

    return call


LUT_SOLARIZE = np.where(np.arange(256) < 128, np.arange(256), 255 - np.arange(256)).astype(np.uint8)
LUT_POSTERIZE = (np.arange(256) & 0xE0).astype(np.uint8)
LUT_ANY = np.random.default_rng(1).integers(0, 256, 256, dtype=np.uint8)


def _jpeg():
    path = os.path.join(tempfile.gettempdir(), "arrayvision-bench.jpg")
    cv2.imwrite(path, IMG, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return path


def _fixed(call):
    return lambda: call


CASES = [
    ("imnormalize", _fixed(lambda: image.imnormalize(IMG, MEAN, STD)), {"opencv": plain_normalize}, 6),
    ("imdenormalize", ours_denormalize, {"opencv": plain_denormalize}, 2),
    (
        "adjust_color",
        _fixed(lambda: image.adjust_color(IMG, 0.7, 0.3, 5)),
        {"opencv": plain_color, "opencv and np.tile": plain_color_tiled},
        2,
    ),
    (
        "adjust_contrast",
        _fixed(lambda: image.adjust_contrast(IMG, 1.3)),
        {"opencv": plain_contrast, "opencv, bytes": plain_contrast_bytes},
        2,
    ),
    ("auto_contrast", _fixed(lambda: image.auto_contrast(IMG)), {"opencv": plain_auto_contrast}, 1),
    ("imequalize", _fixed(lambda: image.imequalize(IMG)), {"opencv": plain_equalize}, 1),
    ("posterize", _fixed(lambda: image.posterize(IMG, 3)), {"opencv": _fixed(lambda: cv2.LUT(IMG, LUT_POSTERIZE))}, 1),
    ("solarize", _fixed(lambda: image.solarize(IMG)), {"opencv": _fixed(lambda: cv2.LUT(IMG, LUT_SOLARIZE))}, 1),
    (
        "lut_transform",
        _fixed(lambda: image.lut_transform(IMG, LUT_ANY)),
        {"opencv": _fixed(lambda: cv2.LUT(IMG, LUT_ANY))},
        1,
    ),
    (
        "imread, turbojpeg",
        lambda: (lambda path: lambda: image.imread(path, backend="turbojpeg"))(_jpeg()),
        {"opencv": lambda: (lambda path: lambda: cv2.imread(path))(_jpeg())},
        1.8,
    ),
]


def as_cases(listed):
    """Cases of a list like CASES; what is wanted counts against the first peer."""
    cv2.setNumThreads(arrayvision.get_num_threads())
    for name, ours, peers, wanted in listed:
        for peer, theirs in peers.items():
            first = peer == next(iter(peers))
            title = f"{name}, 1080p" if first else f"{name}, 1080p, against {peer}"
            yield Case(title, ours(), {peer: theirs()}, wanted if first else None)


def cases():
    """All cases."""
    yield from as_cases(CASES)
