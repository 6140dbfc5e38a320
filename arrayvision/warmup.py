"""Compiles kernels into the caches, so that a container image, or a test run, starts warm: `arrayvision warmup`."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import importlib
import multiprocessing
import pathlib
from collections.abc import Callable, Iterator

from arrayvision import operators

HERE = pathlib.Path(__file__).parent
DTYPES = ("float32", "float64")  # in which CPU kernels run


def cuda_files() -> list[str]:
    """The names of the .cu files."""
    return sorted(path.stem for path in (HERE / "cuda").glob("*.cu"))


def cuda_kernels(file: str):
    """The `runtime.Kernels` of a .cu file."""
    return importlib.import_module(f"arrayvision.cuda.{file}").KERNELS


def _boxes(n, dtype):
    import numpy as np

    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 50 * n**0.5, (n, 2))
    return np.concatenate([xy, xy + rng.uniform(5, 50, (n, 2))], 1).astype(dtype), rng.random(n).astype(dtype)


def _nms(dtype):
    import numpy as np

    from arrayvision import ops

    boxes, scores = _boxes(2000, dtype)
    ops.nms(boxes, scores, 0.5)
    ops.nms(boxes[:9], scores[:9], 0.5)
    ops.nms_match(np.concatenate([boxes, scores[:, None]], 1), 0.5)
    for cfg in (dict(iou_threshold=0.5), None):
        ops.batched_nms(boxes, scores, np.arange(2000) % 3, cfg)


def _soft_nms(dtype):
    import numpy as np

    from arrayvision import ops

    boxes, scores = _boxes(2000, dtype)
    ops.soft_nms(boxes, scores)
    ops.batched_nms(boxes, scores, np.arange(2000) % 3, dict(type="soft_nms"))


def _rotated_boxes(dtype):
    import numpy as np

    from arrayvision import ops

    _cases("rotated_boxes", dtype)
    boxes, scores = _boxes(20, dtype)
    rotated = np.concatenate([boxes, scores[:, None]], 1)
    quads = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]]
    ops.nms_rotated(rotated, scores, 0.5, np.arange(20))
    ops.nms_quadri(quads, scores, 0.5)


def _text_growth(dtype):
    import numpy as np

    from arrayvision import ops

    ones, labels = np.ones((2, 4, 5), dtype), np.zeros((4, 5), np.int32)
    labels[1, 1:3] = 1, 2
    ops.contour_expand(ones, labels, 2, 2)
    ops.pixel_group(ones[0], ones[0], ones.transpose(1, 2, 0)[:, :1].repeat(5, 1), labels, labels, 3, 0.5)


def _boxes_in_space(dtype):
    import numpy as np

    from arrayvision import ops

    _cases("boxes_in_space", dtype)
    boxes, scores = _boxes(20, dtype)
    ops.nms_bev(np.concatenate([boxes, scores[:, None]], 1), scores, 0.5, 9)


def _points_in_boxes(dtype):
    import numpy as np

    from arrayvision import ops

    _cases("points_in_boxes", dtype)
    points, huge = np.ones((1, 400, 3), dtype), np.full((1, 100, 7), 9, dtype)  # so many that all are compared
    ops.points_in_boxes_part(points, huge)
    ops.points_in_boxes_all(points, huge)


def _clouds(name, dtype):
    """By trees and cells of many points."""
    import numpy as np

    from arrayvision import ops

    _cases(name, dtype)
    points = np.random.default_rng(0).random((1, 3000, 3)).astype(dtype)
    if name == "knn":
        ops.knn(4, points)
    elif name == "furthest_point_sample":
        ops.furthest_point_sample(points, 30)
    else:
        for most in (8, 80):
            ops.ball_query(0, 0.03, most, points, points)


def _pooling(name, dtype):
    """For features in both layouts and few regions and many."""
    import numpy as np

    from arrayvision import cases

    for case in cases.cases(name):
        cases.run(case, dtype)
        first, *others = case.inputs
        x = case.inputs[first]
        last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        many = {n: np.concatenate([case.inputs[n]] * 2) if "K" in case.shapes[n] else case.inputs[n] for n in others}
        one = {n: x[:1] if "K" in case.shapes[n] else x for n, x in case.inputs.items()}
        for inputs in (many, one):
            for maps in (x, last):
                cases.run(dataclasses.replace(case, inputs={**case.inputs, **inputs, first: maps}), dtype)


def _cases(name, dtype):
    from arrayvision import cases

    for case in cases.cases(name):
        cases.run(case, dtype)


def _image():
    import numpy as np

    from arrayvision import image

    img, statistics = np.zeros((4, 4, 3), np.uint8), np.ones(3)
    for x in (img, img.astype(np.float32)):
        for swap in (True, False):
            image.imdenormalize(image.imnormalize(x, statistics, statistics, swap), statistics, statistics, swap)
    for x in (img, (img / np.float32(255)).astype(np.float32)):
        for first_only in (True, False):
            image.rgb2ycbcr(x, first_only)
            image.bgr2ycbcr(x, first_only)
        image.ycbcr2rgb(x)
        image.ycbcr2bgr(x)
    image.solarize(img)
    image.adjust_brightness(img, 0.5)
    image.adjust_contrast(img, 0.5)
    image.adjust_color(img, 0.5)
    for channels in (2, 3):
        image.imequalize(img[:, :, :channels])


def _flow():
    import numpy as np

    from arrayvision import video, visualization

    for dtype in DTYPES:
        flow = np.ones((4, 4, 2), dtype)
        video.quantize_flow(flow)
        visualization.flow2rgb(flow)
        for img in (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), dtype)):
            for mode in ("nearest", "bilinear"):
                video.flow_warp(img, flow, interpolate_mode=mode)


def _planes():
    import numpy as np

    from arrayvision.transforms._deferred import Deferred

    for size in ((8, 8), (5, 6)):
        img = Deferred(np.zeros((8, 8, 3), np.uint8)).resize(size, False)
        img.normalize(np.ones(3), np.ones(3), True)
        img.planes()


# Files whose cases are not all that there is to compile.
_MORE: dict[str, Callable[[str], None]] = {
    "boxes_in_space": _boxes_in_space,
    "nms": _nms,
    "points_in_boxes": _points_in_boxes,
    "rotated_boxes": _rotated_boxes,
    "soft_nms": _soft_nms,
}
_MORE |= {"text_growth": _text_growth}
_REGIONS = (
    "bezier_align", "deform_roi_pool", "prroi_pool", "riroi_align_rotated", "roi_align", "roi_align_rotated", "roi_pool",
)  # fmt: skip
_MORE |= {name: functools.partial(_pooling, name) for name in _REGIONS}
_MORE |= {name: functools.partial(_clouds, name) for name in ("ball_query", "furthest_point_sample", "knn")}
# For each file of operators, calls that compile its CPU kernels for a dtype.
EXAMPLES: dict[str, Callable[[str], None]] = {
    file: _MORE.get(file, functools.partial(_cases, file)) for file in sorted({row.file for row in operators.OPERATORS})
}

# The same for files of images' kernels, whose dtypes are their own.
PICTURES: dict[str, Callable[[], None]] = {"flow": _flow, "image": _image, "planes": _planes}


# What a detector's postprocessing needs, in float32: `arrayvision warmup --common`.
COMMON = ("bbox_overlaps", "nms", "roi_align", "soft_nms")

# Files whose kernels call one another's: compiled in one process, each once.
_FAMILIES = dict.fromkeys(("boxes_in_space", "nms", "soft_nms", "rotated_boxes"), "suppression")
_FAMILIES |= dict.fromkeys((*_REGIONS, "border_align", "rotated_feature_align"), "pooling")


def run(steps, processes: int, done: Callable[[str], object] = print) -> None:
    """Carry out steps in several processes; `done` is called with the description of each that has ended."""
    batches: dict[tuple, list] = {}
    for name, act in steps:
        file, *kind = name.split(", ")
        batches.setdefault((_FAMILIES.get(file, file), *kind), []).append((name, act))
    if processes < 2 or len(batches) < 2:
        for batch in batches.values():
            for name, act in batch:
                act()
                done(name)
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads can hang
    ended = context.SimpleQueue()
    with concurrent.futures.ProcessPoolExecutor(processes, context, _begin, (ended,)) as pool:
        parts = [pool.submit(_in_turn, batch) for batch in sorted(batches.values(), key=len, reverse=True)]
        for part in parts:  # whatever ends, a step or its process, wakes us
            part.add_done_callback(lambda _: ended.put(None))
        waiting = len(parts)
        while waiting:
            name = ended.get()
            if name is None:
                waiting -= 1
            else:
                done(name)
        for part in parts:
            part.result()


def _begin(ended):
    global _ended
    _ended = ended


def _in_turn(batch):
    for name, act in batch:
        act()
        _ended.put(name)


def steps(names=(), archs=(), emulated=False, dtypes=DTYPES) -> Iterator[tuple[str, Callable[[], object]]]:
    """What there is to compile: (a description, the act), for these files (all, if none is named)."""
    there = {*EXAMPLES, *PICTURES, *cuda_files()}
    unknown = set(names) - there
    if unknown:
        known = ", ".join(sorted(there))
        raise ValueError(f"warmup: unknown kernels {', '.join(sorted(unknown))}; there are {known}")
    for name, example in EXAMPLES.items():
        if not names or name in names:
            for dtype in dtypes:
                yield f"{name}, CPU, {dtype}", functools.partial(example, dtype)
    for name, pictures in PICTURES.items():
        if not names or name in names:
            yield f"{name}, CPU", pictures
    for name in cuda_files():
        if not names or name in names:
            for arch in archs:
                yield f"{name}, CUDA sm_{arch}", functools.partial(_compile, name, arch)
            if emulated:
                yield f"{name}, emulated", functools.partial(_compile, name, None)


def _compile(name, arch):
    """For an architecture, or for the emulator."""
    kernels = cuda_kernels(name)
    return kernels.compile(arch) if arch is not None else kernels.emulated()
