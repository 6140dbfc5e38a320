"""Calls of `roipoint_pool3d`."""

import numpy as np

from arrayvision.cases import Case
from arrayvision.cases.roiaware_pool3d import local


def plain(points, point_features, boxes3d, num_sampled_points):
    """Box by box and point by point."""
    shape, width = boxes3d.shape[:2], 3 + point_features.shape[2]
    out, empty = np.zeros((*shape, num_sampled_points, width)), np.ones(shape, np.int32)
    for e in range(shape[0]):
        for m in range(shape[1]):
            inside = [i for i in range(points.shape[1]) if local(boxes3d[e, m], points[e, i]) is not None]
            if inside:
                inside = np.resize(inside, num_sampled_points)
                out[e, m], empty[e, m] = np.concatenate([points[e, inside], point_features[e, inside]], 1), 0
    return out, empty


_RNG = np.random.default_rng(0)
_BOXES = np.array([[0, 0, -1, 3, 2, 2, 0.75], [0.5, 0.5, -1.5, 2, 4, 3, -2], [9, 9, 9, 1, 1, 1, 0]])
CASES = (
    Case(
        "roipoint_pool3d",
        "roipoint_pool3d",
        dict(
            points=_RNG.integers(-60, 61, (2, 40, 3)) / 32,
            point_features=_RNG.standard_normal((2, 40, 2)),
            boxes3d=np.stack([_BOXES, _BOXES[::-1]]),
        ),
        dict(points="B N 3", point_features="B N C", boxes3d="B M 7"),
        plain,
        dict(num_sampled_points=9),
    ),
)
