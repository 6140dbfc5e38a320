"""Soft suppression of axis-aligned boxes: pick the best box, lower the scores of those it overlaps, pick the next.

For each `CHUNK` boxes the best score is kept, so a pick looks at n / CHUNK of them; the boxes near a picked one are found by
strips (`cpu/strips.py`).
"""

import numpy as np

from arrayvision.array import scalar
from arrayvision.cpu import kernel
from arrayvision.cpu.nms import columns_of, falling, segments, share_segments
from arrayvision.cpu.order import bits
from arrayvision.cpu.strips import build, first_not_below, none
from arrayvision.cpu.threads import claim

NAIVE, LINEAR, GAUSSIAN = 0, 1, 2
CHUNK = 64
FEW = 1300  # boxes in a segment from which strips pay


@kernel
def decay(scores, x1, y1, x2, y2, area, a, b, c, d, own, threshold, offset, sigma, method):
    """Multiply scores by what their boxes' IoU with (a, b, c, d) leaves of them."""
    zero, one = own - own, area.dtype.type(1)
    for j in range(scores.shape[0]):
        w = max(min(c, x2[j]) - max(a, x1[j]) + offset, zero)
        h = max(min(d, y2[j]) - max(b, y1[j]) + offset, zero)
        inter = w * h
        if inter > 0:
            iou = inter / (own + area[j] - inter)
            if method == GAUSSIAN:
                scores[j] *= np.exp(-(iou * iou) / sigma)
            elif iou > threshold:
                scores[j] *= one - iou if method == LINEAR else zero


@kernel
def best_of(scores, index, least):
    """The index of the greatest score that isn't below `least`, of the smaller index among equals; -1 without one."""
    best = -1
    for k in range(scores.shape[0]):
        s = scores[k]
        if s >= least and (best < 0 or s > scores[best] or (s == scores[best] and index[k] < index[best])):
            best = k
    return best


@kernel(forceinline=True)
def refresh(top, scores, index, least, start, stop):
    """Set `top`, each chunk's best, for the chunks in which [start, stop) lies."""
    for t in range(start // CHUNK, (stop + CHUNK - 1) // CHUNK):
        a, b = t * CHUNK, min((t + 1) * CHUNK, scores.shape[0])
        best = best_of(scores[a:b], index[a:b], least)
        top[t] = a + best if best >= 0 else -1


@kernel
def with_area_first(boxes, scores, offset):
    """Indices of boxes with an area, then of those without; those of NaN score are left out. And how many have one."""
    n = boxes.shape[0]
    index, m, last = np.empty(n, np.int32), 0, n
    for i in range(n):
        if scores[i] == scores[i]:
            w, h = boxes[i, 2] - boxes[i, 0] + offset, boxes[i, 3] - boxes[i, 1] + offset
            own = w * h
            if w > 0 and h > 0 and own > 0 and own - own == 0:
                index[m] = i
                m += 1
            else:
                last -= 1
                index[last] = i
    for i in range(last, n):
        index[m + i - last] = index[i]
    return index[: m + n - last], m


@kernel
def soften(columns, index, m, scores, strips, threshold, sigma, least, method, offset, keep, decayed):
    """Pick the best box, decay those it overlaps, pick the next ... Returns how many were picked.

    The first `m` of the columns have an area, and lie in the order of the strips if there are any; `index` says which boxes
    they are.
    """
    x1, y1, x2, y2, area = columns[0], columns[1], columns[2], columns[3], columns[4]
    _, centres, starts, low, high, longest, groups, standing, broadest, _ = strips
    count, single = index.shape[0], standing.shape[0] == 0
    half = area.dtype.type(0.5001)  # and a little more than rounding takes
    s = np.empty(count, scores.dtype)
    for k in range(count):
        s[k] = scores[index[k]]
    chunks = (count + CHUNK - 1) // CHUNK
    top = np.empty(chunks, np.int64)
    refresh(top, s, index, least, np.int64(0), np.int64(count))
    picked = 0
    while True:
        best = np.int64(-1)
        for t in range(chunks):
            k = top[t]
            if k >= 0 and (best < 0 or s[k] > s[best] or (s[k] == s[best] and index[k] < index[best])):
                best = k
        if best < 0:
            return picked
        keep[picked], decayed[picked] = index[best], s[best]
        picked += 1
        s[best] = -np.inf
        refresh(top, s, index, least, best, best + 1)
        if best >= m:
            continue
        a, b, c, d, own = x1[best], y1[best], x2[best], y2[best], area[best]
        x, y, w, h = a / 2 + c / 2, b / 2 + d / 2, c - a + offset, d - b + offset
        blur = area.dtype.type(4e-6) * max(abs(x), abs(y), w, h)
        if single:
            decay(
                s[:m], x1[:m], y1[:m], x2[:m], y2[:m], area[:m], a, b, c, d, own, threshold, offset, sigma, method
            )  # fmt: skip
            refresh(top, s, index, least, np.int64(0), np.int64(m))
        for g in range(standing.shape[0]):
            along, length = (y, h) if standing[g] else (x, w)
            across, breadth = (x, w) if standing[g] else (y, h)
            far, stop = (breadth + broadest[g]) * half + blur, groups[g + 1]
            strip = first_not_below(high, groups[g], stop, across - far)
            while strip < stop and low[strip] <= across + far:
                near = (length + longest[strip]) * half + blur
                p = first_not_below(centres, starts[strip], starts[strip + 1], along - near)
                q = first_not_below(centres, p, starts[strip + 1], along + near + blur)
                decay(
                    s[p:q], x1[p:q], y1[p:q], x2[p:q], y2[p:q], area[p:q], a, b, c, d, own,
                    threshold, offset, sigma, method,
                )  # fmt: skip
                refresh(top, s, index, least, p, q)
                strip += 1


@kernel
def soften_segments(boxes, scores, order, starts, strips, threshold, sigma, least, method, offset, keep, decayed, counts, turn, grain, n):  # fmt: skip
    """Each segment's picks, from its start on, in segments of few boxes."""
    start = claim(turn, grain)
    while start < n:
        for s in range(start, min(start + grain, n)):
            a, b = starts[s], starts[s + 1]
            if b - a < FEW:
                some, some_scores = np.empty((b - a, boxes.shape[1]), boxes.dtype), np.empty(b - a, scores.dtype)
                for k in range(b - a):
                    for c in range(boxes.shape[1]):
                        some[k, c] = boxes[order[a + k], c]
                    some_scores[k] = scores[order[a + k]]
                index, m = with_area_first(some, some_scores, offset)
                columns = columns_of(some, index, offset)
                counts[s] = soften(
                    columns,
                    index,
                    m,
                    some_scores,
                    strips,
                    threshold,
                    sigma,
                    least,
                    method,
                    offset,
                    keep[a:b],
                    decayed[a:b],
                )
                for k in range(a, a + counts[s]):
                    keep[k] = order[a + keep[k]]
        start = claim(turn, grain)


def soften_all(boxes, scores, threshold, sigma, least, method, offset, keep, decayed):
    """One segment's picks."""
    index, m = with_area_first(boxes, scores, offset)
    columns, strips = columns_of(boxes, index, offset), none(boxes.dtype)
    if m >= FEW:
        x1, y1, x2, y2, _ = columns[:, :m]
        strips = build((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1 + offset, y2 - y1 + offset)
        index[:m] = index[strips.order]
        columns = columns_of(boxes, index, offset)
    return soften(columns, index, m, scores, strips, threshold, sigma, least, method, offset, keep, decayed)


def soft_nms(boxes, scores, labels, threshold, sigma, min_score, method, offset):
    """Indices in the order of picking, and the scores they had then."""
    kind, n = boxes.dtype.type, len(boxes)
    keep, decayed = np.empty(n, np.int64), np.empty(n, boxes.dtype)
    least = scalar(max(min_score, np.finfo(kind).min), kind)  # -infinity marks those picked
    method = ("naive", "linear", "gaussian").index(method)
    how = scalar(threshold, kind), scalar(sigma, kind), least, method, kind(offset)
    if labels is None:
        count = soften_all(boxes, scores, *how, keep, decayed)
        return keep[:count], decayed[:count]
    order, starts = segments(labels, np.arange(n, dtype=np.int32), bits(scores).dtype)
    counts = np.zeros(len(starts) - 1, np.int64)

    def soften_many(s, own):
        some, picked = order[own], keep[own]
        counts[s] = soften_all(boxes[some], scores[some], *how, picked, decayed[own])
        picked[: counts[s]] = some[picked[: counts[s]]]

    share_segments(
        starts, FEW, soften_many, soften_segments, boxes, scores, order, starts, none(boxes.dtype), *how, keep, decayed, counts,
        each=1000 * n / max(len(counts), 1),
    )  # fmt: skip
    picked = np.concatenate(
        [np.arange(a, a + count) for a, count in zip(starts, counts, strict=False)] or [np.empty(0, np.int64)]
    )
    picked = picked[np.argsort(keep[picked])]
    keep, decayed = keep[picked], decayed[picked]
    order = falling(decayed)
    return keep[order], decayed[order]


@kernel
def take_picked(boxes, picked_scores, keep, dets, inds):
    """dets[k] = the box keep[k] and its picked score; inds[k] = keep[k]."""
    width = boxes.shape[1]
    for k in range(keep.shape[0]):
        for c in range(width):
            dets[k, c] = boxes[keep[k], c]
        dets[k, width] = picked_scores[k]
        inds[k] = keep[k]
