"""Farthest points: a tree of boxes knows the greatest distance, so far, of the points in each. A new sample visits only boxes
that are nearer to it than that, which soon are few; and the next sample is known at the root.

A few samples are found without a tree. By given distances, a sample takes a pass over its row.
"""

import math

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for
from arrayvision.cpu.tree import LAST, build
from arrayvision.cpu.vectors import WIDE, boxes_below, first_bit, greatest, lower

FEW = 24  # samples, which are sooner found than a tree is built


@kernel(inline="always")
def sample(points, first, columns, names, nodes, boxes, children, root, far, who, squares, queue, places, out):
    """Fill out with the samples of a cloud: its points begin at first, its nodes at root.

    far and who (nodes * WIDE,) have the greatest square of each child's points and the lowest index that has it; squares
    (leaves * WIDE,) those of the points. queue and places are room for the nodes that are visited and where they are children.
    """
    out[0] = current = 0
    for s in range(1, out.shape[0]):
        row = first + current
        x, y, z = points[row, 0], points[row, 1], points[row, 2]
        size, begin = 0, 0
        if (x - x) + (y - y) + (z - z) == 0:
            queue[0], places[0], size = root, 0, 1
        while begin < size:
            node = queue[begin]
            begin += 1
            hits = boxes_below(boxes, node * 6 * WIDE, x, y, z, far, node * WIDE)
            while hits:
                i = first_bit(hits)
                hits &= hits - 1
                child = children[node] + i
                if child < nodes:
                    queue[size], places[size] = child, node * WIDE + i
                    size += 1
                else:
                    leaf = child - nodes
                    lower(columns, leaf * 3 * WIDE, x, y, z, squares, leaf * WIDE)
                    far[node * WIDE + i], who[node * WIDE + i] = greatest(squares, names, leaf * WIDE)
        for k in range(size - 1, 0, -1):  # upwards
            far[places[k]], who[places[k]] = greatest(far, who, queue[k] * WIDE)
        _, current = greatest(far, who, root * WIDE)
        out[s] = current


@kernel(_nrt=False)
def sample_some(
    points, starts, finite, order, axes, leaves, columns, names, nodes, boxes, lowest, children,
    far, who, squares, queue, places, out, turn, grain, n,
):  # fmt: skip
    start = claim(turn, grain)
    while start < n:
        for cloud in range(start, min(start + grain, n)):
            if finite[cloud] == 0:
                for s in range(out.shape[1]):
                    out[cloud, s] = 0
                continue
            for node in range(nodes[cloud], nodes[cloud + 1]):
                for i in range(WIDE):
                    who[node * WIDE + i] = lowest[node, i]
                    far[node * WIDE + i] = -1 if lowest[node, i] == LAST else math.inf
            for leaf in range(leaves[cloud], leaves[cloud + 1]):
                for i in range(WIDE):
                    squares[leaf * WIDE + i] = -1 if names[leaf, i] == LAST else math.inf
            root, end = nodes[cloud], nodes[cloud + 1]
            sample(
                points, starts[cloud], columns, names, boxes.shape[0], boxes, children, root, far, who, squares,
                queue[root:end], places[root:end], out[cloud],
            )  # fmt: skip
        start = claim(turn, grain)


@kernel(_nrt=False)
def farthest(least, most):
    """Where the greatest of many numbers is, the first of equals; `most` is room for WIDE."""
    size = least.shape[0]
    for k in range(WIDE):
        most[k] = -math.inf
    for i in range(0, size - size % WIDE, WIDE):  # WIDE maxima: LLVM finds no other vectors here
        some = least[i : i + WIDE]
        for k in range(WIDE):
            most[k] = some[k] if some[k] > most[k] else most[k]
    best = most[0]
    for k in range(1, WIDE):
        best = max(best, most[k])
    for i in range(size - size % WIDE, size):
        best = max(best, least[i])
    found = 0
    while least[found] != best:
        found += 1
    return found


@kernel
def sample_few(points, out, turn, grain, n):
    """Without a tree: each sample takes a pass over the points."""
    size = points.shape[1]
    x, y, z = np.empty(size, points.dtype), np.empty(size, points.dtype), np.empty(size, points.dtype)
    least, most = np.empty(size, points.dtype), np.empty(WIDE, points.dtype)
    start = claim(turn, grain)
    while start < n:
        for cloud in range(start, min(start + grain, n)):
            for i in range(size):
                a, b, c = points[cloud, i, 0], points[cloud, i, 1], points[cloud, i, 2]
                x[i], y[i], z[i] = a, b, c
                least[i] = math.inf if (a - a) + (b - b) + (c - c) == 0 else -1
            out[cloud, 0] = current = 0
            for s in range(1, out.shape[1]):
                a, b, c = x[current], y[current], z[current]
                if (a - a) + (b - b) + (c - c) == 0:
                    for i in range(size):
                        dx, dy, dz = a - x[i], b - y[i], c - z[i]
                        d = dx * dx + dy * dy + dz * dz
                        least[i] = d if d < least[i] else least[i]
                out[cloud, s] = current = farthest(least, most)
        start = claim(turn, grain)


@kernel
def sample_rows(distances, out, turn, grain, n):
    size = distances.shape[1]
    least, most = np.empty(size, distances.dtype), np.empty(WIDE, distances.dtype)
    start = claim(turn, grain)
    while start < n:
        for cloud in range(start, min(start + grain, n)):
            for i in range(size):
                least[i] = math.inf
            out[cloud, 0] = current = 0
            for s in range(1, out.shape[1]):
                row = distances[cloud, current]
                for i in range(size):
                    d = row[i] if row[i] == row[i] else -math.inf
                    least[i] = d if d < least[i] else least[i]
                out[cloud, s] = current = farthest(least, most)
        start = claim(turn, grain)


def by_points(points, out):
    """Fill out (B, count) with samples of points (B, N, 3)."""
    clouds, size = points.shape[:2]
    if out.size and out.shape[1] <= FEW:
        parallel_for(sample_few, clouds, 1, points, out, cost=out.shape[1] * size)
    elif out.size:
        flat, real = points.reshape(clouds * size, 3), points.dtype
        tree = build(flat, np.arange(clouds + 1) * size, "curved")
        children, nodes, count = tree.lowest.size, len(tree.lowest), tree.names.size
        room = (
            np.empty(children, real), np.empty(children, np.int32), np.empty(count, real),
            np.empty(nodes, np.int64), np.empty(nodes, np.int64),
        )  # fmt: skip
        parallel_for(sample_some, clouds, 1, flat, *tree, *room, out, cost=300 * out.shape[1] + 20 * size)


def by_distances(distances, out):
    """Fill out (B, count) with samples by distances (B, N, N)."""
    if out.size:
        parallel_for(sample_rows, len(out), 1, distances, out, cost=out.shape[1] * distances.shape[1])
