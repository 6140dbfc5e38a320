"""Regions of text, against plain loops in C++ with the lists that pybind11 makes (text_loops.cpp; needs torch's headers)."""

from __future__ import annotations

import functools
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sysconfig
import tempfile

import numpy as np

from arrayvision import ops
from arrayvision.bench.measure import Case, peer

SOURCE = pathlib.Path(__file__).parent / "text_loops.cpp"


def loops():
    """The plain loops, compiled; None without a compiler or the headers."""
    torch, compiler = peer("torch"), shutil.which("g++")
    python = sysconfig.get_paths()["include"]
    if torch is None or compiler is None or not os.path.exists(f"{python}/Python.h"):
        return None
    headers = f"{os.path.dirname(torch.__file__)}/include"
    path = f"{tempfile.mkdtemp(prefix='arrayvision-loops-')}/text_loops.so"
    flags = ["-O3", "-std=c++17", "-shared", "-fPIC", f"-I{headers}", f"-I{python}"]
    subprocess.run([compiler, *flags, str(SOURCE), "-o", path], check=True)
    spec = importlib.util.spec_from_file_location("text_loops", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(side, words=60, scales=7):
    """Rotated words on a page of side x side pixels: masks, labels, contours, scores and embeddings, and how many labels."""
    import cv2

    rng = np.random.default_rng(0)
    masks = np.zeros((scales, side, side), np.uint8)
    for _ in range(words):
        x, y = rng.integers(0, side, 2).tolist()
        w, h, angle = rng.integers(side // 16, side // 5), rng.integers(side // 40, side // 16), rng.uniform(-25, 25)
        for mask, share in zip(masks, np.linspace(1, 0.5, scales), strict=True):
            box = cv2.boxPoints(((x, y), (w - (1 - share) * h, h * share), angle))
            cv2.fillPoly(mask, [box.astype(np.int32)], 1)
    count, labels = cv2.connectedComponents(masks[-1], connectivity=4)
    contours, _ = cv2.findContours(masks[-1], cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    contour = cv2.drawContours(np.zeros((side, side), np.uint8), contours, -1, 255)
    embedding = rng.normal(0, 0.3, (side, side, 4)).astype(np.float32)
    return masks, labels, contour, rng.random((side, side), dtype=np.float32), embedding, count


def regions_alike(a, b):
    """The same pixels, and means but for rounding."""
    return all(x[1:] == y[1:] and np.isclose(x[0], y[0], rtol=1e-4) for x, y in zip(a, b, strict=True))


def cases():
    """float32; lists in the end, as both give them."""
    if peer("cv2") is None:
        return
    compiled = loops()
    for side in (160, 640, 2000):
        masks, labels, contour, score, embedding, count = page(side)
        expand, group = {}, {}
        if compiled:
            addresses = [x.ctypes.data for x in (score, masks, embedding, labels, contour)]
            places, sizes = (masks.ctypes.data, labels.ctypes.data), (masks.shape[0], side, side, 5, count)
            expand["C++ loop"] = functools.partial(compiled.contour_expand, *places, *sizes)
            group["C++ loop"] = functools.partial(compiled.pixel_group, *addresses, side, side, 4, count, 0.8)
        yield Case(
            f"contour_expand, {side} x {side}, 7 scales",
            lambda m=masks, k=labels, n=count: ops.contour_expand(m, k, 5, n),
            expand,
            2,
            agree=lambda a, b: a == b,
        )
        yield Case(
            f"pixel_group, {side} x {side}",
            lambda s=score, m=masks[0], e=embedding, k=labels, c=contour, n=count: ops.pixel_group(
                s, m, e, k, c, n, 0.8
            ),
            group,
            2,
            agree=regions_alike,
        )
