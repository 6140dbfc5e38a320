"""Which points lie in which boxes: a grid over the ground lists the boxes that reach each cell.

The grid's first and last cells reach to infinity, and a coordinate's cell never falls where the coordinate rises. So the grid
is right wherever it lies, and it lies where most boxes are: one that is far away doesn't make its cells coarse. It is made
coarser until lists are short, so many huge boxes cost what comparing each with each would.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.boxes3d import contains, frame_of, reaches
from arrayvision.cpu.threads import claim, parallel_for

FINEST = 256  # cells along a side of the grid
LISTED = 32  # entries in the lists, for each box
LONG = 1 / 12  # of all boxes in an average list: from there on comparing all of them, in vectors, is sooner done
NONE = np.int32(2**31 - 1)
FEW = 30_000  # pairs of points and boxes that are all compared,
FEW_BOXES = 20  # and boxes that are with any number of points: sooner than a point's cell is found


@kernel
def frames_of(boxes, frames, reach):
    """The frames (T, 8) of boxes (T, 7), and how far they reach (T, 4) along x and y; one that isn't finite holds nothing."""
    for j in range(boxes.shape[0]):
        frame, total = frame_of(boxes[j]), 0.0
        for k in range(8):
            frames[j, k] = frame[k]
            total += frame[k] - frame[k]
        across, along = reaches(frame)
        reach[j, 0], reach[j, 1] = frame[0] - across, frame[0] + across
        reach[j, 2], reach[j, 3] = frame[1] - along, frame[1] + along
        if total != 0:
            frames[j, 3] = -1


@kernel
def cell(value, low, scale, cells):
    """A coordinate's cell along one axis."""
    at = (value - low) * scale
    if not at > 0:
        return 0
    return int(at) if at < cells else cells - 1


@kernel
def list_boxes(frames, reach, ground, cells):
    """The boxes that reach each cell, rising: (the lists, where each begins and the last ends, cells along a side). `ground`
    has where the grid begins and one over its extent, of x and of y."""
    n = frames.shape[0]
    while True:
        starts = np.zeros(cells * cells + 1, np.int64)
        lists = np.empty(0, np.int32)
        x, by_x, y, by_y = ground[0], ground[1] * cells, ground[2], ground[3] * cells
        for placing in range(2):
            for j in range(n):
                if not frames[j, 3] > 0:
                    continue
                left, right = cell(reach[j, 0], x, by_x, cells), cell(reach[j, 1], x, by_x, cells)
                low, high = cell(reach[j, 2], y, by_y, cells), cell(reach[j, 3], y, by_y, cells)
                for a in range(left, right + 1):
                    for c in range(a * cells + low, a * cells + high + 1):
                        if placing:
                            lists[starts[c]] = j
                            starts[c] += 1
                        else:
                            starts[c + 1] += 1
            if not placing:
                for c in range(cells * cells):
                    starts[c + 1] += starts[c]
                if cells > 1 and starts[cells * cells] > LISTED * n:
                    break
                lists = np.empty(starts[cells * cells], np.int32)
        else:
            for c in range(cells * cells, 0, -1):
                starts[c] = starts[c - 1]
            starts[0] = 0
            return lists, starts, cells
        cells = (cells + 1) // 2


@kernel
def compare(points, frames, ground, lists, starts, cells, every, out, turn, grain, n):
    """out (M, T) is 1 where the box holds the point, else 0, if `every`; else out (M, 1) is the first such box, or -1."""
    by_x, by_y = ground[1] * cells, ground[3] * cells
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            row = out[i]
            for j in range(row.shape[0]):
                row[j] = 0 if every else -1
            x, y, z = np.float64(points[i, 0]), np.float64(points[i, 1]), np.float64(points[i, 2])
            c = cell(x, ground[0], by_x, cells) * cells + cell(y, ground[2], by_y, cells)
            for k in range(starts[c], starts[c + 1]):
                j = lists[k]
                if contains(frames[j], x, y, z):
                    if not every:
                        row[0] = j
                        break
                    row[j] = 1
        start = claim(turn, grain)


@kernel
def compare_first(points, frames, out, turn, grain, n):
    """out (M,) is the first box in which each point lies, or -1."""
    a, b, c, d, e, f, g, h = frames[0], frames[1], frames[2], frames[3], frames[4], frames[5], frames[6], frames[7]
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            x, y, z, found = np.float64(points[i, 0]), np.float64(points[i, 1]), np.float64(points[i, 2]), NONE
            for j in range(a.shape[0]):
                inside = contains((a[j], b[j], c[j], d[j], e[j], f[j], g[j], h[j]), x, y, z)
                found = min(found, np.int32(j) if inside else NONE)
            out[i] = -1 if found == NONE else found
        start = claim(turn, grain)


@kernel
def compare_all(points, frames, out, turn, grain, n):
    """out (M, T) is whether each point lies in each box, of frames (8, T)."""
    a, b, c, d, e, f, g, h = frames[0], frames[1], frames[2], frames[3], frames[4], frames[5], frames[6], frames[7]
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            x, y, z, row = np.float64(points[i, 0]), np.float64(points[i, 1]), np.float64(points[i, 2]), out[i]
            for j in range(row.shape[0]):
                row[j] = contains((a[j], b[j], c[j], d[j], e[j], f[j], g[j], h[j]), x, y, z)
        start = claim(turn, grain)


def part(points, boxes, out):
    """Fill out (B, M) with each point's first box, or -1; points (B, M, 3), boxes (B, T, 7)."""
    _compare(points, boxes, False, out[:, :, None])


def all(points, boxes, out):
    """Fill out (B, M, T) with whether each point lies in each box."""
    _compare(points, boxes, True, out)


def _compare(points, boxes, every, out):
    n, t = points.shape[1], boxes.shape[1]
    if not n:
        return
    for cloud, those, result in zip(points, boxes, out, strict=True):
        frames, reach, ground = np.empty((t, 8)), np.empty((t, 4)), np.zeros(4)
        frames_of(those, frames, reach)
        whole = n * t <= FEW or t <= FEW_BOXES
        if not whole:
            ground[:2], ground[2:] = _extent(reach[:, :2]), _extent(reach[:, 2:])
            lists, starts, cells = list_boxes(frames, reach, ground, min(FINEST, int(4 * t**0.5)))
            whole = len(lists) > cells**2 * t * LONG
        if whole:
            given = cloud, np.ascontiguousarray(frames.T), result if every else result[:, 0]
            parallel_for(compare_all if every else compare_first, n, max(16, 65536 // max(t, 1)), *given, cost=t)
            continue
        cost = 10 + result.shape[1] / 4 + 3 * len(lists) / cells**2
        grain = max(16, 65536 // (result.shape[1] + 10))
        parallel_for(compare, n, grain, cloud, frames, ground, lists, starts, cells, every, result, cost=cost)


def _extent(ends):
    """Where most of the ends are: (the least, one over the length, or 0 where there is none)."""
    ends = np.sort(ends[np.isfinite(ends)])
    few = len(ends) // 50
    low, high = (ends[few], ends[-1 - few]) if len(ends) else (0.0, 0.0)
    return low, 1 / (high - low) if 1e-300 < high - low < np.inf else 0.0
