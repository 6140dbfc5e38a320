"""Calls of `furthest_point_sample` and `furthest_point_sample_with_dist`."""

import functools

import numpy as np

from arrayvision.cases import Case, Timed, clouds


def by_rows(points_dist, num_points):
    """The least of the chosen rows, its greatest."""
    out = np.zeros((len(points_dist), num_points), np.int32)
    for chosen, distances in zip(out, points_dist, strict=True):
        for s in range(1, num_points):
            chosen[s] = distances[chosen[:s]].min(0).argmax()
    return out


def by_distances(points_xyz, num_points):
    """All distances first."""
    return by_rows(((points_xyz[:, :, None] - points_xyz[:, None]) ** 2).sum(-1), num_points)


_RNG = np.random.default_rng(0)
_POINTS = _RNG.integers(0, 32, (2, 30, 3)) / 4
CASES = (
    Case(
        "furthest_point_sample",
        "furthest_point_sample",
        dict(points_xyz=_POINTS),
        dict(points_xyz="B N 3"),
        by_distances,
        dict(num_points=9),
        never_empty="N",
    ),
    Case(
        "furthest_point_sample_with_dist",
        "furthest_point_sample_with_dist",
        dict(points_dist=((_POINTS[:, :, None] - _POINTS[:, None]) ** 2).sum(-1)[:, :20, :20] / 8),
        dict(points_dist="B N N"),
        by_rows,
        dict(num_points=6),
        never_empty="N",
    ),
)


def _kdline(height, count, fpsample, points_xyz):
    samples = [fpsample.bucket_fps_kdline_sampling(p, count, h=height, start_idx=0) for p in points_xyz]
    return np.stack(samples).astype(np.int32)


def _kdtree(count, fpsample, points_xyz):
    return np.stack([fpsample.bucket_fps_kdtree_sampling(p, count, start_idx=0) for p in points_xyz]).astype(np.int32)


def _torch_rows(count, torch, points_dist):
    least = torch.full(points_dist.shape[:2], float("inf"))
    chosen, batch = torch.zeros((len(points_dist), count), dtype=torch.int32), torch.arange(len(points_dist))
    for s in range(1, count):
        least = torch.minimum(least, points_dist[batch, chosen[:, s - 1].long()])
        chosen[:, s] = least.argmax(1)
    return chosen


def _covers_alike(points, ours, theirs):
    """Whether no two samples are nearer to each other than in the other's, to a tenth: a peer begins where it likes."""
    from scipy.spatial import cKDTree

    least = [cKDTree(points[index[0]]).query(points[index[0]], 2)[0][:, 1].min() for index in (ours, theirs)]
    return 0.9 < least[0] / least[1] < 1.1


def timed():
    for size, count, height in ((1024, 256, 3), (16384, 4096, 5), (100_000, 1024, 7)):
        for shape in clouds.SHAPES:
            peers = {
                f"fpsample, kd-line {h}": ("fpsample", functools.partial(_kdline, h, count))
                for h in (height, height + 2)
            }
            peers["fpsample, kd-tree"] = "fpsample", functools.partial(_kdtree, count)
            points = clouds.cloud(_RNG, size, shape)
            yield Timed(
                f"furthest_point_sample, {count} of {size}, {shape}", "furthest_point_sample",
                dict(points_xyz=points[None]), dict(num_points=count), peers, 3.3 if size > 1024 else 1,
                agree=functools.partial(_covers_alike, points),
            )  # fmt: skip
    points = _RNG.random((2, 4096, 16), dtype=np.float32)
    squares = (points**2).sum(-1)
    distances = squares[:, :, None] + squares[:, None] - 2 * points @ points.swapaxes(1, 2)
    yield Timed(
        "furthest_point_sample_with_dist, 512 of 2x4096", "furthest_point_sample_with_dist", dict(points_dist=distances),
        dict(num_points=512), {"torch, a loop": ("torch", functools.partial(_torch_rows, 512))},
    )  # fmt: skip
