"""Regions that grow from their kernels over a map, a ring of pixels at a time: a queue, as in any breadth-first search.

One thread: each pixel's region depends on which was there first. What may still be reached is a map with a border of
pixels that may not, so that no pixel's neighbours lie outside.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.prefetch import AHEAD, prefetch
from arrayvision.cpu.vectors import changes, first_bit, four_near

SPAN = 64  # pixels that are compared with those before them at a time
SOON = 64  # pixels of the queue whose neighbours' embeddings are compared before labels go on


@kernel
def find_runs(labels, counts, runs):
    """Fill `runs` with the first pixel of each run of one label in a row, its end and its row; how many there are. The last of `runs`
    is for what isn't kept: background, and runs for which there is no room. Each label's pixels are added to `counts`."""
    flat, columns, count, room = labels.reshape(-1), labels.shape[1], 0, runs.shape[0] - 1
    for y in range(labels.shape[0] if columns else 0):
        start, end = y * columns, (y + 1) * columns
        label, pixel = flat[start], start + 1
        while pixel <= end:
            step = min(SPAN, end - pixel)
            if step == SPAN:
                bits = changes(flat, pixel)
            elif columns > SPAN and step:
                bits = changes(flat, end - SPAN) >> np.uint64(SPAN - step)
            else:
                bits = np.uint64(0)
                for k in range(step):
                    bits |= np.uint64(flat[pixel + k] != flat[pixel + k - 1]) << np.uint64(k)
            last = step < SPAN  # of the row, where a run ends too
            bits |= np.uint64(last) << np.uint64(step)
            while bits:
                stop = pixel + first_bit(np.int64(bits))
                bits &= bits - np.uint64(1)
                some, at = label != 0, min(count, room)
                counts[label] += (stop - start) * some
                runs[at, 0], runs[at, 1], runs[at, 2] = start, stop, y
                count += some
                start, label = stop, flat[min(stop, flat.shape[0] - 1)]
            pixel += step + last
    return count


@kernel
def begin(labels, mask, out, free):
    """Labels into out (H, W), and into free (H + 2, W + 2) where the mask is and no label."""
    for x in range(free.shape[1]):
        free[0, x] = free[-1, x] = False
    for y in range(labels.shape[0]):
        own, kept, row, allowed = labels[y], out[y], free[y + 1], mask[y]
        row[0] = row[row.shape[0] - 1] = False
        inner = row[1:]
        for x in range(own.shape[0]):
            kept[x] = own[x]
            inner[x] = (own[x] == 0) & allowed[x]


@kernel
def leave_out(areas, least, mask, runs, out, free):
    """Take labels of fewer than `least` pixels away again."""
    for r in range(runs.shape[0]):
        y = runs[r, 2]
        start, size = runs[r, 0] - y * out.shape[1], runs[r, 1] - runs[r, 0]
        if areas[out[y, start]] < least:
            own, inner, allowed = out[y, start:], free[y + 1, start + 1 :], mask[y, start:]
            for x in range(size):
                own[x], inner[x] = 0, allowed[x]


@kernel
def expand_all(runs, free, out, queue):
    """Reach all that can be reached from any labelled pixel."""
    width, columns = free.shape[1], out.shape[1]
    left, labels, count = free.reshape(-1), out.reshape(-1), 0
    for r in range(runs.shape[0]):
        by = width + 1 + 2 * runs[r, 2]
        for pixel in range(runs[r, 0], runs[r, 1]):
            place = pixel + by
            queue[count, 0], queue[count, 1] = place, pixel
            beside = left[place - width] | left[place + width] | left[place - 1] | left[place + 1]
            count += beside & (labels[pixel] > 0)
    head = 0
    while head < count:
        place, pixel = queue[head, 0], queue[head, 1]
        head += 1
        label = labels[pixel]
        for by, move in ((-width, -columns), (width, columns), (-1, -1), (1, 1)):
            if left[place + by]:
                left[place + by] = False
                labels[pixel + move] = label
                queue[count, 0], queue[count, 1] = place + by, pixel + move
                count += 1


@kernel
def mean_embeddings(embedding, labels, runs, areas, centers):
    """The mean embedding of each label's pixels, a run of them at a time; NaN for a label without any."""
    flat, vectors = labels.reshape(-1), embedding.reshape(-1, embedding.shape[2])
    for r in range(runs.shape[0]):
        label, run, d = flat[runs[r, 0]], vectors[runs[r, 0] : runs[r, 1]], 0
        while d + 4 <= run.shape[1]:  # four sums, of which none waits for another
            a = b = c = e = 0.0
            for k in range(run.shape[0]):
                a += run[k, d]
                b += run[k, d + 1]
                c += run[k, d + 2]
                e += run[k, d + 3]
            centers[label, d] += a
            centers[label, d + 1] += b
            centers[label, d + 2] += c
            centers[label, d + 3] += e
            d += 4
        while d < run.shape[1]:
            total = 0.0
            for k in range(run.shape[0]):
                total += run[k, d]
            centers[label, d] += total
            d += 1
    for label in range(centers.shape[0]):
        for d in range(centers.shape[1]):
            centers[label, d] /= areas[label]


@kernel
def begin_alike(labels, mask, state):
    """Labels into state (H + 2, W + 2), 0 where the mask is and no label, and else -1."""
    none = np.int32(-1)
    for x in range(state.shape[1]):
        state[0, x] = state[-1, x] = none
    for y in range(labels.shape[0]):
        own, row, allowed = labels[y], state[y + 1], mask[y]
        row[0] = row[row.shape[0] - 1] = none
        inner = row[1:]
        for x in range(own.shape[0]):
            inner[x] = own[x] if own[x] != 0 or allowed[x] else none


@kernel
def expand_alike(embedding, runs, centers, limit, contour, state, queue):
    """Reach, from the labels' contours, pixels whose squared distance to the label's mean is below `limit`.

    Embeddings of all four neighbours are compared, and labels set, without a branch, which would be predicted wrong as often as
    not. A place and its pixel are one number, so that a step is a sum; where the pixel's would be negative, the place comes out
    one less, in the border above the first row still.
    """
    width, columns, size = state.shape[1], contour.shape[1], embedding.shape[2]
    labels, numbers, seeds = state.reshape(-1), embedding.reshape(-1), contour.reshape(-1)
    vectors, head, count = embedding.reshape(-1, size), 0, 0
    low, last, bits = 2**32 - 1, vectors.shape[0] - 1, np.empty(SOON, np.int32)
    beside, below = (1 << 32) + 1, (width << 32) + columns
    for r in range(runs.shape[0]):
        by = width + 1 + 2 * np.int64(runs[r, 2])
        for pixel in range(runs[r, 0], runs[r, 1]):
            queue[np.uint64(count)] = ((pixel + by) << 32) + pixel
            count += seeds[pixel]
    while head < count:
        some = min(count - head, SOON)
        for k in range(some if size == 4 else 0):  # as published models have it
            entry, soon = queue[np.uint64(head + k)], queue[np.uint64(min(head + k + AHEAD, count - 1))] & low
            prefetch(vectors, soon - columns)
            prefetch(vectors, soon + columns)
            pixel, center = entry & low, centers[np.uint64(labels[np.uint64(entry >> 32)])]
            above, under = max(pixel - columns, 0), min(pixel + columns, last)
            bits[np.uint64(k)] = four_near(
                numbers, max(pixel - 1, 0) * 4, min(pixel + 1, last) * 4, above * 4, under * 4, center, limit
            )
        for k in range(some if size != 4 else 0):
            entry, near = queue[head + k], 0
            center = centers[labels[entry >> 32]]
            for step in (below, -below, beside, -beside):
                near <<= 1
                if labels[(entry + step) >> 32] == 0:
                    first, distance = ((entry + step) & low) * size, 0.0
                    for d in range(size):
                        apart = center[d] - numbers[first + d]
                        distance += apart * apart
                    near |= distance < limit
            bits[k] = near
        for k in range(some):
            entry, near = queue[np.uint64(head + k)], bits[np.uint64(k)]
            label = labels[np.uint64(entry >> 32)]
            for step in (-beside, beside, -below, below):
                there = np.uint64((entry + step) >> 32)
                taken = near & np.int32(labels[there] == 0)
                labels[there] |= label & -taken
                queue[np.uint64(count)] = entry + step
                count += taken
                near >>= 1
        head += some


@kernel
def finish(state, out):
    """The labels of state (H + 2, W + 2) into out (H, W)."""
    for y in range(out.shape[0]):
        row, inner = out[y], state[y + 1, 1:]
        for x in range(row.shape[0]):
            row[x] = max(inner[x], np.int32(0))


@kernel
def list_pixels(labels, score, runs, names, total, ends, rows):
    """The sum of scores of each label, and the names of its pixels' coordinates (x, y) from `ends` on, which moves behind them."""
    flat, scores, columns = labels.reshape(-1), score.reshape(-1), labels.shape[1]
    for r in range(runs.shape[0]):
        start, end, y = runs[r, 0], runs[r, 1], runs[r, 2]
        label, summed, name = flat[start], 0.0, names[y]
        first, own, across = ends[label], scores[start:end], names[start - y * columns :]
        part = rows[first : first + end - start]
        for k in range(part.shape[0]):
            part[k, 0], part[k, 1] = across[k], name
        a = b = c = 0.0  # four sums, as above
        for k in range(own.shape[0] // 4):
            summed += own[4 * k]
            a += own[4 * k + 1]
            b += own[4 * k + 2]
            c += own[4 * k + 3]
        for k in range(own.shape[0] // 4 * 4, own.shape[0]):
            summed += own[k]
        total[label] += (summed + a) + (b + c)
        ends[label] = first + end - start


@kernel
def name_labels(labels, names, rows):
    for y in range(labels.shape[0]):
        own, row = labels[y], rows[y]
        for x in range(own.shape[0]):
            row[x] = names[own[x]]


def _runs(labels, count):
    """The numbers of pixels of labels below `count`, and the runs of one label in a row: first pixel, end and row."""
    areas, runs = np.zeros(count, np.int64), np.empty((64 + labels.size // 16, 3), np.int32)
    found = find_runs(labels, areas, runs)  # few, unless labels are noise; pages that nobody writes to cost time too
    if found >= len(runs):
        areas[:], runs = 0, np.empty((found + 1, 3), np.int32)
        find_runs(labels, areas, runs)
    return areas, runs[:found]


def _room(labels):
    """The shape of a map with a border, and how many pixels a queue may have, with room for one that isn't kept."""
    h, w = labels.shape
    return (h + 2, w + 2), h * w + 1


def expand(mask, labels, count, least, grow, out):
    """Fill out (H, W): labels (H, W) below `count` that have `least` pixels or more, grown over the mask if wanted."""
    bordered, size = _room(labels)
    free, queue = np.empty(bordered, np.bool_), np.empty((size, 2), np.int32)
    areas, runs = _runs(labels, count)
    begin(labels, mask, out, free)
    if least > 1:
        leave_out(areas, least, mask, runs, out, free)
    if grow:
        expand_all(runs, free, out, queue)


def group(embedding, mask, labels, contour, count, limit, out):
    """Fill out (H, W): labels (H, W) below `count`, grown over the mask to pixels whose embeddings are alike."""
    bordered, size = _room(labels)
    state, queue = np.empty(bordered, np.int32), np.empty(size, np.int64)
    areas, runs = _runs(labels, count)
    centers = np.zeros((count, embedding.shape[2]))
    mean_embeddings(embedding, labels, runs, areas, centers)
    begin_alike(labels, mask, state)
    expand_alike(embedding, runs, centers, limit, contour, state, queue)
    finish(state, out)


def gather(labels, score, count, names):
    """Of labels below `count`: sums of scores, numbers of pixels, rows of two names, and where each label's rows end.

    A label's first row is to be filled in; a row for each of its pixels follows, with the names, int64, of x and of y.
    """
    total, (counts, runs) = np.zeros(count), _runs(labels, count)
    ends = np.cumsum(counts + 1) - counts
    rows = np.empty((counts.sum() + count, 2), np.int64)
    rows[ends - 1] = names[0]
    list_pixels(labels, score, runs, names, total, ends, rows)
    return total, counts, rows, ends


def name(labels, names):
    """The name, int64, of each label of a map (H, W)."""
    rows = np.empty(labels.shape, np.int64)
    name_labels(labels, names, rows)
    return rows
