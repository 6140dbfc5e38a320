"""Clouds of points, and the peers that look for neighbours in them."""

import numpy as np

from arrayvision import get_num_threads

SHAPES = ("cube", "surface", "scan")


def cloud(rng, count, shape="cube"):
    """Points (count, 3) in float32: in the unit cube, on the unit sphere, or as a turning LiDAR sees a plain with walls."""
    if shape == "cube":
        return rng.random((count, 3), dtype=np.float32)
    if shape == "surface":
        points = rng.standard_normal((count, 3))
        return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    azimuth, down = rng.uniform(0, 2 * np.pi, count), np.tan(np.radians(rng.integers(1, 33, count) * 0.8))
    reach = np.minimum(1.8 / down, 8 + 60 * np.abs(np.sin(3 * azimuth)) ** 3)  # the ground, or a wall before it
    points = np.stack([reach * np.cos(azimuth), reach * np.sin(azimuth), 1.8 - reach * down], 1)
    return (points + rng.normal(0, 0.01, points.shape)).astype(np.float32)


def nearest(queries, points, count):
    """Distances and indices (B, N, count) by comparing all with all, sorted; infinite and 0 where points are too few. A distance
    that is NaN counts as infinite."""
    with np.errstate(all="ignore"):
        distances = np.linalg.norm(queries[:, :, None] - points[:, None], axis=-1)
    distances[np.isnan(distances)] = np.inf
    order = np.argsort(distances, axis=-1, kind="stable")[..., :count].astype(np.int32)
    missing = ((0, 0), (0, 0), (0, count - order.shape[-1]))
    found = np.take_along_axis(distances, order, -1)
    return np.pad(found, missing, constant_values=np.inf), np.pad(order, missing)


def _scipy(spatial, queries, points, count):
    return spatial.cKDTree(points).query(queries, count, workers=get_num_threads())


def _pykdtree(kdtree, queries, points, count):
    return kdtree.KDTree(points).query(queries, count)


def _napf(napf, queries, points, count):
    threads = get_num_threads()
    squares, indices = napf.KDT(points, nthread=threads).knn_search(queries, count, nthread=threads)
    return np.sqrt(squares), indices


def alike(ours, theirs):
    """Whether distances are the same up to their rounding, and indices but for a few: of points that are equally far to it."""
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(ours, theirs, strict=True)]
    return all(
        np.mean(a != b) < 1e-3 if a.dtype.kind == "i" else np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in pairs
    )


PEERS = {"SciPy": ("scipy.spatial", _scipy), "pykdtree": ("pykdtree.kdtree", _pykdtree), "napf": ("napf", _napf)}


def peers(call):
    """Each peer as a benchmark takes it; ``call(search, **inputs)`` is given its ``search(queries, points, count)``."""

    def bound(search):
        return lambda module, **inputs: call(lambda *args: search(module, *args), **inputs)

    return {name: (module, bound(search)) for name, (module, search) in PEERS.items()}
