"""Voxels and points in boxes, against spconv and against the plain loops that C++ and CUDA codes run, compiled by Numba."""

import math

import numba
import numpy as np

from arrayvision import ops
from arrayvision.bench.measure import Case, peer, to_numpy
from arrayvision.cases.roiaware_pool3d import cars
from arrayvision.cases.voxelization import STREET, scan

CELLS, MOST, VOXELS, CHANNELS = 14, 35, 40_000, 16


def close(a, b):
    """Equal up to a few roundings of float32."""
    return np.allclose(to_numpy(a), to_numpy(b), rtol=1e-5, atol=1e-5)


@numba.njit(error_model="numpy")
def plain_voxels(points, size, ends, grid):
    """With an array of the whole grid."""
    numbers = np.full((grid[2], grid[1], grid[0]), -1, np.int32)
    out, counts = np.zeros((VOXELS, MOST, points.shape[1]), np.float32), np.zeros(VOXELS, np.int32)
    found = 0
    for i in range(points.shape[0]):
        x = np.floor((points[i, 0] - ends[0]) / size[0])
        y = np.floor((points[i, 1] - ends[1]) / size[1])
        z = np.floor((points[i, 2] - ends[2]) / size[2])
        if not (0 <= x < grid[0] and 0 <= y < grid[1] and 0 <= z < grid[2]):
            continue
        cell = int(z), int(y), int(x)
        if numbers[cell] < 0:
            if found == VOXELS:
                continue
            numbers[cell] = found
            found += 1
        v = numbers[cell]
        if counts[v] < MOST:
            for k in range(points.shape[1]):
                out[v, counts[v], k] = points[i, k]
            counts[v] += 1
    return out[:found]


@numba.njit(error_model="numpy")
def inside(box, point):
    """Whether a point is in a box, and its x and y there."""
    if abs(point[2] - (box[2] + box[5] / 2)) > box[5] / 2:
        return False, 0.0, 0.0
    dx, dy, c, s = point[0] - box[0], point[1] - box[1], math.cos(-box[6]), math.sin(-box[6])
    x, y = dx * c - dy * s, dx * s + dy * c
    return abs(x) < box[3] / 2 and abs(y) < box[4] / 2, x, y


@numba.njit(error_model="numpy")
def cell_along(distance, size):
    """The cell at a distance from a box's side."""
    return min(max(int(distance / (size / CELLS)), 0), CELLS - 1)


@numba.njit(error_model="numpy")
def plain_pool(rois, points, feats, most):
    """Each box asks each point, lists those of each cell, and takes each channel's maximum."""
    n = CELLS * CELLS * CELLS
    out = np.zeros((rois.shape[0], n, feats.shape[1]), np.float32)
    lists = np.zeros((rois.shape[0], n, most + 1), np.int32)
    for b in range(rois.shape[0]):
        box = rois[b]
        for i in range(points.shape[0]):
            found, x, y = inside(box, points[i])
            if found:
                cx, cy = cell_along(x + box[3] / 2, box[3]), cell_along(y + box[4] / 2, box[4])
                own = lists[b, (cx * CELLS + cy) * CELLS + cell_along(points[i, 2] - box[2], box[5])]
                if own[0] < most:
                    own[0] += 1
                    own[own[0]] = i
        for c in range(n):
            own = lists[b, c]
            for k in range(feats.shape[1]):
                for e in range(own[0]):
                    value = feats[own[1 + e], k]
                    if e == 0 or value > out[b, c, k]:
                        out[b, c, k] = value
    return out.reshape((rois.shape[0], CELLS, CELLS, CELLS, feats.shape[1]))


@numba.njit(error_model="numpy")
def plain_sample(points, feats, boxes, sampled):
    """Each box asks each point."""
    out = np.zeros((points.shape[0], boxes.shape[1], sampled, 3 + feats.shape[2]), np.float32)
    members = np.empty(points.shape[1], np.int32)
    for e in range(points.shape[0]):
        for m in range(boxes.shape[1]):
            count = 0
            for i in range(points.shape[1]):
                if inside(boxes[e, m], points[e, i])[0]:
                    members[count] = i
                    count += 1
            for s in range(sampled if count else 0):
                i = members[s % count]
                for k in range(3):
                    out[e, m, s, k] = points[e, i, k]
                for k in range(feats.shape[2]):
                    out[e, m, s, 3 + k] = feats[e, i, k]
    return out


def voxel_cases(rng):
    size, ends = np.array(STREET["voxel_size"], np.float32), np.array(STREET["coors_range"], np.float32)
    grid = tuple(int(n) for n in np.round((ends[3:] - ends[:3]) / size))
    utils, tensors = peer("spconv.utils"), peer("cumm.tensorview")
    for count in (2_000, 120_000):
        points = scan(count, rng)
        ours = lambda p=points: ops.voxelization(p, **STREET, max_points=MOST, max_voxels=VOXELS)  # noqa: E731
        label = f"voxelization of {count:,} points, voxels of 5 cm"
        if utils and tensors:  # which keeps its array of the grid between calls
            made = utils.Point2VoxelCPU3d(size.tolist(), ends.tolist(), points.shape[1], VOXELS, MOST)
            given = tensors.from_numpy(points)
            theirs = lambda m=made, g=given: m.point_to_voxel(g)[0].numpy_view()  # noqa: E731
            yield Case(f"{label}, beside spconv", ours, {"spconv": theirs}, 1.5, agree=close)
        theirs = lambda p=points: plain_voxels(p, size, ends, grid)  # noqa: E731
        yield Case(label, ours, {"plain loop": theirs}, 10, agree=close)


def cases():
    """All cases."""
    rng = np.random.default_rng(0)
    yield from voxel_cases(rng)
    for boxes, count in ((10, 2_000), (100, 16_384)):
        points = scan(count, rng)
        rois, xyz = cars(boxes, points, rng), np.ascontiguousarray(points[:, :3])
        feats = rng.standard_normal((count, CHANNELS)).astype(np.float32)
        yield Case(
            f"roiaware_pool3d, {boxes} boxes, 14^3 cells, {count:,} points",
            lambda r=rois, p=xyz, f=feats: ops.roiaware_pool3d(r, p, f, CELLS),
            {"plain loop": lambda r=rois, p=xyz, f=feats: plain_pool(r, p, f, 128)},
            10 if boxes == 100 else 1,
            agree=close,
        )
        yield Case(
            f"roipoint_pool3d, {boxes} boxes, 512 of {count:,} points",
            lambda r=rois, p=xyz, f=feats: ops.roipoint_pool3d(p[None], f[None], r[None], 512),
            {"plain loop": lambda r=rois, p=xyz, f=feats: plain_sample(p[None], f[None], r[None], 512)},
            10,
            agree=close,
        )
