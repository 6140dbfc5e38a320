"""Video and optical flow beside bare OpenCV and NumPy, 1080p, 2 threads each.

`CASES` is as in `image.py`.
"""

from __future__ import annotations

import os
import subprocess
import tempfile

import cv2
import numpy as np

from arrayvision import arraymisc, video, visualization
from arrayvision.bench.image import IMG, H, W, as_cases
from arrayvision.bench.measure import peer
from arrayvision.video.processing import ffmpeg


def motion():
    """Smooth flow of up to 30 pixels."""
    y, x = np.mgrid[:H, :W].astype(np.float32)
    return np.stack([30 * np.sin(y / 170), 20 * np.cos(x / 230)], axis=-1).astype(np.float32)


FLOW = motion()


# ---- the plain formulations ------------------------------------------------------------------------------------------
def opencv_warp(code):
    """cv2.remap, what points out of the image filled in."""

    def call():
        x, y = np.meshgrid(np.arange(W, dtype=np.float32), np.arange(H, dtype=np.float32))
        return cv2.remap(IMG, x + FLOW[..., 0], y + FLOW[..., 1], code, borderMode=cv2.BORDER_CONSTANT)

    return lambda: call


def numpy_warp():
    grid = np.indices((H, W))

    def call():
        y, x = grid[0] + FLOW[..., 1], grid[1] + FLOW[..., 0]
        out = np.zeros_like(IMG)
        valid = (x >= 0) & (x < W - 1) & (y >= 0) & (y < H - 1)
        x, y = x[valid], y[valid]
        j, i = np.floor(x).astype(int), np.floor(y).astype(int)
        fx, fy = (x - j)[:, None], (y - i)[:, None]
        out[valid] = np.rint(
            IMG[i, j] * (1 - fx) * (1 - fy)
            + IMG[i, j + 1] * fx * (1 - fy)
            + IMG[i + 1, j] * (1 - fx) * fy
            + IMG[i + 1, j + 1] * fx * fy
        )
        return out

    return call


def opencv_quantize():
    """Two channels normalized, shifted, scaled and saturated by OpenCV."""

    def call():
        parts = []
        for c, size in ((0, W), (1, H)):
            d = cv2.multiply(cv2.extractChannel(FLOW, c), 1 / size)
            d = cv2.max(cv2.min(d, 0.02), -0.02)
            parts.append(np.minimum(np.floor(cv2.multiply(cv2.add(d, 0.02), 255 / 0.04)), 254).astype(np.uint8))
        return parts

    return call


def plain_quantize():
    def call():
        return [arraymisc.quantize(FLOW[..., c] / size, -0.02, 0.02, 255, np.uint8) for c, size in ((0, W), (1, H))]

    return call


def opencv_colors():
    """Angles and lengths by cv2.cartToPolar, the same wheel by NumPy."""
    wheel = visualization.make_color_wheel()

    def call():
        length, angle = cv2.cartToPolar(-FLOW[..., 0], -FLOW[..., 1])
        length = (length / length.max())[..., None]
        at = ((angle / np.pi + 1) % 2) * np.float32(0.5 * (len(wheel) - 1))
        low = at.astype(np.int32)
        part = (at - low)[..., None]
        color = wheel[low] * (1 - part) + wheel[(low + 1) % len(wheel)] * part
        return 1 - length * (1 - color)

    return call


def opencv_hsv():
    """The cheapest picture of flow that OpenCV makes, in other colors: hue and saturation in HSV."""

    def call():
        length, angle = cv2.cartToPolar(FLOW[..., 0], FLOW[..., 1], angleInDegrees=True)
        saturation = length * np.float32(1 / length.max())
        hsv = cv2.merge([angle, saturation, np.ones_like(angle)])
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)

    return call


# ---- reading ---------------------------------------------------------------------------------------------------------
def _clip(name, seconds, *options):
    path = os.path.join(tempfile.gettempdir(), f"arrayvision-bench-{name}.mp4")
    if not os.path.exists(path):
        source = ["-f", "lavfi", "-i", f"testsrc2=size={W}x{H}:rate=25:duration={seconds}"]
        coding = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", *options]
        subprocess.run([ffmpeg(), "-y", "-loglevel", "error", *source, *coding, path], check=True)
    return path


def _long():
    """One to be read in order."""
    return _clip("order", 2)


def _keyed():
    """One with a key frame a second, and numbers of frames to jump to."""
    return _clip("jumps", 8, "-g", "25"), np.random.default_rng(0).integers(0, 200, 8).tolist()


def read_ours():
    path = _long()
    return lambda: sum(1 for _ in video.VideoReader(path))


def read_opencv():
    path = _long()

    def call():
        capture, count = cv2.VideoCapture(path, cv2.CAP_FFMPEG), 0
        while capture.read()[0]:
            count += 1
        return count

    return call


def read_decord():
    path, decord = _long(), peer("decord")

    def call():
        reader = decord.VideoReader(path, num_threads=2)
        return sum(reader[i].asnumpy() is not None for i in range(len(reader)))

    return call


def jump_ours():
    path, numbers = _keyed()

    def call():
        reader = video.VideoReader(path)
        return [reader[i] for i in numbers]

    return call


def jump_opencv():
    path, numbers = _keyed()

    def call():
        capture, frames = cv2.VideoCapture(path, cv2.CAP_FFMPEG), []
        for i in numbers:
            capture.set(cv2.CAP_PROP_POS_FRAMES, i)
            frames.append(capture.read()[1])
        return frames

    return call


def jump_decord():
    path, numbers = _keyed()
    decord = peer("decord")

    def call():
        reader = decord.VideoReader(path, num_threads=2)
        return [reader[i].asnumpy() for i in numbers]

    return call


def open_ours():
    path, _ = _keyed()
    return lambda: video.VideoReader(path).resolution


def open_opencv():
    path, _ = _keyed()
    return lambda: cv2.VideoCapture(path, cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_WIDTH)


def _with_decord(peers, theirs):
    return peers | ({"decord": theirs} if peer("decord") else {})


CASES = [
    (
        "flow_warp, bilinear",
        lambda: lambda: video.flow_warp(IMG, FLOW, interpolate_mode="bilinear"),
        {"opencv": opencv_warp(cv2.INTER_LINEAR), "numpy": numpy_warp},
        1,
    ),
    (
        "flow_warp, nearest",
        lambda: lambda: video.flow_warp(IMG, FLOW),
        {"opencv": opencv_warp(cv2.INTER_NEAREST)},
        1,
    ),
    (
        "quantize_flow",
        lambda: lambda: video.quantize_flow(FLOW),
        {"opencv": opencv_quantize, "numpy": plain_quantize},
        2,
    ),
    (
        "flow2rgb",
        lambda: lambda: visualization.flow2rgb(FLOW),
        {"opencv": opencv_colors, "opencv, hsv": opencv_hsv},
        2,
    ),
    ("VideoReader, in order", read_ours, _with_decord({"opencv": read_opencv}, read_decord), 0.95),
    ("VideoReader, jumps", jump_ours, _with_decord({"opencv": jump_opencv}, jump_decord), 0.95),
    ("VideoReader, opening", open_ours, {"opencv": open_opencv}, 0.8),
]


def cases():
    """All cases."""
    yield from as_cases(CASES)
