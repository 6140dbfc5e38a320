"""Calls of `voxelization`."""

import numpy as np

from arrayvision.cases import Case


def plain(points, voxel_size, coors_range, max_points=35, max_voxels=20000):
    """A dictionary of voxels, point by point."""
    low, size = np.array(coors_range[:3]), np.array(voxel_size)
    grid = np.floor((np.array(coors_range[3:]) - low) / size + 0.5)
    found, cells = {}, []
    for point in points:
        with np.errstate(invalid="ignore"):
            cell = np.floor((point[:3] - low) / size)
        inside = bool(((cell >= 0) & (cell < grid)).all())
        cells.append([*map(int, cell[::-1])] if inside else [-1] * 3)
        if inside and (tuple(cells[-1]) in found or len(found) < max_voxels):
            found.setdefault(tuple(cells[-1]), []).append(point)
    if max_points == -1 or max_voxels == -1:
        return np.array(cells, np.int32).reshape(-1, 3)
    voxels = np.zeros((len(found), max_points, points.shape[1]))
    for voxel, inside in zip(voxels, found.values(), strict=True):
        voxel[: len(inside)] = inside[:max_points]
    counts = np.array([min(len(inside), max_points) for inside in found.values()], np.int32)
    return voxels, np.array([*found], np.int32).reshape(-1, 3), counts


_RNG = np.random.default_rng(0)
# Quarters are whole in every float, and sizes are powers of two: no coordinate is rounded over a border.
_POINTS = np.concatenate([_RNG.integers(-6, 22, (90, 3)) / 4, _RNG.integers(0, 9, (90, 2)) / 8], 1)
_GRID = dict(voxel_size=(1.0, 0.5, 2.0), coors_range=(0.0, -1.0, 0.0, 4.0, 4.0, 4.0))
CASES = (
    Case(
        "voxelization",
        "voxelization",
        dict(points=_POINTS),
        dict(points="N F"),
        plain,
        _GRID | dict(max_points=2, max_voxels=30),
        never_empty="F",
    ),
    Case(
        "voxelization-dynamic",
        "voxelization",
        dict(points=_POINTS),
        dict(points="N F"),
        plain,
        _GRID | dict(max_points=-1),
        never_empty="F",
    ),
)


def scan(count, rng):
    """Points (x, y, z, intensity) as a scanner of 64 beams over a street sees them: dense near, sparse far; float32."""
    azimuth = rng.uniform(-0.8, 0.8, count)
    elevation = np.deg2rad(2 - 0.42 * rng.integers(0, 64, count))
    ground = np.where(elevation < -0.02, 1.73 / np.tan(np.maximum(-elevation, 0.02)), 60)
    distance = np.minimum(ground, 8 + 50 * np.abs(np.sin(azimuth * 9))) * (1 + 0.002 * rng.standard_normal(count))
    xyz = [distance * np.cos(azimuth), distance * np.sin(azimuth), distance * np.sin(elevation)]
    return np.stack([*xyz, rng.random(count)], 1).astype(np.float32)


STREET = dict(voxel_size=(0.05, 0.05, 0.1), coors_range=(0.0, -40.0, -3.0, 70.4, 40.0, 1.0))
