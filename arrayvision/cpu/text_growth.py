"""Regions that grow from their kernels over a map, a ring of pixels at a time: a queue, as in any breadth-first search.

One thread: each pixel's region depends on which was there first. What may still be reached is a map with a border of
pixels that may not, so that no pixel's neighbours lie outside.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.prefetch import AHEAD, prefetch

SPAN = 16  # most of a map has no label: so many pixels are passed over at a time


@kernel
def find_runs(labels, counts, runs):
    """Fill `runs` with the first pixel of each run of one label in a row, its end and its row; how many there are. Each label's
    pixels are added to `counts`."""
    flat, columns, count = labels.reshape(-1), labels.shape[1], 0
    for y in range(labels.shape[0]):
        pixel, end = y * columns, (y + 1) * columns
        while pixel < end:
            block, some = flat[pixel : min(pixel + SPAN, end)], 0
            for x in range(block.shape[0]):
                some |= block[x]
            if some == 0:
                pixel += SPAN
                continue
            while flat[pixel] == 0:
                pixel += 1
            start, label = pixel, flat[pixel]
            while pixel < end and flat[pixel] == label:
                pixel += 1
            counts[label] += pixel - start
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
def leave_out(areas, least, mask, out, free):
    """Take labels of fewer than `least` pixels away again."""
    for y in range(out.shape[0]):
        row, inner, allowed = out[y], free[y + 1, 1:], mask[y]
        for x in range(row.shape[0]):
            if row[x] > 0 and areas[row[x]] < least:
                row[x], inner[x] = 0, allowed[x]


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
        label, run = flat[runs[r, 0]], vectors[runs[r, 0] : runs[r, 1]]
        for d in range(run.shape[1]):
            total = 0.0
            for k in range(run.shape[0]):
                total += run[k, d]
            centers[label, d] += total
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
        for by, move in ((-1, -1), (1, 1), (-width, -columns), (width, columns)):
            if left[place + by]:
                first, distance = (pixel + move) * size, 0.0
                for d in range(size):
                    apart = centers[label, d] - numbers[first + d]
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
        for k in range(own.shape[0]):
            summed += own[k]
        total[label] += summed
        ends[label] = first + end - start


@kernel
def name_labels(labels, names, rows):
    for y in range(labels.shape[0]):
        own, row = labels[y], rows[y]
        for x in range(own.shape[0]):
            row[x] = names[own[x]]


def _runs(labels, count):
    """The numbers of pixels of labels below `count`, and the runs of one label in a row: first pixel, end and row."""
    areas, runs = np.zeros(count, np.int64), np.empty((labels.size, 3), np.int32)
    return areas, runs[: find_runs(labels, areas, runs)]


def _room(labels):
    """The map of what may be reached, and the queue, with room for one that isn't kept."""
    h, w = labels.shape
    return np.empty((h + 2, w + 2), np.bool_), np.empty((h * w + 1, 2), np.int32)


def expand(mask, labels, count, least, grow, out):
    """Fill out (H, W): labels (H, W) below `count` that have `least` pixels or more, grown over the mask if wanted."""
    free, queue = _room(labels)
    areas, runs = _runs(labels, count)
    begin(labels, mask, out, free)
    if least > 1 and areas[1:].min(initial=least) < least:
        leave_out(areas, least, mask, out, free)
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
