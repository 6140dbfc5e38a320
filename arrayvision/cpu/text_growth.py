"""Regions that grow from their kernels over a map, a ring of pixels at a time: a queue, as in any breadth-first search.

One thread: each pixel's region depends on which was there first. What may still be reached is a map with a border of
pixels that may not, so that no pixel's neighbours lie outside.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.prefetch import AHEAD, prefetch

SPAN = 16  # most of a map has no label: so many pixels are passed over at a time


@kernel(inline="always")
def all_are(flat, pixel, label):
    """Whether SPAN pixels have a label."""
    other, first = np.int32(0), np.uint64(pixel)
    for x in range(np.uint64(SPAN)):
        other |= flat[first + x] ^ label
    return other == 0


@kernel
def find_runs(labels, counts, runs):
    """Fill `runs` with the first pixel of each run of one label in a row, its end and its row; how many there are, of which there may
    be no room for some. Each label's pixels are added to `counts`."""
    flat, columns, count, none = labels.reshape(-1), labels.shape[1], 0, np.int32(0)
    for y in range(labels.shape[0]):
        pixel, end = y * columns, (y + 1) * columns
        while pixel < end:
            if pixel + SPAN <= end and all_are(flat, pixel, none):
                pixel += SPAN
                continue
            while pixel < end and flat[pixel] == 0:
                pixel += 1
            if pixel == end:
                break
            start, label = pixel, flat[pixel]
            while pixel + SPAN <= end and all_are(flat, pixel, label):
                pixel += SPAN
            while pixel < end and flat[pixel] == label:
                pixel += 1
            counts[label] += pixel - start
            if count < runs.shape[0]:
                runs[count, 0], runs[count, 1], runs[count, 2] = start, pixel, y
            count += 1
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
def expand_alike(embedding, runs, centers, limit, contour, free, out, queue):
    """Reach, from the labels' contours, pixels whose squared distance to the label's mean is below `limit`."""
    width, columns, size = free.shape[1], out.shape[1], embedding.shape[2]
    left, labels, numbers, count = free.reshape(-1), out.reshape(-1), embedding.reshape(-1), 0
    seeds, vectors = contour.reshape(-1), embedding.reshape(-1, size)
    for r in range(runs.shape[0]):
        by = width + 1 + 2 * runs[r, 2]
        for pixel in range(runs[r, 0], runs[r, 1]):
            queue[count, 0], queue[count, 1] = pixel + by, pixel
            count += seeds[pixel]
    head = 0
    while head < count:
        place, pixel = queue[head, 0], queue[head, 1]
        head += 1
        label, soon = labels[pixel], np.int64(queue[min(head + AHEAD, count - 1), 1])
        prefetch(vectors, soon - columns)
        prefetch(vectors, soon + columns)
        center = centers[label]
        for by, move in ((-1, -1), (1, 1), (-width, -columns), (width, columns)):
            if left[place + by]:
                first, distance = np.uint64((pixel + move) * size), 0.0
                if size == 4:  # as published models have it
                    v, w = center[0] - numbers[first], center[1] - numbers[first + np.uint64(1)]
                    y, z = center[2] - numbers[first + np.uint64(2)], center[3] - numbers[first + np.uint64(3)]
                    distance = v * v + w * w + y * y + z * z
                else:
                    for d in range(size):
                        apart = center[d] - numbers[first + np.uint64(d)]
                        distance += apart * apart
                near = distance < limit  # without a branch, which would be predicted wrong as often as not
                left[place + by] = not near
                labels[pixel + move] = label if near else 0
                queue[count, 0], queue[count, 1] = place + by, pixel + move
                count += near


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
    if found > len(runs):
        areas[:], runs = 0, np.empty((found, 3), np.int32)
        find_runs(labels, areas, runs)
    return areas, runs[:found]


def _room(labels):
    """The map of what may be reached, and the queue, with room for one that isn't kept."""
    h, w = labels.shape
    return np.empty((h + 2, w + 2), np.bool_), np.empty((h * w + 1, 2), np.int32)


def expand(mask, labels, count, least, grow, out):
    """Fill out (H, W): labels (H, W) below `count` that have `least` pixels or more, grown over the mask if wanted."""
    free, queue = _room(labels)
    areas, runs = _runs(labels, count)
    begin(labels, mask, out, free)
    if least > 1:
        leave_out(areas, least, mask, runs, out, free)
    if grow:
        expand_all(runs, free, out, queue)


def group(embedding, mask, labels, contour, count, limit, out):
    """Fill out (H, W): labels (H, W) below `count`, grown over the mask to pixels whose embeddings are alike."""
    free, queue = _room(labels)
    areas, runs = _runs(labels, count)
    centers = np.zeros((count, embedding.shape[2]))
    mean_embeddings(embedding, labels, runs, areas, centers)
    begin(labels, mask, out, free)
    expand_alike(embedding, runs, centers, limit, contour, free, out, queue)


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
