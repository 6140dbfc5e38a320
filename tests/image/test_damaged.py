"""Thousands of damaged files: each is an error that names the file, or an image; in bounded time and memory."""

import io
import os
import pathlib
import struct
import subprocess
import sys
import time
import warnings
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from arrayvision import image, video
from tests.image.pictures import photo
from tests.image.tiffs import tiff

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
    deep = img[:40, :50].astype(np.uint16) * 257
    files["k.tif"] = tiff(deep, 2, planes=True, tile=(16, 16), compression=8, predictor=2)
    files["l.tif"] = tiff(np.dstack([deep, deep])[..., :5], rows=9, compression=5, order=">")
    files["m.tif"] = tiff(deep.astype(np.float32), 2, compression=34925, predictor=3, big=True)
    files["n.tif"] = tiff(deep[..., :1], compression=50000)
    for name, mode, options in (("o.tif", "RGB", {"compression": "jpeg"}), ("p.tif", "1", {"compression": "group4"})):
        buffer = io.BytesIO()
        Image.fromarray(img).convert(mode).save(buffer, "TIFF", **options)
        files[name] = buffer.getvalue()
    files["q.ppm"] = b"P6 50 40 255\n" + img[:40, :50].tobytes()
    files["r.pgm"] = b"P2 50 40 255\n" + " ".join(map(str, img[:40, :50, 0].ravel())).encode() + b"\n"
    files["s.pam"] = b"P7\nWIDTH 50\nHEIGHT 40\nDEPTH 3\nMAXVAL 65535\nENDHDR\n" + deep.astype(">u2").tobytes()
    files["t.pfm"] = b"PF 50 40 -1.0\n" + img[:40, :50].astype("<f4").tobytes()
    for name in ("u.jp2", "v.ras", "w.hdr", "x.avif"):
        if cv2.haveImageWriter(name):
            files[name] = cv2.imencode(name[1:], img.astype(np.float32) if name == "w.hdr" else img)[1].tobytes()
    flow = np.random.default_rng(0).normal(size=(40, 50, 2)).astype(np.float32)
    files["j.flo"] = b"PIEH" + np.array([50, 40], "<i4").tobytes() + flow.tobytes()
    return files


def damaged(content, seed, flips):
    """Cut at every 100th byte; and copies with random bytes changed."""
    for at in range(0, len(content), 100):
        yield "cut", content[:at]
    rng = np.random.default_rng(seed)
    yield from (("resized", copy) for copy in resized(content, rng))
    for _ in range(flips):
        copy = np.frombuffer(content, np.uint8).copy()
        where = rng.integers(0, len(copy) if rng.random() < 0.5 else min(200, len(copy)), rng.integers(1, 9))
        copy[where] = rng.integers(0, 256, len(where))
        yield "flipped", copy.tobytes()


def resized(content, rng):
    """Copies whose header gives sizes of their own, checksums and all."""
    at = content.find
    start = content[:4]
    if start == b"\x89PNG":
        places = [(16, ">I"), (20, ">I"), (24, ">B"), (25, ">B")]
    elif start[:3] == b"\xff\xd8\xff":
        frame = max(at(b"\xff\xc0\0\x11"), at(b"\xff\xc2\0\x11"))
        places = [(frame + 5, ">H"), (frame + 7, ">H"), (frame + 9, ">B"), (frame + 11, ">B")]
    elif start[:2] in (b"II", b"MM"):
        order, big = "<" if start[:2] == b"II" else ">", content[2:4] in (b"+\0", b"\0+")
        (first,) = struct.unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), content, first)
        entries = [first + (8 if big else 2) + (20 if big else 12) * i for i in range(count)]
        places = [(entry + (12 if big else 8), order + "I") for entry in entries]
        places += [(entry + 4, order + "I") for entry in entries] + [(entry, order + "H") for entry in entries]
    elif start == b"RIFF":
        places = [(26, "<H"), (28, "<H"), (4, "<I"), (16, "<I")]
    elif start[:2] == b"BM":
        places = [(18, "<i"), (22, "<i"), (28, "<H"), (30, "<I"), (10, "<I"), (46, "<I")]
    elif start == b"GIF8":
        frame = at(b",", 13 + 768)
        places = [(6, "<H"), (8, "<H"), *[(frame + 1 + 2 * i, "<H") for i in range(4)]]
    elif start == b"PIEH":
        places = [(4, "<i"), (8, "<i")]
    elif start == b"\x59\xa6\x6a\x95":
        places = [(4 + 4 * i, ">I") for i in range(7)]
    elif content[4:8] == b"ftyp":
        size = at(b"ispe")
        places = [(size + 8, ">I"), (size + 12, ">I")]
    elif content[4:8] == b"jP  ":
        size = at(b"\xff\x51")
        places = [(size + 6 + 4 * i, ">I") for i in range(8)] + [(size + 38, ">H"), (size + 40, ">B")]
    else:  # in words
        for old in (b"50", b"40", b"120", b"160", b"255", b"DEPTH 3", b"65535"):
            if old in content[:100]:
                value = str(int(rng.choice(SIZES))).encode()
                yield content.replace(old, b"DEPTH " + value if old[:1] == b"D" else value, 1)
        return
    for where, code in places:
        for _ in range(2):
            copy = bytearray(content)
            size = struct.calcsize(code)
            value = int(rng.choice(SIZES)) & (1 << 8 * size) - 1
            copy[where : where + size] = value.to_bytes(size, "big" if code[0] == ">" else "little")
            if start == b"\x89PNG":
                copy[29:33] = struct.pack(">I", zlib.crc32(copy[12:29]))
            yield bytes(copy)


SIZES = (0, 1, 2, 49, 51, 161, 255, 4000, 16000, 32767, 65500, 65535, 100_000, 2**24, 2**31 - 1, 2**32 - 1)


def read(path, backend):
    if path.suffix == ".flo":
        return video.flowread(str(path))
    stored = path.suffix in (".tif", ".pfm") and backend != "turbojpeg"
    return image.imread(path, "unchanged" if stored else "color", backend=backend)


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
                    with warnings.catch_warnings(record=True) as warned:
                        warnings.simplefilter("always")
                        got = read(path, backend)
                except (ValueError, OSError) as error:
                    assert path.name in str(error), (name, how, i, error)
                    refused += 1
                else:
                    assert isinstance(got, np.ndarray) and got.size > 0, (name, how, i)
                    exact = not name.endswith((".hdr", ".jp2", ".avif", ".ras", ".pgm"))
                    said = any("its pixels are all there" in str(w.message) for w in warned)
                    assert not (how == "cut" and exact) or said, f"{name} cut to {len(bad)} bytes passed"
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
    assert read(path, "cv2" if name == "w.hdr" else "pillow").size > 0  # older OpenCVs read no GIF


def test_nothing_is_returned_for_less_than_a_header():
    for content in sound().values():
        for length in range(1, 40):
            with pytest.raises(ValueError, match="imfrombytes: <"):
                image.imfrombytes(content[:length])
