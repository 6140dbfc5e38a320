"""Calls of `convex_iou` and `convex_giou`."""

import numpy as np

from arrayvision.cases import Case


def _hulls(rows):
    import shapely

    return shapely.convex_hull(shapely.multipoints(rows.reshape(len(rows), rows.shape[1] // 2, 2)))


def iou(pointsets, polygons):
    import shapely

    p, q = _hulls(pointsets)[:, None], _hulls(polygons)[None]
    inter = shapely.area(shapely.intersection(p, q))
    return inter / (shapely.area(p) + shapely.area(q) - inter)


def giou(pointsets, polygons):
    """And its gradient for the points, by central differences."""

    def value(points):
        import shapely

        p, q = _hulls(points), _hulls(polygons)
        inter = shapely.area(shapely.intersection(p, q))
        union = shapely.area(p) + shapely.area(q) - inter
        around = shapely.area(_hulls(np.concatenate([points, polygons], 1)))
        return inter / union - (around - union) / around

    gradient, step = np.zeros_like(pointsets), 1e-6
    for k in range(18):
        moved = np.zeros(18)
        moved[k] = step
        gradient[:, k] = (value(pointsets + moved) - value(pointsets - moved)) / (2 * step)
    return value(pointsets), gradient


def _uniform(seed, *shape):
    return np.random.default_rng(seed).uniform(-2, 2, shape)


CASES = (
    Case(
        "convex_iou", "convex_iou", dict(pointsets=_uniform(0, 6, 18), polygons=_uniform(1, 5, 8)),
        dict(pointsets="N 18", polygons="K 8"), iou,
    ),
    Case(
        "convex_giou", "convex_giou", dict(pointsets=_uniform(0, 6, 18), polygons=_uniform(1, 6, 8)),
        dict(pointsets="N 18", polygons="N 8"), giou, wrt=("pointsets",), tolerance=2.0**24,
    ),
)  # fmt: skip
