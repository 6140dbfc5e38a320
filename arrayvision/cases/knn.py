"""Calls of `knn`."""

import numpy as np

from arrayvision.cases import Case, Timed, clouds


def plain(k, xyz, center_xyz=None, transposed=False):
    """All distances, sorted."""
    points = np.swapaxes(xyz, 1, 2) if transposed else xyz
    centers = points if center_xyz is None else np.swapaxes(center_xyz, 1, 2) if transposed else center_xyz
    return np.swapaxes(clouds.nearest(centers, points, k)[1], 1, 2)


_RNG = np.random.default_rng(0)
_POINTS, _CENTERS = _RNG.permutation(120).reshape(2, 20, 3) / 4, _RNG.permutation(42).reshape(2, 7, 3) / 2 + 3
CASES = (
    Case(
        "knn",
        "knn",
        dict(xyz=_POINTS, center_xyz=_CENTERS),
        dict(xyz="B N 3", center_xyz="B M 3"),
        plain,
        dict(k=5),
        never_empty="N",
    ),
    Case(
        "knn, transposed",
        "knn",
        dict(xyz=np.swapaxes(_POINTS, 1, 2).copy(), center_xyz=np.swapaxes(_CENTERS, 1, 2).copy()),
        dict(xyz="B 3 N", center_xyz="B 3 M"),
        plain,
        dict(k=20, transposed=True),
        never_empty="N",
    ),
    Case("knn of itself", "knn", dict(xyz=_POINTS), dict(xyz="B N 3"), plain, dict(k=3), never_empty="N"),
)


def _search(search, xyz):
    return np.stack([search(points, points, 16)[1] for points in xyz]).swapaxes(1, 2)


def timed():
    for count in (1000, 16384, 100_000):
        for shape in clouds.SHAPES if count > 1000 else ("cube",):
            inputs = dict(xyz=clouds.cloud(_RNG, count, shape)[None])
            yield Timed(
                f"knn, 16 of {count}, {shape}",
                "knn",
                inputs,
                dict(k=16),
                peers=clouds.peers(_search),
                at_least=1.15,
                agree=clouds.alike,
            )
