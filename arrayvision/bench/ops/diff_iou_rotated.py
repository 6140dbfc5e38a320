"""IoU of rotated boxes with gradients, row by row, against shapely (one thread, without gradients).

The limits are 3 times the arithmetic, which outweighs the data: about 150 scalar operations of 1 ns a pair, 350 with
gradients.
"""

from __future__ import annotations

import numpy as np

from arrayvision import get_num_threads, ops
from arrayvision.bench.measure import Case, peer, to_numpy


def boxes(n, width, seed):
    """Boxes of which most pairs overlap."""
    rng = np.random.default_rng(seed)
    sizes = 2 if width == 5 else 3
    parts = [rng.uniform(-1.5, 1.5, (n, sizes)), rng.uniform(0.3, 3, (n, sizes)), rng.uniform(-4, 4, (n, 1))]
    return np.concatenate(parts, 1)[None].astype(np.float32)


def cases():
    """20,000 pairs, float32."""
    n = 20_000
    a, b, ones = boxes(n, 5, 0), boxes(n, 5, 1), np.ones((1, n), np.float32)
    shapely, peers = peer("shapely"), {}
    if shapely:

        def polygons(box):
            c, s = np.cos(box[..., 4]), np.sin(box[..., 4])
            w, h = box[..., 2] / 2, box[..., 3] / 2
            corners = [(i * w * c - j * h * s, i * w * s + j * h * c) for i, j in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
            return shapely.polygons(np.stack([np.stack(xy, -1) for xy in corners], -2) + box[..., None, :2])

        def by_shapely():
            p, q = polygons(a.astype(float)), polygons(b.astype(float))
            inter = shapely.area(shapely.intersection(p, q))
            return inter / (shapely.area(p) + shapely.area(q) - inter)

        peers["shapely"] = by_shapely
    per_pair = 3e-6 * n / get_num_threads()
    yield Case(
        "diff_iou_rotated_2d, 20,000 pairs", lambda: ops.diff_iou_rotated_2d(a, b), peers, within=150 * per_pair,
        agree=lambda x, y: np.allclose(to_numpy(x), y, atol=1e-6),
    )  # fmt: skip
    yield Case(
        "diff_iou_rotated_2d_backward, 20,000 pairs", lambda: ops.diff_iou_rotated_2d_backward(ones, a, b),
        within=350 * per_pair,
    )  # fmt: skip
    c, d = boxes(n, 7, 2), boxes(n, 7, 3)
    yield Case("diff_iou_rotated_3d, 20,000 pairs", lambda: ops.diff_iou_rotated_3d(c, d), within=150 * per_pair)
    yield Case(
        "diff_iou_rotated_3d_backward, 20,000 pairs", lambda: ops.diff_iou_rotated_3d_backward(ones, c, d),
        within=350 * per_pair,
    )  # fmt: skip
