"""Calls of `min_area_polygons`."""

import numpy as np

from arrayvision.cases import Case


def least(pointsets):
    """The least of the rectangles along each of the hull's edges."""
    import shapely

    out = np.empty((len(pointsets), 8))
    for n, points in enumerate(pointsets.reshape(-1, 9, 2)):
        hull = shapely.get_coordinates(shapely.convex_hull(shapely.multipoints(points)))
        areas = []
        for edge in np.diff(hull, axis=0):
            u = edge / np.hypot(*edge)
            while not (u[0] > 0 and u[1] >= 0):  # within [0, 90) degrees
                u = np.array([-u[1], u[0]])
            v = np.array([-u[1], u[0]])
            (a, b), (c, d) = ((points @ w).max() for w in (u, -u)), ((points @ w).max() for w in (v, -v))
            corners = [(a, -d), (-b, -d), (-b, c), (a, c)]
            areas.append(((a + b) * (c + d), [p * u + q * v for p, q in corners]))
        out[n] = np.concatenate(min(areas, key=lambda found: found[0])[1])
    return out


CASES = (
    Case(
        "min_area_polygons",
        "min_area_polygons",
        dict(pointsets=np.random.default_rng(0).uniform(-2, 2, (7, 18))),
        dict(pointsets="N 18"),
        least,
    ),
)
