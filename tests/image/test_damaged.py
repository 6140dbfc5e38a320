"""Thousands of damaged files: each is an error that names the file, or an image; in bounded time and memory."""

import io
import os
import pathlib
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from arrayvision import image, video
from tests.image.pictures import photo

BACKENDS = ("cv2", "turbojpeg", "pillow", "tifffile")


def sound():
    """Files of each format, by extension."""
    img = photo(120, 160)
    files = {
        "a.jpg": cv2.imencode(".jpg", img)[1].tobytes(),
        "b.jpg": cv2.imencode(".jpg", img, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
        "c.png": cv2.imencode(".png", img[:60, :80])[1].tobytes(),
        "d.png": cv2.imencode(".png", img[:60, :80].astype(np.uint16) * 255)[1].tobytes(),
        "g.webp": cv2.imencode(".webp", img)[1].tobytes(),
        "h.bmp": cv2.imencode(".bmp", img[:40, :50])[1].tobytes(),
    }
    for name, options in (("e.tif", {}), ("f.tif", {"compression": "zlib"})):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, img[:60, :80], photometric="rgb", rowsperstrip=16, **options)
        files[name] = buffer.getvalue()
    buffer = io.BytesIO()
    Image.fromarray(img).save(buffer, "GIF")
    files["i.gif"] = buffer.getvalue()
    flow = np.random.default_rng(0).normal(size=(40, 50, 2)).astype(np.float32)
    files["j.flo"] = b"PIEH" + np.array([50, 40], "<i4").tobytes() + flow.tobytes()
    return files


def damaged(content, seed, flips):
    """Cut at every 100th byte; and copies with random bytes changed."""
    for at in range(0, len(content), 100):
        yield "cut", content[:at]
    rng = np.random.default_rng(seed)
    for _ in range(flips):
        copy = np.frombuffer(content, np.uint8).copy()
        where = rng.integers(0, len(copy) if rng.random() < 0.5 else min(200, len(copy)), rng.integers(1, 9))
        copy[where] = rng.integers(0, 256, len(where))
        yield "flipped", copy.tobytes()


def read(path, backend):
    if path.suffix == ".flo":
        return video.flowread(str(path))
    return image.imread(path, backend=backend)


def run(folder, seed, flips, limit):
    """Read damaged files one after another; returns how many, and how many were refused."""
    count = refused = 0
    for name, content in sound().items():
        backends = ("cv2",) if name.endswith(".flo") else BACKENDS
        for i, (how, bad) in enumerate(damaged(content, seed, flips)):
            path = pathlib.Path(folder) / f"bad-{name}"
            path.write_bytes(bad)
            for backend in backends if i % 7 == 0 else backends[i % len(backends) :][:1]:
                count += 1
                start = time.perf_counter()
                try:
                    got = read(path, backend)
                except (ValueError, OSError) as error:
                    assert path.name in str(error), (name, how, i, error)
                    refused += 1
                else:
                    assert isinstance(got, np.ndarray) and got.size > 0, (name, how, i)
                    exact = name.endswith((".jpg", ".png", ".flo", ".webp", ".bmp")) or (name == "e.tif")
                    assert not (how == "cut" and exact), f"{name} cut to {len(bad)} bytes passed"
                assert time.perf_counter() - start < limit, (name, how, i)
    return count, refused


def test_fuzz(tmp_path):
    """In a process of its own, with little memory: a crash or a bomb is seen, and ends nothing else."""
    seed = os.environ.get("ARRAYVISION_FUZZ_SEED", "0")
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
from tests.image.test_damaged import run
print(*run({str(tmp_path)!r}, {seed}, 60, 10))
"""
    if sys.platform == "win32":
        code = code.replace("resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))", "").replace("resource, ", "")
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=pathlib.Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "."},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    count, refused = map(int, done.stdout.split()[-2:])
    assert count > 2000 and refused > count / 2


@pytest.mark.parametrize("name", sound())
def test_sound_files_pass(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(sound()[name])
    assert read(path, "pillow").size > 0  # older OpenCVs read no GIF


def test_nothing_is_returned_for_less_than_a_header():
    for content in sound().values():
        for length in range(1, 40):
            with pytest.raises(ValueError, match="imfrombytes: <"):
                image.imfrombytes(content[:length])
