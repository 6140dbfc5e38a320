"""Non-maximum suppression of axis-aligned boxes; its cost follows what overlaps, not the square of the count.

1. Order by falling score (radix sort); with labels, then by label: each label's boxes are one segment.
2. In a segment, the first `FIRST` kept boxes each strike out, in one vectorised sweep, all that they overlap too much.
3. Few survivors go on like that; many are put into strips (`cpu/strips.py`), where a kept box of width w meets only boxes
   whose centre is near enough: with an IoU above t, centres are within w * max(1 - t, (1/t - 1) / 2) of each other in x
   (and in y likewise), and within half the sum of the widths.

`owner[i]`, for the i-th box by score, is `ALIVE` or the rank of the kept box that struck it first.
"""

import numpy as np

from arrayvision.array import scalar
from arrayvision.cpu import kernel
from arrayvision.cpu.order import bits, by_falling_score, by_label
from arrayvision.cpu.strips import build, first_not_below
from arrayvision.cpu.threads import claim, parallel_for

ALIVE = np.int32(2**31 - 1)
FIRST, FEW = 64, 1500


@kernel
def all_alive(n):
    """Owners of boxes that none has struck yet."""
    owner = np.empty(n, np.int32)
    for i in range(n):
        owner[i] = ALIVE
    return owner


@kernel
def strike(owner, x1, y1, x2, y2, area, i, a, b, c, d, own, threshold, offset):
    """Strike out boxes whose IoU with box i (a, b, c, d, of area `own`) exceeds the threshold."""
    zero = own - own
    for j in range(owner.shape[0]):
        w = max(min(c, x2[j]) - max(a, x1[j]) + offset, zero)
        h = max(min(d, y2[j]) - max(b, y1[j]) + offset, zero)
        inter = w * h
        owner[j] = min(owner[j], i if inter / (own + area[j] - inter) > threshold else ALIVE)


@kernel
def sweep(owner, columns, threshold, offset, most):
    """Strike out box by box until `most` are kept. Returns how many are, and where it stopped."""
    x1, y1, x2, y2, area = columns[0], columns[1], columns[2], columns[3], columns[4]
    n, kept, i = owner.shape[0], 0, 0
    while i < n and kept < most:
        if owner[i] == ALIVE:
            kept += 1
            if area[i] > 0:  # else not finite or of no extent
                j = i + 1
                strike(
                    owner[j:], x1[j:], y1[j:], x2[j:], y2[j:], area[j:],
                    np.int32(i), x1[i], y1[i], x2[i], y2[i], area[i], threshold, offset,
                )  # fmt: skip
        i += 1
    return kept, i


@kernel
def sweep_strips(owner, columns, threshold, offset, most, unsigned):
    """The same, by strips; every box here has an area."""
    x1, y1, x2, y2, area = columns[0], columns[1], columns[2], columns[3], columns[4]
    n, one = owner.shape[0], area.dtype.type(1)
    half, slack, tiny = one / 2, area.dtype.type(1.0001), area.dtype.type(1e-6)
    cx, cy, w, h = np.empty_like(x1), np.empty_like(x1), np.empty_like(x1), np.empty_like(x1)
    for i in range(n):
        cx[i], cy[i] = x1[i] * half + x2[i] * half, y1[i] * half + y2[i] * half
        w[i], h[i] = x2[i] - x1[i] + offset, y2[i] - y1[i] + offset
    order, centres, starts, low, high, longest, groups, stand, broadest, sizes = build(cx, cy, w, h, unsigned)
    position, local, moved = np.empty(n, np.int32), all_alive(n), np.empty_like(columns)
    for k in range(n):
        position[order[k]] = k
        for row in range(5):
            moved[row, k] = columns[row, order[k]]
    u1, v1, u2, v2, areas = moved[0], moved[1], moved[2], moved[3], moved[4]
    reach = max(one - threshold, (one / max(threshold, tiny) - one) * half) * slack
    kept, i = 0, 0
    while i < n and kept < most:
        if local[position[i]] == ALIVE:
            kept += 1
            local[position[i]] = -1  # kept: it meets itself below
            blur = 4 * tiny * max(abs(cx[i]), abs(cy[i]), w[i], h[i])
            for g in range(sizes.shape[0]):
                # an IoU is at most the quotient of the widths, and of the heights
                if sizes[g, 1] * slack < threshold * w[i] or w[i] * slack < threshold * sizes[g, 0]:
                    continue
                if sizes[g, 3] * slack < threshold * h[i] or h[i] * slack < threshold * sizes[g, 2]:
                    continue
                along, length = (cy[i], h[i]) if stand[g] else (cx[i], w[i])
                across, breadth = (cx[i], w[i]) if stand[g] else (cy[i], h[i])
                far = min(breadth * reach, (breadth + broadest[g]) * half * slack) + blur
                stop = groups[g + 1]
                s = first_not_below(high, groups[g], stop, across - far)
                while s < stop and low[s] <= across + far:
                    near = min(length * reach, (length + longest[s]) * half * slack) + blur
                    p = first_not_below(centres, starts[s], starts[s + 1], along - near)
                    q = first_not_below(centres, p, starts[s + 1], along + near + blur)
                    strike(
                        local[p:q], u1[p:q], v1[p:q], u2[p:q], v2[p:q], areas[p:q],
                        np.int32(i), x1[i], y1[i], x2[i], y2[i], area[i], threshold, offset,
                    )  # fmt: skip
                    s += 1
        i += 1
    for k in range(n):
        owner[order[k]] = ALIVE if local[k] == -1 else local[k]
    return kept, i


@kernel
def suppress(owner, columns, threshold, offset, most, unsigned):
    """Set `owner` (all ALIVE before) for boxes in falling score, until `most` are kept; returns where it stopped."""
    n, area = owner.shape[0], columns[4]
    kept, at = sweep(owner, columns, threshold, offset, min(most, FIRST))
    if at == n or kept == most:
        return at
    left = np.empty(n - at, np.int32)
    loners, m = 0, 0
    for i in range(at, n):
        if owner[i] == ALIVE:
            if area[i] > 0:
                left[m] = i
                m += 1
            else:
                loners += 1
    most = n if most >= n or loners else most - kept  # loners are counted by the caller, in their order
    packed = np.empty((5, m), columns.dtype)
    for row in range(5):
        for k in range(m):
            packed[row, k] = columns[row, left[k]]
    inner = all_alive(np.int64(m))
    if m < FEW:
        _, stop = sweep(inner, packed, threshold, offset, most)
    else:
        _, stop = sweep_strips(inner, packed, threshold, offset, most, unsigned)
    for k in range(stop):
        if inner[k] != ALIVE:
            owner[left[k]] = left[inner[k]]
    return n if stop == m else left[stop]


@kernel
def columns_of(boxes, order, offset):
    """x1, y1, x2, y2 and area of boxes in this order, a row each; the area is NaN where it isn't finite or no side is
    positive: such a box overlaps nothing."""
    columns = np.empty((5, order.shape[0]), boxes.dtype)
    for k in range(order.shape[0]):
        i = order[k]
        a, b, c, d = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        w, h = c - a + offset, d - b + offset
        own = w * h
        columns[0, k], columns[1, k], columns[2, k], columns[3, k] = a, b, c, d
        columns[4, k] = own if w > 0 and h > 0 and own > 0 and own - own == 0 else np.nan
    return columns


@kernel
def kept_by_score(boxes, score_bits, least, filtered, threshold, offset, most):
    """The kept boxes' indices, all in one call: without labels there is one segment, and nothing to share."""
    order, m = by_falling_score(score_bits, least, filtered)
    owner = all_alive(m)
    columns = columns_of(boxes, order[:m], offset)
    if m < FEW:
        _, stop = sweep(owner, columns, threshold, offset, most)
    else:
        stop = suppress(owner, columns, threshold, offset, most, score_bits[:0])
    keep, kept = np.empty(m, np.int64), 0
    for k in range(stop):
        if owner[k] == ALIVE and kept < most:
            keep[kept] = order[k]
            kept += 1
    return keep[:kept]


@kernel
def segments(labels, order):
    """The order sorted by label, and where each label's segment starts (the count last)."""
    order = by_label(labels, order.copy())
    starts, count = np.empty(order.shape[0] + 1, np.int64), 0
    for k in range(order.shape[0]):
        if k == 0 or labels[order[k]] != labels[order[k - 1]]:
            starts[count] = k
            count += 1
    starts[count] = order.shape[0]
    return order, starts[: count + 1]


@kernel
def suppress_segments(boxes, order, starts, threshold, offset, most, unsigned, owner, turn, grain, n):
    """Set `owner` (all ALIVE before) in each segment, its ranks counted from the segment's start; -1 where `most` were
    kept before."""
    start = claim(turn, grain)
    while start < n:
        for s in range(start, min(start + grain, n)):
            a, b = starts[s], starts[s + 1]
            stop = suppress(owner[a:b], columns_of(boxes, order[a:b], offset), threshold, offset, most, unsigned)
            owner[a + stop : b] = -1
        start = claim(turn, grain)


def in_segments(boxes, order, starts, threshold, offset, most, unsigned):
    """`suppress_segments` in threads."""
    kind, count, n = boxes.dtype.type, len(order), len(starts) - 1
    owner, each = np.full(count, ALIVE, np.int32), 100 * count / max(n, 1)
    args = boxes, order, starts, scalar(threshold, kind), kind(offset), most, unsigned[:0], owner
    parallel_for(suppress_segments, n, max(1, int(50_000 / max(each, 1))), *args, cost=each)
    return owner


@kernel
def emit(order, grouped, owner, size, most):
    """Those of `order` (of `size` indices) that are kept, the first `most`; `owner` is in the order of `grouped`."""
    kept, keep, count = np.zeros(size, np.uint8), np.empty(min(order.shape[0], most), np.int64), 0
    for k in range(grouped.shape[0]):
        kept[grouped[k]] = owner[k] == ALIVE
    for k in range(order.shape[0]):
        if kept[order[k]] and count < most:
            keep[count] = order[k]
            count += 1
    return keep[:count].copy()


@kernel
def take_rows(boxes, scores, keep, dets, inds):
    """dets[k] = the box keep[k] and its score; inds[k] = keep[k]."""
    width = boxes.shape[1]
    for k in range(keep.shape[0]):
        i = keep[k]
        for c in range(width):
            dets[k, c] = boxes[i, c]
        dets[k, width] = scores[i]
        inds[k] = i


ALL = 2**62


def nms(boxes, scores, labels, threshold, offset, score_threshold, max_num):
    """Indices of the kept boxes by falling score. `score_threshold` None filters nothing; `max_num` -1 keeps all."""
    kind, unsigned = boxes.dtype.type, bits(scores)
    most = ALL if max_num < 0 else max_num
    filtered = score_threshold is not None
    least = bits(scalar(score_threshold, kind)) if filtered else unsigned.dtype.type(0)
    if labels is None:
        return kept_by_score(boxes, unsigned, least, filtered, scalar(threshold, kind), kind(offset), most)
    order, count = by_falling_score(unsigned, least, filtered)
    order = order[:count]
    grouped, starts = segments(labels, order)
    owner = in_segments(boxes, grouped, starts, threshold, offset, most, unsigned)
    return emit(order, grouped, owner, len(boxes), most)


def match(boxes, scores, threshold):
    """Groups of a kept box and those it suppressed, by score: (members of all groups in turn, each group's length)."""
    unsigned = bits(scores)
    order, count = by_falling_score(unsigned, unsigned.dtype.type(0), False)
    order = order[:count]
    return group(order, in_segments(boxes, order, np.array([0, count]), threshold, 0, ALL, unsigned))


@kernel
def group(order, owner):
    """Members of each kept box's group, itself first, then by score; and the groups' lengths."""
    n, groups = order.shape[0], 0
    number, lengths = np.empty(n, np.int64), np.zeros(n, np.int64)
    for k in range(n):
        if owner[k] == ALIVE:
            number[k] = groups
            groups += 1
        else:
            number[k] = number[owner[k]]
        lengths[number[k]] += 1
    ends, total = np.empty(groups, np.int64), 0
    for g in range(groups):
        ends[g] = total
        total += lengths[g]
    members = np.empty(n, np.int64)
    for k in range(n):
        members[ends[number[k]]] = order[k]
        ends[number[k]] += 1
    return members, lengths[:groups].copy()


def falling(scores):
    """Indices by falling score, NaN last."""
    unsigned = bits(scores)
    return by_falling_score(unsigned, unsigned.dtype.type(0), False)[0].astype(np.int64)
