"""Non-maximum suppression of axis-aligned boxes; its cost follows what overlaps, not the square of the count.

1. Order by falling score (radix sort); with labels, then by label: each label's boxes are one segment.
2. In a segment, the first `FIRST` kept boxes each strike out, in one vectorised sweep, all that they overlap too much.
3. Few survivors go on like that; many (of one segment: `suppress_many`, in Python, so that what only many boxes need is
   compiled apart) are put into strips (`cpu/strips.py`), where a kept box of width w meets only boxes
   whose centre is near enough: with an IoU above t, centres are within w * max(1 - t, (1/t - 1) / 2) of each other in x
   (and in y likewise), and within half the sum of the widths.

`owner[i]`, for the i-th box by score, is `ALIVE` or the rank of the kept box that struck it first.
"""

import numpy as np

from arrayvision.array import scalar
from arrayvision.cpu import kernel
from arrayvision.cpu.order import bits, by_falling_score, sort_by_key
from arrayvision.cpu.strips import build, first_not_below
from arrayvision.cpu.threads import claim, parallel_for

ALIVE = np.int32(2**31 - 1)
FIRST, FEW = 64, 2200


@kernel(inline="always")
def strike(owner, x1, y1, x2, y2, area, i, a, b, c, d, own, threshold, offset):
    """Strike out boxes whose IoU with box i (a, b, c, d, of area `own`) exceeds the threshold."""
    zero = own - own
    for j in range(owner.shape[0]):
        w = max(min(c, x2[j]) - max(a, x1[j]) + offset, zero)
        h = max(min(d, y2[j]) - max(b, y1[j]) + offset, zero)
        inter = w * h
        struck = i if inter / (own + area[j] - inter) > threshold else ALIVE
        owner[j] = min(owner[j], struck)


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
def sweep_strips(owner, position, columns, cx, cy, moved, strips, threshold, offset, most):
    """The same, by strips; every box here has an area. `moved` are the columns in the strips' order, in which `owner` is,
    and in which box i is at position[i]. A kept box is its own owner. Returns where it stopped."""
    x1, y1, x2, y2, area = columns[0], columns[1], columns[2], columns[3], columns[4]
    u1, v1, u2, v2, areas = moved[0], moved[1], moved[2], moved[3], moved[4]
    _, centres, starts, low, high, longest, groups, standing, broadest, sizes = strips
    n, one = owner.shape[0], area.dtype.type(1)
    half, slack, tiny = one / 2, area.dtype.type(1.0001), area.dtype.type(1e-6)
    reach = max(one - threshold, (one / max(threshold, tiny) - one) * half) * slack
    kept, i = 0, 0
    while i < n and kept < most:
        if owner[position[i]] == ALIVE:
            kept += 1
            owner[position[i]] = i
            w, h = x2[i] - x1[i] + offset, y2[i] - y1[i] + offset
            blur = 4 * tiny * max(abs(cx[i]), abs(cy[i]), w, h)
            for g in range(sizes.shape[0]):
                # an IoU is at most the quotient of the widths, and of the heights
                if sizes[g, 1] * slack < threshold * w or w * slack < threshold * sizes[g, 0]:
                    continue
                if sizes[g, 3] * slack < threshold * h or h * slack < threshold * sizes[g, 2]:
                    continue
                stands = standing[g]
                along, length = (cy[i], h) if stands else (cx[i], w)
                across, breadth = (cx[i], w) if stands else (cy[i], h)
                far = min(breadth * reach, (breadth + broadest[g]) * half * slack) + blur
                stop = groups[g + 1]
                s = first_not_below(high, groups[g], stop, across - far)
                while s < stop and low[s] <= across + far:
                    near = min(length * reach, (length + longest[s]) * half * slack) + blur
                    p = first_not_below(centres, starts[s], starts[s + 1], along - near)
                    q = first_not_below(centres, p, starts[s + 1], along + near + blur)
                    strike(
                        owner[p:q], u1[p:q], v1[p:q], u2[p:q], v2[p:q], areas[p:q],
                        np.int32(i), x1[i], y1[i], x2[i], y2[i], area[i], threshold, offset,
                    )  # fmt: skip
                    s += 1
        i += 1
    return i


def suppress_many(boxes, order, threshold, offset, most, owner):
    """Set `owner` (all ALIVE before) for boxes in falling score; -1 for those after `most` were kept."""
    n, columns = len(order), columns_of(boxes, order, offset)
    kept, at = sweep(owner, columns, threshold, offset, min(most, FIRST))
    if at < n and kept < most:
        left = np.flatnonzero(owner[at:] == ALIVE) + at
        extended = columns[4, left] > 0
        loners, left = not extended.all(), left[extended]
        most = n if most >= n or loners else most - kept  # loners are counted by the caller, in their order
        columns, inner = columns.take(left, 1), np.full(len(left), ALIVE, np.int32)
        if len(left) < FEW:
            stop = sweep(inner, columns, threshold, offset, most)[1]
        else:
            x1, y1, x2, y2, _ = columns
            cx, cy = (x1 / 2 + x2 / 2), (y1 / 2 + y2 / 2)
            strips = build(cx, cy, x2 - x1 + offset, y2 - y1 + offset)
            ranks, order = np.arange(len(left), dtype=np.int32), strips.order.astype(np.int64)
            position = np.empty_like(ranks)
            position[order] = ranks
            moved = columns.take(order, 1)
            stop = sweep_strips(inner, position, columns, cx, cy, moved, strips, threshold, offset, most)
            inner = inner[position]
            inner[inner == ranks] = ALIVE
        struck = np.flatnonzero(inner[:stop] != ALIVE)
        owner[left[struck]] = left[inner[struck]]
        at = n if stop == len(left) else left[stop]
    owner[at:] = -1


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
    """The kept boxes' indices, of few boxes without labels: all in one call."""
    order, m = by_falling_score(score_bits, least, filtered)
    owner = np.empty(m, np.int32)
    for k in range(m):
        owner[k] = ALIVE
    _, stop = sweep(owner, columns_of(boxes, order[:m], offset), threshold, offset, most)
    keep, kept = np.empty(m, np.int64), 0
    for k in range(stop):
        if owner[k] == ALIVE:
            keep[kept] = order[k]
            kept += 1
    return keep[:kept]


def segments(labels, order, dtype):
    """The order sorted by label, stable, and where each label's segment starts (the count last). Keys have this unsigned
    dtype, which the scores' sort has too, unless it holds too little."""
    if not len(order):
        return order, np.zeros(1, np.int64)
    own = labels[order]
    least = own.min()
    spread = int(own.max()) - int(least)
    order = sort_by_key((own - least).astype(dtype if spread <= np.iinfo(dtype).max else np.uint64), order.copy())
    own = labels[order]
    return order, np.concatenate([[0], np.flatnonzero(own[1:] != own[:-1]) + 1, [len(own)]])


@kernel
def sweep_segments(boxes, order, starts, threshold, offset, most, owner, turn, grain, n):
    """Set `owner` (all ALIVE before) in each segment of few boxes, its ranks counted from the segment's start; -1 where
    `most` were kept before."""
    start = claim(turn, grain)
    while start < n:
        for s in range(start, min(start + grain, n)):
            a, b = starts[s], starts[s + 1]
            if b - a < FEW:
                _, stop = sweep(owner[a:b], columns_of(boxes, order[a:b], offset), threshold, offset, most)
                for k in range(a + stop, b):
                    owner[k] = -1
        start = claim(turn, grain)


def share_segments(starts, few, many, kernel, *args, each):
    """Handle segments in threads: those of fewer than `few` boxes by ``kernel(*args, ...)``, for which a segment takes `each`
    nanoseconds, and each of the others by ``many(its number, its slice of the order)``."""
    n = len(starts) - 1
    large = np.flatnonzero(np.diff(starts) >= few).tolist() if starts[-1] >= few else []
    turns = iter(large)  # each thread takes the next

    def take_large(*_):
        for s in turns:
            many(s, slice(starts[s], starts[s + 1]))

    if len(large) < n:
        parallel_for(kernel, n, max(1, int(50_000 / max(each, 1))), *args, cost=each)
    if large:
        parallel_for(take_large, len(large), 1)


def in_segments(boxes, order, starts, threshold, offset, most):
    """The owners of boxes in each segment of the order."""
    kind, count = boxes.dtype.type, len(order)
    owner, how = np.full(count, ALIVE, np.int32), (scalar(threshold, kind), kind(offset), most)
    share_segments(
        starts, FEW, lambda _, own: suppress_many(boxes, order[own], *how, owner[own]),
        sweep_segments, boxes, order, starts, *how, owner, each=100 * count / max(len(starts) - 1, 1),
    )  # fmt: skip
    return owner


def emit(order, grouped, owner, size, most):
    """Those of `order` (of `size` indices) that are kept, the first `most`; `owner` is in the order of `grouped`."""
    kept, keep = np.zeros(size, np.uint8), np.empty(min(len(order), most), np.int64)
    return keep[: emit_kept(order, grouped, owner, kept, keep)].copy()


@kernel
def emit_kept(order, grouped, owner, kept, keep):
    """Fill `keep` with `emit`; `kept` are zeros. Returns how many there are."""
    count = 0
    for k in range(grouped.shape[0]):
        kept[grouped[k]] = owner[k] == ALIVE
    for k in range(order.shape[0]):
        if kept[order[k]] and count < keep.shape[0]:
            keep[count] = order[k]
            count += 1
    return count


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
_started: set = set()  # dtypes of which few boxes were suppressed


def nms(boxes, scores, labels, threshold, offset, score_threshold, max_num):
    """Indices of the kept boxes by falling score. `score_threshold` None filters nothing; `max_num` -1 keeps all."""
    kind, unsigned = boxes.dtype.type, bits(scores)
    most = ALL if max_num < 0 else max_num
    filtered = score_threshold is not None
    least = bits(scalar(score_threshold, kind)) if filtered else unsigned.dtype.type(0)
    if labels is None and len(boxes) < FEW:
        kept = kept_by_score(boxes, unsigned, least, filtered, scalar(threshold, kind), kind(offset), most)
        if kind not in _started:
            _started.add(kind)
            if kept_by_score.stats.cache_misses:  # it was compiled: so is what many boxes need, in the same wait
                x = np.arange(2.0 * FEW, dtype=kind)
                y = np.stack([x, x, x + 1, x + 1], 1)
                x.flags.writeable = y.flags.writeable = False
                nms(y, x, None, threshold, 0, None, -1)
        return kept
    order, count = by_falling_score(unsigned, least, filtered)
    order = order[:count]
    grouped, starts = (order, np.array([0, count])) if labels is None else segments(labels, order, unsigned.dtype)
    owner = in_segments(boxes, grouped, starts, threshold, offset, most)
    return emit(order, grouped, owner, len(boxes), most)


def match(boxes, scores, threshold):
    """Groups of a kept box and those it suppressed, by score: (members of all groups in turn, each group's length)."""
    unsigned = bits(scores)
    order, count = by_falling_score(unsigned, unsigned.dtype.type(0), False)
    order = order[:count]
    return group(order, in_segments(boxes, order, np.array([0, count]), threshold, 0, ALL))


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
