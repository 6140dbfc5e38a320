"""Hulls of point sets and quadrilaterals, against shapely and OpenCV (one thread, an object at a time).

The limits are 3 times the arithmetic, which outweighs the data, but for the points: about 200 scalar operations of 1 ns a
pair of hulls, 1,500 for a GIoU and its gradient, 600 for a rectangle; 4 ns for a point and a quadrilateral.
"""

from __future__ import annotations

import numpy as np

from arrayvision import get_num_threads, ops
from arrayvision.bench.measure import Case, peer, to_numpy


def close(a, b):
    """Equal but for roundings."""
    return np.allclose(to_numpy(a), to_numpy(b), rtol=1e-5, atol=1e-5)


def cases():
    """float32."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-2, 2, (2000, 18)).astype(np.float32)
    quads = rng.uniform(-2, 2, (2000, 8)).astype(np.float32)
    few = quads[:100]
    shapely, cv2 = peer("shapely"), peer("cv2")
    iou, rectangles, inside = {}, {}, {}
    spots = rng.uniform(0, 1000, (20_000, 2)).astype(np.float32)
    shape = np.array([[0, 0], [50, 10], [60, 60], [5, 40]])
    signs = (rng.uniform(0, 1000, (500, 1, 2)) + shape).astype(np.float32)
    if shapely:

        def hulls(rows):
            return shapely.convex_hull(shapely.multipoints(rows.astype(float).reshape(len(rows), -1, 2)))

        def by_shapely():
            p, q = hulls(points)[:, None], hulls(few)[None]
            inter = shapely.area(shapely.intersection(p, q))
            return inter / (shapely.area(p) + shapely.area(q) - inter)

        def contained():
            polygons = shapely.polygons(signs.astype(float))
            shapely.prepare(polygons)
            return shapely.contains_xy(polygons[None], spots[:, :1].astype(float), spots[:, 1:].astype(float))

        iou["shapely"], inside["shapely"] = by_shapely, contained
    if cv2:
        rectangles["OpenCV"] = lambda: [cv2.minAreaRect(p) for p in points.reshape(-1, 9, 2)]
    threads = get_num_threads()
    yield Case(
        "convex_iou, 2,000 x 100", lambda: ops.convex_iou(points, few), iou, within=3e-6 * 200 * 200_000 / threads,
        agree=close,
    )  # fmt: skip
    yield Case("convex_giou, 2,000", lambda: ops.convex_giou(points, quads), within=3e-6 * 1500 * 2000 / threads)
    yield Case(
        "min_area_polygons, 2,000",
        lambda: ops.min_area_polygons(points),
        rectangles,
        within=3e-6 * 600 * 2000 / threads,
    )
    flat = signs.reshape(-1, 8)
    yield Case(
        "points_in_polygons, 20,000 x 500", lambda: ops.points_in_polygons(spots, flat), inside,
        within=3e-6 * 4 * 1e7 / threads, agree=lambda a, b: np.array_equal(to_numpy(a), b),
    )  # fmt: skip
