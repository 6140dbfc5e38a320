"""A detection pipeline from a JPEG file to a tensor, against the same steps written with OpenCV.

    python bench/transforms.py [--threads 1 2] [--runs 40]

LoadImageFromFile (1080p), Resize (1333x800, keep ratio), RandomFlip, Normalize, Pad(32), ImageToTensor. OpenCV: imdecode,
resize, flip, float32, subtract, multiply, copyMakeBorder, and NumPy's transposed copy. Both run interleaved in one
process with the same number of threads; ratios are of medians. Results are compared first.
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

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import cv2
import numpy as np

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def picture(path):
    """A 1080p JPEG with smooth areas, edges and noise, about as large as a photograph."""
    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.integers(0, 256, (68, 120, 3), np.uint8), (1920, 1080), interpolation=cv2.INTER_CUBIC)
    img = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
    cv2.imwrite(path, img, [cv2.IMWRITE_JPEG_QUALITY, 90])


def by_opencv(path, flip):
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
    return torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1)))


def pipeline(decoder, fused=True):
    """The steps of this package; not fused, an identity stands between those that would be one."""
    from arrayvision.transforms import Compose

    between = [] if fused else [lambda results: results]
    return Compose(
        [
            {"type": "LoadImageFromFile", "imdecode_backend": decoder},
            {"type": "Resize", "scale": (1333, 800), "keep_ratio": True},
            {"type": "RandomFlip", "prob": 0.5},
            {"type": "Normalize", "mean": MEAN, "std": STD},
            *between,
            {"type": "Pad", "size_divisor": 32},
            *between,
            {"type": "ImageToTensor", "keys": ["img"]},
        ]
    )


def measure(threads, runs):
    """Medians in milliseconds, interleaved."""
    import torch

    import arrayvision

    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)
    arrayvision.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "picture.jpg")
        picture(path)
        flips = iter(())

        def ours(steps):
            return lambda: steps({"img_path": path})["img"]

        cases = {"opencv": lambda: by_opencv(path, next(flips))}
        cases |= {f"arrayvision, {d}": ours(pipeline(d)) for d in ("cv2", "turbojpeg")}
        cases |= {f"arrayvision, {d}, steps apart": ours(pipeline(d, fused=False)) for d in ("cv2", "turbojpeg")}
        for name, case in cases.items():
            np.random.seed(0)
            result = case() if name != "opencv" else None
            flips = iter([result is not None])
            if result is not None:
                np.random.seed(0)
                flips = iter([bool(np.random.choice([1, 0], p=[0.5, 0.5]))])
                difference = float((result - by_opencv(path, next(flips))).abs().max())
                assert difference < 2e-2 or ("turbojpeg" in name and difference < 0.2), (
                    f"{name} differs by {difference}"
                )
        times = {name: [] for name in cases}
        for run in range(runs):
            for name, case in cases.items():
                flips = iter([run % 2 == 0])
                start = time.perf_counter()
                case()
                times[name].append((time.perf_counter() - start) * 1e3)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {"threads": threads, "medians_ms": medians}


def import_time(module="arrayvision.transforms"):
    """Milliseconds that importing takes, in a fresh interpreter (least of five)."""
    code = f"import time; t = time.perf_counter(); import {module}; print((time.perf_counter() - t) * 1e3)"
    root = str(pathlib.Path(__file__).resolve().parent.parent)
    return min(float(subprocess.check_output([sys.executable, "-c", code], cwd=root)) for _ in range(5))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--json", help="write the figures to this file too")
    args = parser.parse_args()
    figures = [measure(threads, args.runs) for threads in args.threads]
    for figure in figures:
        print(f"{figure['threads']} thread(s)")
        base = figure["medians_ms"]["opencv"]
        for name, value in figure["medians_ms"].items():
            print(f"  {name:40s}{value:8.2f} ms  {base / value:5.2f} x")
    imported = import_time()
    print(f"import arrayvision.transforms: {imported:.0f} ms")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"pipelines": figures, "import_ms": imported}, indent=1))


if __name__ == "__main__":
    main()
