"""A detection pipeline from a JPEG file to a tensor, against the same steps written with OpenCV.

    python bench/transforms.py [--threads 1 2] [--runs 40] [--json FILE]

LoadImageFromFile (1080p), Resize (1333x800, keep ratio), RandomFlip, Normalize, Pad(32), ImageToTensor. OpenCV: imdecode,
resize, flip, float32, cvtColor, subtract, multiply, copyMakeBorder, and torch's permute().contiguous(), as such code is
usually written; "with care" leaves the last copy to NumPy, which is faster at it. All run interleaved in one process with
the same number of threads; figures are medians, ratios are to the first row. Results are compared before.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # for `python bench/transforms.py`

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


def pipeline(decoder, flip, fused=True):
    """The steps of this package; not fused, an identity stands between those that would be one."""
    from arrayvision.transforms import Compose

    between = [] if fused else [lambda results: results]
    return Compose(
        [
            {"type": "LoadImageFromFile", "imdecode_backend": decoder},
            {"type": "Resize", "scale": (1333, 800), "keep_ratio": True},
            {"type": "RandomFlip", "prob": float(flip)},
            {"type": "Normalize", "mean": MEAN, "std": STD},
            *between,
            {"type": "Pad", "size_divisor": 32},
            *between,
            {"type": "ImageToTensor", "keys": ["img"]},
        ]
    )


def cases(path):
    """Name -> function of whether to flip."""
    found = {
        "OpenCV": lambda flip: by_opencv(path, flip),
        "OpenCV, with care": lambda flip: by_opencv(path, flip, True),
    }
    for decoder in ("cv2", "turbojpeg"):
        for fused in (True, False):
            steps = [pipeline(decoder, flip, fused) for flip in (False, True)]
            name = f"arrayvision, {decoder}" + ("" if fused else ", steps apart")
            found[name] = lambda flip, steps=steps: steps[flip]({"img_path": path})["img"]
    return found


def measure(threads, runs):
    """Medians in milliseconds, half of the runs flipped."""
    import torch

    import arrayvision

    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)
    arrayvision.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "picture.jpg")
        picture(path)
        found = cases(path)
        for flip in (False, True):
            wanted = found["OpenCV"](flip)
            for name, case in found.items():
                difference = float((case(flip) - wanted).abs().max())
                assert difference <= (0.1 if "turbojpeg" in name else 1e-4), f"{name} differs by {difference}"
        times = {name: [] for name in found}
        for run in range(runs):
            for name, case in found.items():
                start = time.perf_counter()
                case(run % 2 == 0)
                times[name].append((time.perf_counter() - start) * 1e3)
    return {"threads": threads, "median_ms": {name: statistics.median(values) for name, values in times.items()}}


def import_time(module="arrayvision.transforms"):
    """Milliseconds that importing takes in a fresh interpreter, the least of five; and NumPy's part."""
    least = []
    for code in (f"import {module}", "import numpy"):
        timed = f"import time; t = time.perf_counter(); {code}; print((time.perf_counter() - t) * 1e3)"
        runs = [float(subprocess.check_output([sys.executable, "-c", timed], cwd=ROOT)) for _ in range(5)]
        least.append(min(runs))
    return least


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--json", help="write the figures to this file too")
    args = parser.parse_args()
    figures = [measure(threads, args.runs) for threads in args.threads]
    for figure in figures:
        print(f"{figure['threads']} thread(s)")
        base = figure["median_ms"]["OpenCV"]
        for name, value in figure["median_ms"].items():
            print(f"  {name:40s}{value:8.2f} ms  {base / value:5.2f} x")
    ours, numpy = import_time()
    print(f"import arrayvision.transforms: {ours:.0f} ms, of which NumPy {numpy:.0f} ms")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"pipelines": figures, "import_ms": ours}, indent=1) + "\n")


if __name__ == "__main__":
    main()
