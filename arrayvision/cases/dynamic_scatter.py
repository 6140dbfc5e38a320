"""Calls of `dynamic_scatter`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed
from arrayvision.cases.voxelization import STREET, scan


def plain(feats, coors, reduce_type):
    """A dictionary of voxels, point by point."""
    found = {}
    for row, cell in zip(feats, coors.tolist(), strict=True):
        if min(cell) >= 0:
            found.setdefault(tuple(cell), []).append(row)
    reduce = {"max": np.max, "mean": np.mean, "sum": np.sum}[reduce_type]
    voxels = [reduce(found[cell], 0) for cell in sorted(found)]
    return (
        np.array(voxels).reshape(len(found), feats.shape[1]),
        np.array(sorted(found), np.int64).reshape(-1, coors.shape[1]),
    )


def _backward(grad, feats, coors, reduce_type):
    found = ops.dynamic_scatter_with_points(feats, coors, reduce_type)
    return (ops.dynamic_scatter_backward(grad, *found[2:], reduce_type),)


_RNG = np.random.default_rng(0)
_INPUTS = dict(feats=_RNG.standard_normal((40, 3)), coors=_RNG.integers(-1, 3, (40, 4)))
CASES = tuple(
    Case(
        f"dynamic_scatter-{kind}",
        "dynamic_scatter",
        _INPUTS,
        dict(feats="N C", coors="N D"),
        plain,
        dict(reduce_type=kind),
        wrt=("feats",),
        backward=_backward,
        never_empty="D",
    )
    for kind in ("max", "mean", "sum")
)


def _unique(torch, feats, coors):
    """Of packed coordinates, which is several times faster than of rows."""
    coors = coors.long()
    feats, coors = feats[coors[:, 0] >= 0], coors[coors[:, 0] >= 0]
    _, inverse, counts = torch.unique(
        (coors[:, 0] * 1600 + coors[:, 1]) * 1408 + coors[:, 2], return_inverse=True, return_counts=True
    )
    return torch.zeros(len(counts), feats.shape[1]).index_add_(0, inverse, feats) / counts[:, None]


def timed():
    rng = np.random.default_rng(0)
    for count in (2_000, 120_000):
        coors = ops.voxelization(scan(count, rng), **STREET, max_points=-1)
        yield Timed(
            f"dynamic_scatter, mean of {count:,} points, 16 channels",
            "dynamic_scatter",
            dict(feats=rng.standard_normal((count, 16)).astype(np.float32), coors=coors),
            dict(reduce_type="mean"),
            {"torch.unique and index_add": ("torch", _unique)},
            at_least=2,
        )
