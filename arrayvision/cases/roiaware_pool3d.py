"""Calls of `roiaware_pool3d`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case


def local(box, point):
    """A point in a box's frame, from the centre of its bottom; None outside."""
    angle = -box[6]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    x, y = turn @ (point[:2] - box[:2])
    z = point[2] - box[2]
    inside = -box[3] / 2 < x < box[3] / 2 and -box[4] / 2 < y < box[4] / 2 and 0 <= z <= box[5]
    return (x, y, z) if inside else None


def plain(rois, pts, pts_feature, out_size, max_pts_per_voxel=128, mode="max"):
    """Box by box and point by point."""
    size = np.array(out_size)
    out = np.zeros((len(rois), *size, pts_feature.shape[1]))
    for box, pooled in zip(rois, out, strict=True):
        cells = {}
        for point, row in zip(pts, pts_feature, strict=True):
            at = local(box, point)
            if at is not None:
                cell = np.add(at, [box[3] / 2, box[4] / 2, 0]) / (box[3:6] / size)
                cells.setdefault(tuple(np.minimum(cell.astype(int), size - 1)), []).append(row)
        for cell, rows in cells.items():
            rows = rows[:max_pts_per_voxel]
            pooled[cell] = np.max(rows, 0) if mode == "max" else np.mean(rows, 0)
    return out


def _backward(grad, rois, pts, pts_feature, out_size, max_pts_per_voxel, mode):
    found = ops.roiaware_pool3d_with_points(rois, pts, pts_feature, out_size, max_pts_per_voxel, mode)
    return (ops.roiaware_pool3d_backward(grad, rois, pts, *found[1:], max_pts_per_voxel, mode),)


_RNG = np.random.default_rng(0)
# Numbers of few digits, which 16-bit floats hold: every dtype has the same points in the same cells.
_ROIS = np.array([[0, 0, -1, 3, 2, 2, 0.75], [0.5, 0.5, -1.5, 2, 4, 3, -2], [9, 9, 9, 1, 1, 1, 0]])
_INPUTS = dict(
    rois=_ROIS, pts=_RNG.integers(-60, 61, (70, 3)) / 32, pts_feature=_RNG.permutation(140).reshape(70, 2) / 64 - 1
)  # fmt: skip
CASES = tuple(
    Case(
        f"roiaware_pool3d-{mode}",
        "roiaware_pool3d",
        _INPUTS,
        dict(rois="K 7", pts="N 3", pts_feature="N C"),
        plain,
        dict(out_size=(3, 2, 2), max_pts_per_voxel=4, mode=mode),
        wrt=("pts_feature",),
        backward=_backward,
    )
    for mode in ("max", "avg")
)


def cars(count, points, rng):
    """Boxes of cars' sizes, each round a point; float32."""
    middle = points[rng.choice(len(points), count, False), :3] - [0, 0, 0.8]
    size = rng.uniform([3, 1.5, 1.4], [4.6, 2, 1.9], (count, 3))
    return np.concatenate([middle, size, rng.uniform(-np.pi, np.pi, (count, 1))], 1).astype(np.float32)
