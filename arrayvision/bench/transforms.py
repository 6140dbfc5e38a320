"""A detection pipeline from a JPEG file to a tensor, against the same steps written with OpenCV.

LoadImageFromFile (1080p), Resize (1333x800, keep ratio), RandomFlip, Normalize, Pad(32), ImageToTensor. OpenCV: imdecode,
resize, flip, float32, cvtColor, subtract, multiply, copyMakeBorder, and torch's permute().contiguous(), as such code is
usually written; "with care" leaves the last copy to NumPy, which is faster at it.
"""

import os
import tempfile

import cv2
import numpy as np

import arrayvision
from arrayvision.bench.measure import Case, peer

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def picture(path):
    """A 1080p JPEG with smooth areas, edges and noise, about as large as a photograph."""
    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.integers(0, 256, (68, 120, 3), np.uint8), (1920, 1080), interpolation=cv2.INTER_CUBIC)
    img = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
    cv2.imwrite(path, img, [cv2.IMWRITE_JPEG_QUALITY, 90])


def by_opencv(path, flip, care=False):
    """The steps with OpenCV."""
    import torch

    with open(path, "rb") as file:
        img = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
    img = cv2.resize(img, (1333, 750), interpolation=cv2.INTER_LINEAR)
    if flip:
        img = cv2.flip(img, 1)
    img = img.astype(np.float32)
    cv2.cvtColor(img, cv2.COLOR_BGR2RGB, img)
    cv2.subtract(img, np.array(MEAN).reshape(1, -1), img)
    cv2.multiply(img, 1 / np.array(STD).reshape(1, -1), img)
    img = cv2.copyMakeBorder(img, 0, 18, 0, 11, cv2.BORDER_CONSTANT, value=0)
    if care:
        return torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1)))
    return torch.from_numpy(img).permute(2, 0, 1).contiguous()


def pipeline(decoder, flip):
    """The steps of this package."""
    from arrayvision.transforms import Compose

    return Compose(
        [
            {"type": "LoadImageFromFile", "imdecode_backend": decoder},
            {"type": "Resize", "scale": (1333, 800), "keep_ratio": True},
            {"type": "RandomFlip", "prob": float(flip)},
            {"type": "Normalize", "mean": MEAN, "std": STD},
            {"type": "Pad", "size_divisor": 32},
            {"type": "ImageToTensor", "keys": ["img"]},
        ]
    )


def cases():
    """All cases, with one thread and with two; nothing without torch."""
    torch = peer("torch")
    if torch is None:
        return
    threads = arrayvision.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "picture.jpg")
        picture(path)
        for count in (1, 2):
            for module in (torch, arrayvision):
                module.set_num_threads(count)
            cv2.setNumThreads(count)
            for decoder, wanted, off in (("cv2", 1.5, 1e-4), ("turbojpeg", 2, 0.1)):
                steps = pipeline(decoder, True)
                yield Case(
                    f"pipeline of a 1080p JPEG, {decoder}, {count} thread{'s' * (count > 1)}",
                    lambda steps=steps: steps({"img_path": path})["img"],
                    {"OpenCV": lambda: by_opencv(path, True), "OpenCV, with care": lambda: by_opencv(path, True, True)},
                    wanted,
                    agree=lambda a, b, off=off: float((a - b).abs().max()) <= off,
                )
    for module in (torch, arrayvision):
        module.set_num_threads(threads)
    cv2.setNumThreads(threads)
