"""Calls of `chamfer_distance`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed, clouds


def plain(xyz1, xyz2):
    """Both ways, all distances sorted."""
    (one, first), (other, second) = clouds.nearest(xyz1, xyz2, 1), clouds.nearest(xyz2, xyz1, 1)
    return one[..., 0] ** 2, other[..., 0] ** 2, first[..., 0], second[..., 0]


def _backward(grad, xyz1, xyz2):
    _, dist2, idx1, idx2 = ops.chamfer_distance(xyz1, xyz2)
    return ops.chamfer_distance_backward(grad, np.zeros_like(dist2), xyz1, xyz2, idx1, idx2)


def _case(dimensions):
    rng = np.random.default_rng(dimensions)
    numbers = rng.permutation(2 * 15 * dimensions) / 4
    xyz1, xyz2 = np.split(numbers.reshape(2, 15, dimensions), [6], 1)
    return Case(
        f"chamfer_distance, {dimensions}", "chamfer_distance", dict(xyz1=xyz1, xyz2=xyz2), dict(xyz1="B N D", xyz2="B M D"),
        plain, wrt=("xyz1", "xyz2"), backward=_backward, never_empty="D",
    )  # fmt: skip


CASES = (_case(2), _case(3), _case(6))


def _search(search, xyz1, xyz2):
    found = [(search(a, b, 1), search(b, a, 1)) for a, b in zip(xyz1, xyz2, strict=True)]
    return [np.stack([np.asarray(pair[k][j]).reshape(-1) for pair in found]) for j in (0, 1) for k in (0, 1)]


def _squared(*given, **named):
    dist1, dist2, *indices = _search(*given, **named)
    return dist1**2, dist2**2, *indices


def timed():
    for shape in ("cube", "surface"):
        inputs = {name: np.stack([clouds.cloud(_RNG, 10_000, shape) for _ in range(4)]) for name in ("xyz1", "xyz2")}
        yield Timed(
            f"chamfer_distance, 4 of 10,000, {shape}",
            "chamfer_distance",
            inputs,
            peers=clouds.peers(_squared),
            at_least=1.1,
            agree=clouds.alike,
        )


_RNG = np.random.default_rng(0)
