"""Calls of `diff_iou_rotated_2d` and `diff_iou_rotated_3d`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case
from arrayvision.cases.rotated_boxes import corners

_FLAT = [0, 1, 3, 4, 6]  # the plane's part of a box in space


def _shared(a, b):
    import shapely

    p, q = (shapely.polygons(corners(x.reshape(-1, 5))) for x in (a, b))
    return shapely.area(shapely.intersection(p, q)).reshape(a.shape[:-1])


def flat(box1, box2):
    inter = _shared(box1, box2)
    return inter / (box1[..., 2] * box1[..., 3] + box2[..., 2] * box2[..., 3] - inter)


def solid(box3d1, box3d2):
    top, bottom = (
        choose(box3d1[..., 2] + side * box3d1[..., 5] / 2, box3d2[..., 2] + side * box3d2[..., 5] / 2)
        for choose, side in ((np.minimum, 1), (np.maximum, -1))
    )
    inter = _shared(box3d1[..., _FLAT], box3d2[..., _FLAT]) * np.maximum(top - bottom, 0)
    return inter / (box3d1[..., 3:6].prod(-1) + box3d2[..., 3:6].prod(-1) - inter)


def _boxes(width, seed):
    rng, sizes = np.random.default_rng(seed), 2 if width == 5 else 3
    parts = rng.uniform(-1, 1, (2, 5, sizes)), rng.uniform(0.5, 3, (2, 5, sizes)), rng.uniform(-3, 3, (2, 5, 1))
    return np.concatenate(parts, -1)


CASES = (
    Case(
        "diff_iou_rotated_2d", "diff_iou_rotated_2d", dict(box1=_boxes(5, 0), box2=_boxes(5, 1)),
        dict(box1="B N 5", box2="B N 5"), flat, wrt=("box1", "box2"), backward=ops.diff_iou_rotated_2d_backward,
    ),
    Case(
        "diff_iou_rotated_3d", "diff_iou_rotated_3d", dict(box3d1=_boxes(7, 0), box3d2=_boxes(7, 1)),
        dict(box3d1="B N 7", box3d2="B N 7"), solid, wrt=("box3d1", "box3d2"),
        backward=ops.diff_iou_rotated_3d_backward,
    ),
)  # fmt: skip
