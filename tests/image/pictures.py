"""Pictures for tests, drawn here."""

import cv2
import numpy as np


def photo(h=60, w=80, seed=0):
    """Gradients, shapes and noise, (h, w, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w]
    img = np.stack([255 * x / w, 255 * y / h, 127 + 120 * np.sin((x + y) / 9)], axis=-1)
    img = np.clip(img + rng.normal(0, 4, img.shape), 0, 255).astype(np.uint8)
    cv2.circle(img, (w // 2, h // 2), min(h, w) // 4, (30, 200, 90), -1)
    cv2.rectangle(img, (w // 10, h // 10), (w // 4, h // 3), (220, 40, 180), -1)
    return img


def noise(h=60, w=80, c=3, seed=0):
    shape = (h, w, c) if c else (h, w)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def views(img):
    """The same picture's pixels in layouts that aren't contiguous: (name, view)."""
    h, w = img.shape[:2]
    big = np.zeros((h + 4, w + 6, *img.shape[2:]), img.dtype)
    big[2 : 2 + h, 3 : 3 + w] = img
    yield "cropped", big[2 : 2 + h, 3 : 3 + w]
    yield "flipped", np.ascontiguousarray(img[:, ::-1])[:, ::-1]
    yield "upside down", np.ascontiguousarray(img[::-1])[::-1]
    yield "turned", np.ascontiguousarray(img[::-1, ::-1])[::-1, ::-1]
    yield "transposed", np.ascontiguousarray(img.swapaxes(0, 1)).swapaxes(0, 1)
    yield "Fortran order", np.asfortranarray(img)
    if img.ndim == 3:
        yield "channels reversed", np.ascontiguousarray(img[..., ::-1])[..., ::-1]
    locked = img.copy()
    locked.flags.writeable = False
    yield "read-only", locked
