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


def _geometry(name, dtype):
    import numpy as np

    from arrayvision import ops

    points = np.arange(36, dtype=dtype).reshape(2, 18) ** 2
    if name == "focal_loss":
        x, one, target, weight = np.zeros((3, 2), dtype), np.ones((), dtype), np.zeros(3, np.int64), np.ones(2, dtype)
        ops.sigmoid_focal_loss_backward(one * ops.sigmoid_focal_loss(x, target, weight=weight), x, target)
        ops.softmax_focal_loss_backward(one * ops.softmax_focal_loss(x, target, weight=weight), x, target)
    elif name == "diff_iou_rotated":
        boxes = np.ones((1, 2, 7), dtype)
        ops.diff_iou_rotated_3d_backward(ops.diff_iou_rotated_3d(boxes, boxes), boxes, boxes)
    elif name == "convex_iou":
        ops.convex_iou(points, points[:, :8])
        ops.convex_giou(points, points[:, :8])
    elif name == "min_area_polygons":
        ops.min_area_polygons(points)
    else:
        ops.points_in_polygons(points[:, :2], points[:, :8])


GEOMETRY = ("convex_iou", "diff_iou_rotated", "focal_loss", "min_area_polygons", "points_in_polygons")


def _pooling(name, dtype):
    """Forward and backward, for features in both layouts and few regions and many."""
    import numpy as np

    from arrayvision import ops

    ones = np.ones((1, 8, 6, 6), dtype)
    boxes = np.tile(np.array([[0, 1, 1, 4, 4.0]], dtype), (9, 1))
    rotated, curves = np.pad(boxes, ((0, 0), (0, 1))), np.pad(boxes, ((0, 0), (0, 12)))
    for x in (ones, np.ascontiguousarray(ones.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)):
        for k in (1, 9):
            b, r, c = boxes[:k], rotated[:k], curves[:k]
            grad = np.ones((k, 8, 2, 2), dtype)
            if name == "roi_align":
                ops.roi_align_backward(ops.roi_align(x, b, 2), b, x.shape)
                ops.roi_align_max_backward(*ops.roi_align_with_argmax(x, b, 2), b, x.shape)
            elif name == "roi_pool":
                ops.roi_pool_backward(*ops.roi_pool_with_argmax(x, b, 2), b, x.shape)
            elif name == "roi_align_rotated":
                ops.roi_align_rotated_backward(ops.roi_align_rotated(x, r, 2, 1.0), r, x.shape, 1.0)
            elif name == "riroi_align_rotated":
                ops.riroi_align_rotated_backward(ops.riroi_align_rotated(x, r, 2, 1.0), r, x.shape, 1.0)
            elif name == "bezier_align":
                ops.bezier_align_backward(ops.bezier_align(x, c, 2), c, x.shape)
            elif name == "prroi_pool":
                ops.prroi_pool_backward(ops.prroi_pool(x, b, 2), x, b)
            elif name == "deform_roi_pool":
                for offset in (None, np.ones((k, 2, 2, 2), dtype)):
                    ops.deform_roi_pool(x, b, offset, 2)
                    ops.deform_roi_pool_backward(grad, x, b, offset)
            elif name == "border_align":
                b = b[None, :, 1:]
                ops.border_align_backward(*ops.border_align_with_argmax(x, b, 2), b, x.shape, 2)
            else:
                b = np.ones((1, 6, 6, 5), dtype)
                ops.rotated_feature_align_backward(ops.rotated_feature_align(x, b), b)


POOLING = (
    "bezier_align",
    "border_align",
    "deform_roi_pool",
    "prroi_pool",
    "riroi_align_rotated",
    "roi_align",
    "roi_align_rotated",
    "roi_pool",
    "rotated_feature_align",
)


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


# For each file of operators, calls that compile its CPU kernels for a dtype.
EXAMPLES: dict[str, Callable[[str], None]] = {
    "bbox_overlaps": _bbox_overlaps,
    "nms": _nms,
    "soft_nms": _soft_nms,
    "rotated_boxes": _rotated_boxes,
    **{name: functools.partial(_geometry, name) for name in GEOMETRY},
    **{name: functools.partial(_pooling, name) for name in POOLING},
}

# The same for files of images' kernels, whose dtypes are their own.
PICTURES: dict[str, Callable[[], None]] = {"flow": _flow, "image": _image, "planes": _planes}


def steps(names=(), archs=(), emulated=False) -> Iterator[tuple[str, Callable[[], object]]]:
    """What there is to compile: (a description, the act), for these files (all, if none is named)."""
    there = {*EXAMPLES, *PICTURES, *cuda_files()}
    unknown = set(names) - there
    if unknown:
        known = ", ".join(sorted(there))
        raise ValueError(f"warmup: unknown kernels {', '.join(sorted(unknown))}; there are {known}")
    for name, example in EXAMPLES.items():
        if not names or name in names:
            for dtype in DTYPES:
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
