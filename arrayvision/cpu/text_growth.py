"""Regions that grow from their kernels over a map, a ring of pixels at a time: a queue, as in any breadth-first search.

One thread: each pixel's region depends on which was there first. What may still be reached is a map with a border of
pixels that may not, so that no pixel's neighbours lie outside.
"""

import numpy as np

from arrayvision.cpu import kernel

SPAN = 16  # most of a map has no label: so many pixels are passed over at a time


@kernel
def labelled(labels, pixels):
    """Fill `pixels` with the numbers of those that have a label; how many there are."""
    flat, count = labels.reshape(-1), 0
    blocks = flat[: flat.shape[0] // SPAN * SPAN].reshape(-1, SPAN)
    for k in range(blocks.shape[0]):
        block, some = blocks[k], 0
        for x in range(SPAN):
            some |= block[x]
        if some != 0:
            for x in range(SPAN):
                pixels[count] = k * SPAN + x
                count += block[x] > 0
    for pixel in range(blocks.size, flat.shape[0]):
        pixels[count] = pixel
        count += flat[pixel] > 0
    return count


@kernel
def run_end(labels, pixels, start):
    """Where the run of one label in one stretch of pixels that begins at `start` ends."""
    label, end = labels[pixels[start]], start + 1
    while end < pixels.shape[0] and pixels[end] == pixels[end - 1] + 1 and labels[pixels[end]] == label:
        end += 1
    return end


@kernel
def count_pixels(labels, pixels, areas):
    """The number of pixels of each label."""
    flat, end = labels.reshape(-1), 0
    while end < pixels.shape[0]:
        start, end = end, run_end(flat, pixels, end)
        areas[flat[pixels[start]]] += end - start


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
def expand_all(pixels, free, out, queue):
    """Reach all that can be reached from any labelled pixel."""
    width, columns = free.shape[1], out.shape[1]
    left, labels, count = free.reshape(-1), out.reshape(-1), 0
    for k in range(pixels.shape[0]):
        pixel = pixels[k]
        place = pixel + width + 1 + 2 * (pixel // columns)
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
def mean_embeddings(embedding, labels, pixels, areas, centers):
    """The mean embedding of each label's pixels, a run of them at a time; NaN for a label without any."""
    flat, vectors, end = labels.reshape(-1), embedding.reshape(-1, embedding.shape[2]), 0
    while end < pixels.shape[0]:
        start, end = end, run_end(flat, pixels, end)
        label, run = flat[pixels[start]], vectors[pixels[start] : pixels[end - 1] + 1]
        areas[label] += end - start
        for d in range(run.shape[1]):
            total = 0.0
            for k in range(run.shape[0]):
                total += run[k, d]
            centers[label, d] += total
    for label in range(centers.shape[0]):
        for d in range(centers.shape[1]):
            centers[label, d] /= areas[label]


@kernel
def expand_alike(embedding, pixels, centers, limit, contour, free, out, queue):
    """Reach, from the labels' contours, pixels whose squared distance to the label's mean is below `limit`."""
    width, columns, size = free.shape[1], out.shape[1], embedding.shape[2]
    left, labels, numbers, count = free.reshape(-1), out.reshape(-1), embedding.reshape(-1), 0
    seeds = contour.reshape(-1)
    for k in range(pixels.shape[0]):
        pixel = pixels[k]
        queue[count, 0], queue[count, 1] = pixel + width + 1 + 2 * (pixel // columns), pixel
        count += seeds[pixel]
    head = 0
    while head < count:
        place, pixel = queue[head, 0], queue[head, 1]
        head += 1
        label = labels[pixel]
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
def list_pixels(labels, score, pixels, total, ends, points):
    """The sum of scores of each label, and its pixels' coordinates (x, y) from `ends` on, which moves behind them."""
    flat, scores, columns, end = labels.reshape(-1), score.reshape(-1), labels.shape[1], 0
    while end < pixels.shape[0]:
        start, end = end, run_end(flat, pixels, end)
        label, summed = flat[pixels[start]], 0.0
        first, pixel = ends[label], pixels[start]
        y = pixel // columns
        x, part = pixel - y * columns, points[first : first + end - start]
        for k in range(part.shape[0]):
            if x == columns:
                x, y = 0, y + 1
            part[k, 0], part[k, 1] = x, y
            summed += scores[pixel + k]
            x += 1
        total[label] += summed
        ends[label] = first + end - start


def _labelled(labels):
    """The numbers of pixels that have a label."""
    pixels = np.empty(labels.size + 1, np.int32)
    return pixels[: labelled(labels, pixels)]


def _room(labels, count):
    """Counts of pixels, the map of what may be reached, and the queue; with room for one that isn't kept."""
    h, w = labels.shape
    return np.zeros(count, np.int64), np.empty((h + 2, w + 2), np.bool_), np.empty((h * w + 1, 2), np.int32)


def expand(mask, labels, count, least, grow, out):
    """Fill out (H, W): labels (H, W) below `count` that have `least` pixels or more, grown over the mask if wanted."""
    areas, free, queue = _room(labels, count)
    pixels = _labelled(labels)
    begin(labels, mask, out, free)
    if least > 1:
        count_pixels(labels, pixels, areas)
        if areas[1:].min(initial=least) < least:
            leave_out(areas, least, mask, out, free)
    if grow:
        expand_all(pixels, free, out, queue)


def group(embedding, mask, labels, contour, count, limit, out):
    """Fill out (H, W): labels (H, W) below `count`, grown over the mask to pixels whose embeddings are alike."""
    areas, free, queue = _room(labels, count)
    pixels, centers = _labelled(labels), np.zeros((count, embedding.shape[2]))
    mean_embeddings(embedding, labels, pixels, areas, centers)
    begin(labels, mask, out, free)
    expand_alike(embedding, pixels, centers, limit, contour, free, out, queue)


def gather(labels, score, count):
    """Of labels below `count`: sums of scores, numbers of pixels, coordinates (x, y) label by label, and where each ends."""
    total, counts, pixels = np.zeros(count), np.zeros(count, np.int64), _labelled(labels)
    count_pixels(labels, pixels, counts)
    ends = np.cumsum(counts) - counts
    points = np.empty((len(pixels), 2), np.int64)
    list_pixels(labels, score, pixels, total, ends, points)
    return total, counts, points, ends
