"""Compiles kernels into the caches, so that a container image, or a test run, starts warm: `arrayvision warmup`."""

from __future__ import annotations

import functools
import importlib
import pathlib
from collections.abc import Callable, Iterator

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
    labels = np.arange(2000) % 3
    ops.nms(boxes, scores, 0.5)
    ops.nms(boxes[:9], scores[:9], 0.5)
    ops.soft_nms(boxes, scores)
    ops.nms_match(np.concatenate([boxes, scores[:, None]], 1), 0.5)
    for cfg in (dict(iou_threshold=0.5), dict(type="soft_nms"), None):
        ops.batched_nms(boxes, scores, labels, cfg)


def _bbox_overlaps(dtype):
    from arrayvision import ops

    boxes, _ = _boxes(3, dtype)
    ops.bbox_overlaps(boxes, boxes)
    ops.bbox_overlaps(boxes, boxes, aligned=True)


def _rotated_boxes(dtype):
    import numpy as np

    from arrayvision import ops

    boxes, scores = _boxes(20, dtype)
    rotated = np.concatenate([boxes, scores[:, None]], 1)
    quads = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]]
    for aligned in (False, True):
        ops.box_iou_rotated(rotated, rotated, aligned=aligned)
        ops.box_iou_quadri(quads, quads, aligned=aligned)
    ops.nms_rotated(rotated, scores, 0.5, np.arange(20))
    ops.nms_quadri(quads, scores, 0.5)


# For each file of operators, calls that compile its CPU kernels for a dtype.
EXAMPLES: dict[str, Callable[[str], None]] = {
    "bbox_overlaps": _bbox_overlaps,
    "nms": _nms,
    "rotated_boxes": _rotated_boxes,
}


def steps(names=(), archs=(), emulated=False) -> Iterator[tuple[str, Callable[[], object]]]:
    """What there is to compile: (a description, the act), for these files (all, if none is named)."""
    unknown = set(names) - set(EXAMPLES) - set(cuda_files())
    if unknown:
        known = ", ".join(sorted({*EXAMPLES, *cuda_files()}))
        raise ValueError(f"warmup: unknown kernels {', '.join(sorted(unknown))}; there are {known}")
    for name, example in EXAMPLES.items():
        if not names or name in names:
            for dtype in DTYPES:
                yield f"{name}, CPU, {dtype}", functools.partial(example, dtype)
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
