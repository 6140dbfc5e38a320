"""Calls of `ball_query`."""

import functools

import numpy as np

from arrayvision import get_num_threads
from arrayvision.cases import Case, Timed, clouds


def _of_cloud(least, most, size, points, centers, missing):
    out = np.zeros((len(centers), size), np.int32)
    for row, center in zip(out, centers, strict=True):
        squares = ((points - center) ** 2).sum(1)
        found = np.flatnonzero((squares == 0) | ((squares >= least**2) & (squares < most**2)))[:size]
        row[:] = found[0] if len(found) else 0
        row[: len(found)] = found
        if not len(found):
            row[0] = missing
    return out


def plain(min_radius, max_radius, sample_num, xyz, center_xyz, xyz_batch_cnt=None, center_xyz_batch_cnt=None):
    """A loop over centres."""
    if xyz_batch_cnt is None:
        found = [_of_cloud(min_radius, max_radius, sample_num, *pair, 0) for pair in zip(xyz, center_xyz, strict=True)]
        return np.array(found, np.int32).reshape(*center_xyz.shape[:2], sample_num)
    pairs = (
        np.split(x, np.cumsum(counts)[:-1])
        for x, counts in ((xyz, xyz_batch_cnt), (center_xyz, center_xyz_batch_cnt))
        if len(counts)
    )
    found = [_of_cloud(min_radius, max_radius, sample_num, *pair, -1) for pair in zip(*pairs, strict=True)]
    return np.concatenate([np.zeros((0, sample_num), np.int32), *found])


_RNG = np.random.default_rng(0)
_POINTS, _CENTERS = _RNG.integers(0, 12, (2, 40, 3)) / 4, _RNG.integers(0, 14, (2, 9, 3)) / 4
CASES = (
    Case(
        "ball_query",
        "ball_query",
        dict(xyz=_POINTS, center_xyz=_CENTERS),
        dict(xyz="B N 3", center_xyz="B M 3"),
        plain,
        dict(min_radius=0.5, max_radius=1.25, sample_num=4),
    ),
    Case(
        "ball_query, stacked",
        "ball_query",
        dict(
            xyz=_POINTS.reshape(80, 3), center_xyz=_CENTERS.reshape(18, 3),
            xyz_batch_cnt=np.array([30, 0, 50]), center_xyz_batch_cnt=np.array([7, 6, 5]),
        ),
        dict(xyz="N 3", center_xyz="M 3", xyz_batch_cnt="B", center_xyz_batch_cnt="B"),
        plain,
        dict(min_radius=0.0, max_radius=1.0, sample_num=3),
        indexed="NMB",
    ),
)  # fmt: skip


def _scipy(spatial, xyz, center_xyz, radius):
    """All within, in any order."""
    return [
        spatial.cKDTree(points).query_ball_point(centers, radius, workers=get_num_threads())
        for points, centers in zip(xyz, center_xyz, strict=True)
    ]


def _open3d(core, xyz, center_xyz, radius):
    """All within, in any order."""
    found = []
    for points, centers in zip(xyz, center_xyz, strict=True):
        search = core.nns.NearestNeighborSearch(core.Tensor.from_numpy(points))
        search.fixed_radius_index(radius)
        index, _, starts = search.fixed_radius_search(core.Tensor.from_numpy(centers), radius, False)
        found.append(np.split(index.numpy(), starts.numpy()[1:-1]))
    return found


def _same(ours, theirs):
    """Whether the peer's points, sorted, begin as ours do; but for a few, at the radius to a rounding."""
    differ = 0
    for rows, lists in zip(ours, theirs, strict=True):
        for row, some in zip(rows, lists, strict=True):
            first = np.sort(np.asarray(some, np.int64))[: len(row)]
            differ += not np.array_equal(first, row[: len(first)]) or (
                len(first) < len(row) and not (row[len(first) :] == row[0]).all()
            )
    return differ <= len(theirs[0]) // 500


def timed():
    points = clouds.cloud(_RNG, 16384)[None]
    for radius, scipy, others in ((0.2, 1, 15), (0.02, 1, 1)):
        for name, module, call, at_least in (
            ("SciPy", "scipy.spatial", _scipy, scipy),
            ("Open3D", "open3d.core", _open3d, others),
        ):
            yield Timed(
                f"ball_query, 32 of 16,384, 4,096 centres, radius {radius}, {name}", "ball_query",
                dict(xyz=points, center_xyz=points[:, :4096].copy()),
                dict(min_radius=0.0, max_radius=radius, sample_num=32),
                peers={name: (module, functools.partial(_call, call, radius))}, at_least=at_least, agree=_same,
            )  # fmt: skip


def _call(call, radius, module, xyz, center_xyz):
    return call(module, xyz, center_xyz, radius)
