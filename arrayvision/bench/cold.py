"""First calls from an empty cache: CPU milliseconds of another process, and how many functions it compiled."""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess
import sys
import tempfile

from arrayvision.bench.measure import Case

SCRIPT = """
import time
import numpy as np
from numba.core import event
recorder = event.RecordingListener()
event.register("numba:compile", recorder)
from arrayvision import image, ops
from arrayvision.cpu import threads  # what every kernel imports is not part of the figure
rng = np.random.default_rng(0)
def boxes(n):
    xy = rng.uniform(0, 50 * n**0.5, (n, 2))
    return np.concatenate([xy, xy + rng.uniform(5, 50, (n, 2))], 1).astype("f4"), rng.random(n).astype("f4")
start = time.process_time()
for n in (3, 20_000):
    CALL
print(sum(e.is_start for _, e in recorder.buffer), time.process_time() - start)
"""
CALLS = {  # few boxes, then many; and the seconds that we mean them to take
    "nms": ("ops.nms(*boxes(n), 0.5)", 3),
    "batched_nms": ("ops.batched_nms(*boxes(n), np.arange(n) % 2, dict(iou_threshold=0.5))", 4),
    "soft_nms": ("ops.soft_nms(*boxes(min(n, 4000)), 0.5)", 3),
    "box_iou_rotated": ("ops.box_iou_rotated(*[np.c_[boxes(n)][:min(n, 400)]] * 2)", 3),
    "roi_align": (
        "ops.roi_align(np.zeros((1, 64, 50, 50), 'f4'), np.c_[0 * boxes(n)[1], boxes(n)[0] / 9][:400], 7)",
        3,
    ),
    "imnormalize": ("image.imnormalize(np.zeros((n % 1999, 9, 3), np.uint8), np.ones(3), np.ones(3))", 1),
}


def measure(call: str) -> tuple[int, float]:
    """How many functions a call compiles, and the CPU seconds it takes."""
    with tempfile.TemporaryDirectory() as cache:
        root = str(pathlib.Path(__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": root, "ARRAYVISION_CACHE": cache, "ARRAYVISION_QUIET": "1"}
        command = [sys.executable, "-c", SCRIPT.replace("CALL", call)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    functions, seconds = done.stdout.split()
    return int(functions), float(seconds)


def cases():
    """All cases."""
    for name, (call, seconds) in CALLS.items():
        figure = functools.partial(_milliseconds, call)
        yield Case(f"first calls, {name}, compiled", figure, within=1e3 * seconds, own=True, note="CPU milliseconds")


def _milliseconds(call):
    return 1e3 * measure(call)[1]
