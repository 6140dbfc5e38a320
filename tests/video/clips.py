"""Videos for tests, made with ffmpeg of frames that carry their number."""

import subprocess

import numpy as np

from arrayvision.video.processing import ffmpeg

W, H = 160, 96
CLIPS = {  # name: (frames, frames a second, ffmpeg's options)
    "b_frames.mp4": (120, 25, ["-c:v", "libx264", "-bf", "3", "-g", "40", "-pix_fmt", "yuv420p"]),
    "b_frames.avi": (120, 25, ["-c:v", "mpeg4", "-bf", "2", "-g", "50", "-q:v", "3"]),
    "intra.avi": (60, 30, ["-c:v", "mjpeg", "-q:v", "3"]),
    "late.mp4": (100, 25, ["-c:v", "libx264", "-vf", "setpts=PTS+2/TB", "-pix_fmt", "yuv420p"]),
    "uneven.mkv": (
        120,
        25,
        ["-c:v", "libx264", "-vf", "select='not(eq(mod(n,7),3))'", "-fps_mode", "vfr", "-pix_fmt", "yuv420p"],
    ),
    "vp8.webm": (60, 15, ["-c:v", "libvpx", "-b:v", "400k"]),
    "stream.ts": (60, 25, ["-c:v", "libx264", "-bf", "2", "-pix_fmt", "yuv420p"]),
}


def frame(number):
    """A picture with its number in 8 bars, and things that move."""
    img = np.full((H, W, 3), 90, np.uint8)
    for bit in range(8):
        img[8:40, 8 + 18 * bit : 24 + 18 * bit] = 255 if number >> bit & 1 else 0
    x = number * 3 % (W - 20)
    img[50:70, x : x + 20] = (30, 200, 240)
    return img


def number(img):
    """The number that a frame carries."""
    return sum(int(img[14:34, 12 + 18 * bit : 20 + 18 * bit].mean() > 127) << bit for bit in range(8))


def make(folder, name):
    """Write the clip of that name; returns its path."""
    count, rate, options = CLIPS[name]
    path = str(folder / name)
    raw = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{W}x{H}", "-r", str(rate), "-i", "-"]
    subprocess.run(
        [ffmpeg(), "-y", "-loglevel", "error", *raw, *options, path],
        input=b"".join(frame(i).tobytes() for i in range(count)),
        check=True,
    )
    return path


def numbers(name):
    """The frames' numbers of the clip of that name, in order."""
    count = CLIPS[name][0]
    return [i for i in range(count) if name != "uneven.mkv" or i % 7 != 3]
