"""A tree of boxes over points, without pointers: what is near a point is found without looking at all.

Points are split at medians of their longest side, or put along a Z curve, down to leaves of `LEAF` of them. A node has `WIDE`
children, nodes or leaves, whose boxes one vector pass compares with a query, as another does with a leaf's points. A
node also knows the lowest index of its points, so that clouds of equal points are searched as fast as others.

Several clouds are one `Tree`: the points of cloud b are those from ``starts[b]`` to ``starts[b + 1]``. Squares of distances
are summed in the order of the coordinates, and a box's own square is never greater than that of a point in it, roundings
included: what is found is to the bit what a plain loop finds. Points that aren't finite are in no leaf.

Inner loops, and what is inlined into them, are compiled without counting references (`_nrt`): Numba would do so wherever an
array gets another name, which took longer than the searching.
"""

import math
from typing import NamedTuple

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.morton import arrange, coordinate
from arrayvision.cpu.order import sort_pairs
from arrayvision.cpu.threads import claim, parallel_for
from arrayvision.cpu.vectors import WIDE, boxes_within, first_bit, nearest_box, points_within, within

LEAF = WIDE
BINS = 256  # of a side, in which a median is looked for
LAST = 2**31 - 1  # the index of no point: after all others
HEAP = 32  # lists of more neighbours are heaps
STACK = 8 * WIDE  # nodes that wait: at most WIDE a level, of which 2**31 points have no more


class Tree(NamedTuple):
    """Clouds of points (points, D), as `build` makes them. Boxes are along three axes, the longest where there are more.

    Nodes of all clouds are numbered, and then leaves; a cloud's root is its first node.
    """

    starts: np.ndarray  # (clouds + 1,) where each cloud's points begin
    finite: np.ndarray  # (clouds,) how many of them are in leaves
    order: np.ndarray  # (points,) the indices of a cloud's points in leaves, in order, and then of the others, rising
    axes: np.ndarray  # (clouds, 3) of the boxes, rising; beyond D for one that isn't there, along which all is 0
    leaves: np.ndarray  # (clouds + 1,) where each cloud's leaves begin
    columns: np.ndarray  # (leaves, max(D, 3), LEAF) coordinates, infinite where a leaf has fewer points
    names: np.ndarray  # (leaves, LEAF) the points' indices, LAST there
    nodes: np.ndarray  # (clouds + 1,) where each cloud's nodes begin
    boxes: np.ndarray  # (nodes, 6, WIDE) least and greatest coordinates of a node's children
    lowest: np.ndarray  # (nodes, WIDE) the lowest index of each child's points
    children: np.ndarray  # (nodes,) the number of a node's first child, a node or a leaf


# ---- building ----------------------------------------------------------------------------------------------------------
@kernel(_nrt=False)
def finite_first(points, starts, order, finite, turn, grain, n):
    """Fill order with the rows of each cloud's points: first those that are finite, and finite with how many these are."""
    columns = points.shape[1]
    start = claim(turn, grain)
    while start < n:
        for cloud in range(start, min(start + grain, n)):
            own, rows = points[starts[cloud] : starts[cloud + 1]], order[starts[cloud] : starts[cloud + 1]]
            count, out = 0, rows.shape[0]
            for i in range(own.shape[0]):
                total = points.dtype.type(0)
                for c in range(columns):
                    total += own[i, c] - own[i, c]
                if total == 0:
                    rows[count] = i
                    count += 1
                else:
                    out -= 1
                    rows[out] = i
            last = rows.shape[0] - 1
            for i in range((last + 1 - count) // 2):  # they were written from the end
                rows[count + i], rows[last - i] = rows[last - i], rows[count + i]
            finite[cloud] = count
        start = claim(turn, grain)


@kernel
def longest_axes(points, starts, order, finite, axes, turn, grain, n):
    """Fill axes with the three columns in which each cloud's points extend farthest, rising."""
    columns = points.shape[1]
    sides = np.empty(columns, points.dtype)
    start = claim(turn, grain)
    while start < n:
        for cloud in range(start, min(start + grain, n)):
            begin = starts[cloud]
            own, inside = points[begin : starts[cloud + 1]], order[begin : begin + finite[cloud]]
            for c in range(columns):
                low, high = points.dtype.type(math.inf), points.dtype.type(-math.inf)
                for i in range(inside.shape[0]):
                    low, high = min(low, own[inside[i], c]), max(high, own[inside[i], c])
                sides[c] = max(high - low, 0)
            for k in range(3):
                best = 0
                for c in range(columns):
                    if sides[c] > sides[best]:
                        best = c
                axes[cloud, k], sides[best] = best, -1
            for k in (0, 1, 0):
                if axes[cloud, k] > axes[cloud, k + 1]:
                    axes[cloud, k], axes[cloud, k + 1] = axes[cloud, k + 1], axes[cloud, k]
        start = claim(turn, grain)


@kernel
def arrange_some(points, starts, axes, order, finite, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        for cloud in range(start, min(start + grain, n)):
            first = starts[cloud]
            arrange(points[first : starts[cloud + 1]], axes[cloud], order[first : first + finite[cloud]])
        start = claim(turn, grain)


def along_curves(points, starts, axes=None, curved=True):
    """The order (points,) of each cloud's points along a Z curve, those that aren't finite behind; how many are (clouds,); and
    the three axes (clouds, 3) that the curve is along: those given, or the longest.

    Cloud b's points are those from ``starts[b]`` to ``starts[b + 1]``. Not `curved`, the order is that of the indices.
    """
    clouds = len(starts) - 1
    order, finite = np.empty(len(points), np.int32), np.empty(clouds, np.int64)
    each = len(points) // max(clouds, 1)
    parallel_for(finite_first, clouds, 1, points, starts, order, finite, cost=each)
    if axes is None:
        axes = np.tile(np.arange(3), (clouds, 1))
        if points.shape[1] > 3:
            parallel_for(longest_axes, clouds, 1, points, starts, order, finite, axes, cost=points.shape[1] * each)
    if curved:
        parallel_for(arrange_some, clouds, 1, points, starts, axes, order, finite, cost=15 * each)
    return order, finite, axes


@kernel(inline="always")
def nth(values, n):
    """The n-th least of values, which it rearranges (C. Hoare's selection)."""
    left, right = 0, values.shape[0] - 1
    while left < right:
        pivot = values[(left + right) >> 1]
        i, j = left, right
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if n <= j:
            right = j
        elif n >= i:
            left = i
        else:
            break
    return values[n]


@kernel
def split(x, order):
    """Split points x (N, 3) at medians down to leaves, by sorting order, stable within leaves and halves.

    The left half of a node has a power of two of leaves, all full. A median is looked for in the one of BINS in which it is.
    """
    stack = np.empty((64, 2), np.int64)
    stack[0, 0], stack[0, 1] = 0, order.shape[0]
    counts, spare, values = np.empty(BINS, np.int64), np.empty_like(order), np.empty(order.shape[0], x.dtype)
    top = 1
    while top:
        top -= 1
        first, stop = stack[top, 0], stack[top, 1]
        if stop - first <= LEAF:
            continue
        own = order[first:stop]
        x0, y0, z0 = x[own[0], 0], x[own[0], 1], x[own[0], 2]
        x1, y1, z1 = x0, y0, z0
        for i in range(own.shape[0]):
            k = own[i]
            x0, y0, z0 = min(x0, x[k, 0]), min(y0, x[k, 1]), min(z0, x[k, 2])
            x1, y1, z1 = max(x1, x[k, 0]), max(y1, x[k, 1]), max(z1, x[k, 2])
        axis, low, side = 0, x0, x1 - x0
        if y1 - y0 > side:
            axis, low, side = 1, y0, y1 - y0
        if z1 - z0 > side:
            axis, low, side = 2, z0, z1 - z0
        scale = x.dtype.type(BINS - 1) / side
        if not 0 < scale < math.inf:  # all are equal, or as far apart as floats can be
            continue
        half = LEAF
        while 2 * half < stop - first:
            half *= 2
        for b in range(BINS):
            counts[b] = 0
        for i in range(own.shape[0]):
            counts[np.int64((x[own[i], axis] - low) * scale)] += 1
        before = b = 0
        while before + counts[b] < half:
            before += counts[b]
            b += 1
        some = 0
        for i in range(own.shape[0]):
            value = x[own[i], axis]
            values[some] = value
            some += 1 if np.int64((value - low) * scale) == b else 0
        median = nth(values[:some], half - before - 1)
        equal = half - before  # points equal to the median that go left
        for i in range(some):
            equal -= 1 if values[i] < median else 0
        left, right = 0, half
        for i in range(own.shape[0]):
            value = x[own[i], axis]
            goes = value < median
            if value == median and equal > 0:
                goes, equal = True, equal - 1
            spare[left if goes else right] = own[i]
            left += 1 if goes else 0
            right += 0 if goes else 1
        for i in range(own.shape[0]):
            own[i] = spare[i]
        stack[top, 0], stack[top, 1] = first, first + half
        stack[top + 1, 0], stack[top + 1, 1] = first + half, stop
        top += 2


@kernel(inline="always")
def enclose(columns, names, axes, first_leaf, count, end, boxes, lowest, children):
    """Fill a cloud's nodes, which end before `end`, from its leaves: `count` from first_leaf on."""
    infinite = boxes.dtype.type(math.inf)
    below, leaves = boxes.shape[0] + first_leaf, True  # the first child of the level that is built
    while True:
        size = -(-count // WIDE)
        first = end - size
        for child in range(size * WIDE):
            x0 = y0 = z0 = infinite
            x1 = y1 = z1 = -infinite
            least = LAST
            if child < count and leaves:
                k = first_leaf + child
                for i in range(LEAF):
                    if names[k, i] == LAST:
                        break
                    x, y, z = columns[k, axes[0], i], columns[k, axes[1], i], columns[k, axes[2], i]
                    x0, y0, z0, x1, y1, z1 = min(x0, x), min(y0, y), min(z0, z), max(x1, x), max(y1, y), max(z1, z)
                    least = min(least, np.int64(names[k, i]))
            elif child < count:
                k = below + child
                for i in range(WIDE):
                    x0, y0, z0 = min(x0, boxes[k, 0, i]), min(y0, boxes[k, 1, i]), min(z0, boxes[k, 2, i])
                    x1, y1, z1 = max(x1, boxes[k, 3, i]), max(y1, boxes[k, 4, i]), max(z1, boxes[k, 5, i])
                    least = min(least, np.int64(lowest[k, i]))
            node, i = first + child // WIDE, child % WIDE
            boxes[node, 0, i], boxes[node, 1, i], boxes[node, 2, i] = x0, y0, z0
            boxes[node, 3, i], boxes[node, 4, i], boxes[node, 5, i] = x1, y1, z1
            lowest[node, i] = least
            if i == 0:
                children[node] = below + child
        if size == 1:
            break
        below, end, count, leaves = first, first, size, False


@kernel(inline="always")
def halve(points, axes, order):
    """Split the points that order names, along three axes, down to leaves, by sorting order."""
    count = order.shape[0]
    x, place, names = np.empty((count, 3), points.dtype), np.empty(count, np.int32), np.empty(count, np.int32)
    for i in range(count):
        place[i], names[i] = i, order[i]
        for k in range(3):
            x[i, k] = coordinate(points, order[i], axes[k])
    split(x, place)
    for i in range(count):
        order[i] = names[place[i]]


@kernel
def halve_some(points, starts, finite, order, axes, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        for cloud in range(start, min(start + grain, n)):
            first = starts[cloud]
            halve(points[first : starts[cloud + 1]], axes[cloud], order[first : first + finite[cloud]])
        start = claim(turn, grain)


@kernel(_nrt=False)
def fill_leaves(points, starts, finite, order, leaves, columns, names, turn, grain, n):
    cloud = 0
    start = claim(turn, grain)
    while start < n:
        for leaf in range(start, min(start + grain, n)):
            while leaf >= leaves[cloud + 1]:
                cloud += 1
            first = (leaf - leaves[cloud]) * LEAF
            begin = starts[cloud]
            own, inside = points[begin : starts[cloud + 1]], order[begin : begin + finite[cloud]]
            for i in range(LEAF):
                filled = first + i < inside.shape[0]
                names[leaf, i] = inside[first + i] if filled else LAST
                for c in range(columns.shape[1]):
                    columns[leaf, c, i] = coordinate(own, inside[first + i], c) if filled else math.inf
        start = claim(turn, grain)


@kernel(_nrt=False)
def enclose_some(axes, leaves, columns, names, nodes, boxes, lowest, children, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        for cloud in range(start, min(start + grain, n)):
            first, count = leaves[cloud], leaves[cloud + 1] - leaves[cloud]
            if count:
                enclose(columns, names, axes[cloud], first, count, nodes[cloud + 1], boxes, lowest, children)
        start = claim(turn, grain)


def build(points, starts, how="halved"):
    """The `Tree` of clouds: of points (points, D), those of cloud b from ``starts[b]`` to ``starts[b + 1]``.

    Leaves are "halved", of points that are near one another; or "curved", of points that follow one another on a curve: these
    are built in a third of the time, and their boxes are larger. A "bare" tree has no nodes, and its leaves are in the order of
    the indices: all are looked at, which is sooner done where there are few points, or few queries.
    """
    clouds, dimensions = len(starts) - 1, points.shape[1]
    leaves, nodes = np.zeros(clouds + 1, np.int64), np.zeros(clouds + 1, np.int64)
    for b in range(clouds):
        size = -(-int(starts[b + 1] - starts[b]) // LEAF)
        leaves[b + 1], nodes[b + 1] = leaves[b] + size, nodes[b]
        while size and how != "bare":
            size = -(-size // WIDE)
            nodes[b + 1] += size
            if size == 1:
                break
    order, finite, axes = along_curves(points, starts, curved=how == "curved")
    tree = Tree(
        starts, finite, order, axes,
        leaves, np.empty((leaves[-1], max(dimensions, 3), LEAF), points.dtype), np.empty((leaves[-1], LEAF), np.int32),
        nodes, np.empty((nodes[-1], 6, WIDE), points.dtype), np.empty((nodes[-1], WIDE), np.int32),
        np.empty(nodes[-1], np.int64),
    )  # fmt: skip
    each = len(points) // max(clouds, 1)
    if how == "halved":
        parallel_for(halve_some, clouds, 1, points, starts, finite, order, axes, cost=50 * each)
    parallel_for(fill_leaves, leaves[-1], 256, points, starts, finite, order, leaves, tree.columns, tree.names, cost=80)
    if how != "bare":
        parallel_for(enclose_some, clouds, 1, axes, *tree[4:], cost=2 * each)
    return tree


# ---- lists of neighbours -----------------------------------------------------------------------------------------------
# A list is two arrays: squares of distances, and indices. Of equal squares the lower index is nearer. Up to `HEAP` it is
# sorted; a longer one is a heap, whose farthest is at 0, until `sort_list`.
@kernel(inline="always")
def nearer(d, i, e, j):
    return d < e or (d == e and i < j)


@kernel(inline="always")
def farthest(index):
    """Where a list's farthest is."""
    return index.shape[0] - 1 if index.shape[0] <= HEAP else 0


@kernel(_nrt=False)
def sink(squares, index, size, d, i):
    """Put (d, i) in the place of a heap's farthest."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and nearer(squares[child], index[child], squares[child + 1], index[child + 1]):
            child += 1
        if not nearer(d, i, squares[child], index[child]):
            break
        squares[at], index[at] = squares[child], index[child]
        at = child
    squares[at], index[at] = d, i


@kernel(inline="always")
def replace_farthest(squares, index, d, i):
    """Put (d, i), which is nearer than a list's farthest, in its place."""
    size = squares.shape[0]
    if size > HEAP:
        sink(squares, index, size, d, i)
    else:
        at = size - 1
        while at > 0 and squares[at - 1] > d:
            squares[at], index[at] = squares[at - 1], index[at - 1]
            at -= 1
        while at > 0 and squares[at - 1] == d and index[at - 1] > i:
            squares[at], index[at] = squares[at - 1], index[at - 1]
            at -= 1
        squares[at], index[at] = d, i


@kernel(inline="always")
def sort_list(squares, index):
    """Sort a list."""
    if squares.shape[0] > HEAP:
        for size in range(squares.shape[0] - 1, 0, -1):
            d, i = squares[size], index[size]
            squares[size], index[size] = squares[0], index[0]
            sink(squares, index, size, d, i)


@kernel(inline="always")
def fill(squares, index, points, seen):
    """Give the places of a sorted list (k,) that are infinitely far the lowest indices that are not in it, or 0 where there are
    no so many points; seen (k,) is room for booleans."""
    size, i = squares.shape[0], 0
    for k in range(size):
        seen[k] = False
    for k in range(size):
        if squares[k] < math.inf and index[k] < size:
            seen[index[k]] = True
    for k in range(size):
        if squares[k] == math.inf:
            while seen[i]:
                i += 1
            index[k] = i if i < points else 0
            i += 1


# ---- searching ---------------------------------------------------------------------------------------------------------
@kernel(inline="always")
def visit_leaf(columns, names, leaf, query, found, near, last, squares):
    """Put the points of a leaf that are nearer than a list's farthest, which is at last, into it."""
    size = columns.shape[1]
    hits = points_within(columns, leaf * size * LEAF, query[0], query[1], query[2], squares, found[last])
    if size > 3:
        for c in range(3, size):
            q = query[c]
            for i in range(LEAF):
                d = columns[leaf, c, i] - q
                squares[i] += d * d
        hits = within(squares, found[last])
    while hits:
        i = first_bit(hits)
        hits &= hits - 1
        if nearer(squares[i], names[leaf, i], found[last], near[last]):
            replace_farthest(found, near, squares[i], names[leaf, i])


@kernel(inline="always")
def wait(stack, far, low, base, top, node, square, least):
    """Put a child on the stack among those from base on, the nearest on top."""
    at = top
    while at > base and nearer(far[at - 1], low[at - 1], square, least):
        stack[at], far[at], low[at] = stack[at - 1], far[at - 1], low[at - 1]
        at -= 1
    stack[at], far[at], low[at] = node, square, least


@kernel(_nrt=False)
def find_homes(queries, query_starts, finite, axes, leaves, nodes, boxes, children, homes, order, turn, grain, n):
    """Fill homes with the number of the leaf in which each query would itself lie, and order with 0, 1, ... Where there is none
    (no nodes, no points, no finite query) it is the cloud's first leaf."""
    leaf, cloud = boxes.shape[0], 0
    start = claim(turn, grain)
    while start < n:
        for row in range(start, min(start + grain, n)):
            while row >= query_starts[cloud + 1]:
                cloud += 1
            x, y = coordinate(queries, row, axes[cloud, 0]), coordinate(queries, row, axes[cloud, 1])
            z, home = coordinate(queries, row, axes[cloud, 2]), leaf + leaves[cloud]
            if leaf and finite[cloud] and (x - x) + (y - y) + (z - z) == 0:
                home = nodes[cloud]
                while home < leaf:
                    home = children[home] + nearest_box(boxes, home * 6 * WIDE, x, y, z)
            homes[row], order[row] = home, row
        start = claim(turn, grain)


@kernel(_nrt=False)
def search_block(
    start, stop, starts, finite, axes, leaves, columns, names, nodes, boxes, lowest, children,
    queries, query_starts, homes, order, found, near, stack, low, far, squares, query, own, whose, seen,
):  # fmt: skip
    size, dimensions, leaf = found.shape[1], queries.shape[1], boxes.shape[0]
    last, cloud, infinite = farthest(whose), 0, found.dtype.type(math.inf)
    for s in range(start, stop):
        row, total = order[s], found.dtype.type(0)
        while row >= query_starts[cloud + 1]:
            cloud += 1
        for c in range(dimensions):
            query[c] = queries[row, c]
            total += query[c] - query[c]
        for i in range(size):
            own[i], whose[i] = infinite, LAST
        inside, count = finite[cloud], starts[cloud + 1] - starts[cloud]
        if inside and total == 0:  # else all are infinitely far
            # It begins at home, where points show how far to look for others. Where there are no nodes, it visits all leaves.
            x, y, z = query[axes[cloud, 0]], query[axes[cloud, 1]], query[axes[cloud, 2]]
            top, stack[0], far[0], low[0] = 1 if leaf else 0, nodes[cloud], 0, -1
            node = home = np.int64(homes[s])
            while node >= leaf:
                visit_leaf(columns, names, node - leaf, query, own, whose, last, squares)
                if leaf == 0:
                    node = node + 1 if node + 1 < leaves[cloud + 1] else -1
                    continue
                node = -1
                while top and node < leaf:
                    top -= 1
                    node = stack[top]
                    if node == home or not nearer(far[top], low[top], own[last], whose[last]):
                        node = -1
                    elif node < leaf:
                        hits, base = boxes_within(boxes, node * 6 * WIDE, x, y, z, squares, own[last]), top
                        while hits:
                            i = first_bit(hits)
                            hits &= hits - 1
                            wait(stack, far, low, base, top, children[node] + i, squares[i], lowest[node, i])
                            top += 1
        sort_list(own, whose)
        if own[size - 1] == infinite:
            fill(own, whose, count, seen)
        for i in range(size):
            found[row, i], near[row, i] = own[i], whose[i]


@kernel
def search_some(
    starts, finite, axes, leaves, columns, names, nodes, boxes, lowest, children,
    queries, query_starts, homes, order, found, near, turn, grain, n,
):  # fmt: skip
    stack, low = np.empty(STACK, np.int64), np.empty(STACK, np.int32)
    far, squares = np.empty(STACK, found.dtype), np.empty(WIDE, found.dtype)
    query = np.zeros(max(queries.shape[1], 3), found.dtype)
    own, whose = np.empty(found.shape[1], found.dtype), np.empty(found.shape[1], np.int32)
    seen = np.empty(found.shape[1], np.bool_)
    start = claim(turn, grain)
    while start < n:
        search_block(
            start, min(start + grain, n), starts, finite, axes, leaves, columns, names, nodes, boxes, lowest, children,
            queries, query_starts, homes, order, found, near, stack, low, far, squares, query, own, whose, seen,
        )  # fmt: skip
        start = claim(turn, grain)


def search(tree, queries, starts, found, near):
    """Fill found and near (queries, k) with squares of distances to, and indices of, each query's k nearest points.

    The queries of cloud b are those from ``starts[b]`` to ``starts[b + 1]``. Where a cloud has fewer points, the missing ones
    are infinitely far and have index 0. Queries that would lie in one leaf are searched for one after the other.
    """
    homes, order = np.empty(len(queries), np.uint32), np.empty(len(queries), np.int32)
    parallel_for(
        find_homes, len(queries), 1024, queries, starts, tree.finite, tree.axes, tree.leaves, tree.nodes, tree.boxes,
        tree.children, homes, order, cost=40,
    )  # fmt: skip
    homes, order = sort_pairs(homes, order, (len(tree.boxes) + len(tree.names)).bit_length())
    cost = 200 + 60 * found.shape[1]
    parallel_for(
        search_some, len(queries), 256, tree.starts, tree.finite, *tree[3:], queries, starts, homes, order, found, near,
        cost=cost,
    )  # fmt: skip
