"""The first points by index within balls: all points are looked at in turn until enough are found, or those in the boxes of
a tree that the ball meets. A few centres, tried in the first way, tell which is sooner done. Where balls are so full that the
first points soon do, points are looked at where they lie; else they are first laid out for looking at 16 at a time."""

import math

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for
from arrayvision.cpu.tree import LAST, STACK, along_curves, build, farthest, replace_farthest, sort_list
from arrayvision.cpu.vectors import WIDE, boxes_within, first_bit, points_within

TRIED = 32  # centres at most
NO_END = 2**62
LAYING_TIME = 5  # nanoseconds of laying out a point in leaves,
LEAF_TIME = 4  # of looking at a leaf,
NODE_TIME = 25  # of building a tree over a point,
SEARCH_TIME = 200  # of searching in one,
FOUND_TIME = 40  # and of each point in the ball


@kernel
def find_where_they_lie(
    points, starts, centers, center_starts, stride, least, limit, missing, most, looked, out, turn, grain, n
):  # fmt: skip
    """Fill out with the first points in balls round every stride-th centre. A trial ends when more than `most` points were
    looked at; `looked` has how many these and those found are."""
    cloud, seen, hits, size = 0, 0, 0, out.shape[1]
    start = claim(turn, grain)
    while start < n and seen <= most:
        for s in range(start, min(start + grain, n)):
            row = s * stride
            while row >= center_starts[cloud + 1]:
                cloud += 1
            x, y, z = centers[row, 0], centers[row, 1], centers[row, 2]
            own, found = points[starts[cloud] : starts[cloud + 1]], out[row]
            count = i = 0
            while count < size and i < own.shape[0]:
                dx, dy, dz = x - own[i, 0], y - own[i, 1], z - own[i, 2]
                square = dx * dx + dy * dy + dz * dz
                if square <= limit and (square >= least or square == 0):
                    found[count] = i
                    count += 1
                i += 1
            seen, hits = seen + i, hits + count
            for k in range(count, size):
                found[k] = found[0] if count else 0
            if count == 0:
                found[0] = missing
        start = claim(turn, grain)
    if stride > 1:  # a trial, by one thread
        looked[0], looked[1] = seen, hits


@kernel(_nrt=False)
def find_in_turn(columns, names, first, stop, x, y, z, least, limit, squares, found):
    """Fill found with the points of leaves first to stop, until it is full; how many, and how many leaves were looked at."""
    count = 0
    for leaf in range(first, stop):
        hits = points_within(columns, leaf * 3 * WIDE, x, y, z, squares, limit)
        while hits:
            i = first_bit(hits)
            hits &= hits - 1
            if squares[i] >= least or squares[i] == 0:
                found[count] = names[leaf, i]
                count += 1
                if count == found.shape[0]:
                    return count, leaf - first + 1
    return count, stop - first


@kernel(_nrt=False)
def find_in_boxes(
    columns, names, root, boxes, lowest, children, x, y, z, least, limit, squares, stack, low, zeros, found
):
    """The same by a tree, which begins at node root; zeros are found's squares as a list has them.

    Of a node's children that with the lowest index is looked at first, so that soon few others can have a lower one.
    """
    nodes, last, zero = boxes.shape[0], farthest(found), zeros.dtype.type(0)
    for i in range(found.shape[0]):
        zeros[i], found[i] = zero, LAST
    count, top, stack[0], low[0] = 0, 1, root, 0
    while top:
        top -= 1
        node = stack[top]
        if low[top] >= found[last]:
            continue
        if node < nodes:
            hits, base = boxes_within(boxes, node * 6 * WIDE, x, y, z, squares, limit), top
            while hits:
                i = first_bit(hits)
                hits &= hits - 1
                index, at = lowest[node, i], top
                if index < found[last]:
                    while at > base and low[at - 1] < index:
                        stack[at], low[at] = stack[at - 1], low[at - 1]
                        at -= 1
                    stack[at], low[at] = children[node] + i, index
                    top += 1
            continue
        leaf = node - nodes
        hits = points_within(columns, leaf * 3 * WIDE, x, y, z, squares, limit)
        while hits:
            i = first_bit(hits)
            hits &= hits - 1
            if (squares[i] >= least or squares[i] == 0) and names[leaf, i] < found[last]:
                replace_farthest(zeros, found, zero, names[leaf, i])
                count += 1
    sort_list(zeros, found)
    return min(count, found.shape[0])


@kernel
def find_some(
    starts, finite, points, axes, leaves, columns, names, nodes, boxes, lowest, children,
    centers, center_starts, order, stride, least, limit, missing, looked, out, turn, grain, n,
):  # fmt: skip
    stack, low, squares = np.empty(STACK, np.int64), np.empty(STACK, np.int32), np.empty(WIDE, columns.dtype)
    found, zeros = np.empty(out.shape[1], np.int32), np.empty(out.shape[1], columns.dtype)
    cloud, seen, inside = 0, 0, 0.0
    start = claim(turn, grain)
    while start < n:
        for s in range(start, min(start + grain, n)):
            place = s * stride
            while place >= center_starts[cloud + 1]:
                cloud += 1
            row, count = center_starts[cloud] + order[place], 0
            x, y, z = centers[row, 0], centers[row, 1], centers[row, 2]
            if finite[cloud] and (x - x) + (y - y) + (z - z) == 0:
                if boxes.shape[0]:
                    count = find_in_boxes(
                        columns, names, nodes[cloud], boxes, lowest, children, x, y, z, least, limit, squares, stack,
                        low, zeros, found,
                    )  # fmt: skip
                else:
                    count, size = find_in_turn(
                        columns, names, leaves[cloud], leaves[cloud + 1], x, y, z, least, limit, squares, found
                    )
                    seen, inside = seen + size, inside + count / size * (leaves[cloud + 1] - leaves[cloud])
            for i in range(out.shape[1]):
                out[row, i] = found[i] if i < count else found[0] if count else 0
            if count == 0:
                out[row, 0] = missing
        start = claim(turn, grain)
    if stride > 1:  # a trial, by one thread
        looked[0], looked[1] = seen, inside


def find_all(least, most, points, starts, centers, center_starts, missing, out):
    """Fill out (centres, size); a centre that finds none begins with `missing`."""
    if not out.size:
        return
    limit = max(
        np.nextafter(most, most.dtype.type(-math.inf)), most.dtype.type(0)
    )  # a square is below `most` if it isn't above this
    looked, count, size = np.zeros(2), len(centers), len(points)
    given, how, seen, hits = (points, starts, centers, center_starts), (least, limit, missing), 0, 0
    tried = min(TRIED, count // 8)
    if tried:
        find_where_they_lie(*given, count // tried, *how, size, looked, out, np.zeros(1, np.int64), 1, tried)
        seen, hits = looked / tried
    # A point takes a nanosecond, in leaves a quarter of it; one that is found takes a nanosecond more there.
    if seen * tried <= size and count * (0.75 * seen - hits) < LAYING_TIME * size:
        parallel_for(find_where_they_lie, count, 64, *given, 1, *how, NO_END, looked, out, cost=2 * seen)
        return
    tree = build(points, starts, "bare")
    order, _, _ = along_curves(centers, center_starts, tree.axes, curved=False)
    find_some(*tree, *given[2:], order, count // tried, *how, looked, out, np.zeros(1, np.int64), tried, tried)
    seen, inside = looked / tried  # leaves, and points in a ball, were all looked at
    if count * LEAF_TIME * seen > NODE_TIME * size + count * (SEARCH_TIME + FOUND_TIME * inside):
        tree = build(points, starts, "curved")
        order, _, _ = along_curves(centers, center_starts, tree.axes)
    parallel_for(find_some, count, 64, *tree, *given[2:], order, 1, *how, looked, out, cost=SEARCH_TIME)


def find(least, most, points, centers, out):
    """Fill out (B, M, size) with indices of the points (B, N, 3) round centers (B, M, 3) whose squares of distances are 0, or at
    least `least` and below `most`."""
    (clouds, size), count = points.shape[:2], centers.shape[1]
    find_all(
        least, most, points.reshape(-1, 3), np.arange(clouds + 1) * size, centers.reshape(-1, 3),
        np.arange(clouds + 1) * count, 0, out.reshape(clouds * count, out.shape[2]),
    )  # fmt: skip


def find_stacked(least, most, points, centers, counts, center_counts, out):
    """The same of clouds that lie behind one another, of so many points and centres; -1 begins where none is found."""
    starts, center_starts = (np.concatenate([[0], np.cumsum(c)]) for c in (counts, center_counts))
    find_all(least, most, points, starts, centers, center_starts, -1, out)
