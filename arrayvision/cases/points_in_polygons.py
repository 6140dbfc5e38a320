"""Calls of `points_in_polygons`."""

import numpy as np

from arrayvision.cases import Case


def inside(points, polygons):
    import shapely

    quads = shapely.polygons(polygons.reshape(-1, 4, 2))
    return shapely.contains(quads[None], shapely.points(points)[:, None]).astype(np.float64)


_RNG = np.random.default_rng(0)
_ANGLES = np.sort(_RNG.uniform(0, 2 * np.pi, (5, 4)), 1)
_QUADS = (np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], -1) * 2).reshape(5, 8)
CASES = (
    Case(
        "points_in_polygons",
        "points_in_polygons",
        dict(points=_RNG.uniform(-2, 2, (40, 2)), polygons=_QUADS),
        dict(points="B 2", polygons="M 8"),
        inside,
    ),
)
