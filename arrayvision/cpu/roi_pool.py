"""RoI pooling: maxima of whole pixels in bins whose borders are rounded outwards."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.bilinear import all_finite, by_image, channels_last, pool_nothing
from arrayvision.cpu.threads import claim, parallel_for
from arrayvision.cpu.transposes import transpose

PLANES = 8


@kernel
def clipped(value, length):
    """A float as an int within [0, length]."""
    return int(min(max(value, 0), length))


@kernel
def keep_greater(best, which, row, pixel):
    """Where a pixel is greater than the best so far (or the first NaN), it is the best."""
    for i in range(best.shape[0]):
        if not (row[i] <= best[i]) and best[i] == best[i]:
            best[i], which[i] = row[i], pixel


@kernel
def forward_some(x, rois, scale, out, which, turn, grain, n):
    height, width, channels, oh, ow = x.shape[1], x.shape[2], x.shape[3], out.shape[2], out.shape[3]
    bins, pixels = np.empty((oh * ow, channels), out.dtype), np.empty((oh * ow, channels), np.int32)
    kind, one = rois.dtype.type, rois.dtype.type(1)
    s = kind(scale)
    start = claim(turn, grain)
    while start < n:
        for r in range(start, min(start + grain, n)):
            roi = rois[r]
            if not all_finite(roi):
                out[r], which[r] = np.nan, -1
                continue
            image = x[int(roi[0])]
            x1, y1 = roi[1] * s, roi[2] * s
            w, h = (roi[3] + one) * s - x1, (roi[4] + one) * s - y1
            bins[:], pixels[:] = 0, -1
            if w > 0 and h > 0:
                bw, bh = w / kind(ow), h / kind(oh)
                for i in range(oh):
                    # In the RoI's own dtype, as everyone does: rounding outwards jumps.
                    from_y, to_y = kind(i) * bh + y1, kind(i + 1) * bh + y1
                    top, bottom = clipped(np.floor(from_y), height), clipped(np.ceil(to_y), height)
                    for j in range(ow):
                        from_x, to_x = kind(j) * bw + x1, kind(j + 1) * bw + x1
                        left, right = clipped(np.floor(from_x), width), clipped(np.ceil(to_x), width)
                        best, number = bins[i * ow + j], pixels[i * ow + j]
                        if top < bottom and left < right:
                            best[:] = image[top, left]
                            number[:] = top * width + left
                        for a in range(top, bottom):
                            for b in range(left, right):
                                keep_greater(best, number, image[a, b], np.int32(a * width + b))
            transpose(bins, out[r].reshape(channels, oh * ow))
            transpose(pixels, which[r].reshape(channels, oh * ow))
        start = claim(turn, grain)


@kernel
def backward_some(grad, which, rois, order, starts, out, blocks, turn, grain, n):
    """out (B, C, H * W); a task for each image and `PLANES` channels, whose numbers lie together in a region's gradient."""
    channels, size = out.shape[1], out.shape[2]
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, first = task // blocks, (task % blocks) * PLANES
            last = min(first + PLANES, channels)
            out[image, first:last] = 0
            for q in range(starts[image], starts[image + 1]):
                r = order[q]
                if not all_finite(rois[r]):
                    continue
                for c in range(first, last):
                    total, pixels, g = out[image, c], which[r, c], grad[r, c]
                    for k in range(g.shape[0]):
                        if pixels[k] >= 0 and pixels[k] < size:
                            total[pixels[k]] += g[k]
        start = claim(turn, grain)


def forward(x, last, rois, scale, out, which):
    """Maxima of x, (B, H, W, C) if `last` else (B, C, H, W), into out (K, C, oh, ow); `which` gets pixels, -1 for none."""
    if not out.size:
        return
    if not x.size:
        which[:] = -1
        pool_nothing(rois, out)
        return
    if not last:
        x = channels_last(x)
    each = out.shape[2] * out.shape[3] * (50 + 4 * out.shape[1])
    parallel_for(forward_some, len(rois), max(1, min(16, 50_000 // each)), x, rois, scale, out, which, cost=each)


def backward(grad, which, rois, out):
    """Fill out (B, C, H, W) with the features' gradient."""
    batch, channels, height, width = out.shape
    if not (out.size and grad.size):
        out[:] = 0
        return
    order, starts = by_image(rois, batch)
    k, _, oh, ow = grad.shape
    blocks = -(-channels // PLANES)
    each = PLANES * (height * width // 4 + k * oh * ow * 2 // batch)
    parallel_for(
        backward_some, batch * blocks, max(1, 50_000 // max(each, 1)),
        grad.reshape(k, channels, oh * ow), which.reshape(k, channels, oh * ow), rois, order, starts,
        out.reshape(batch, channels, height * width), blocks, cost=each,
    )  # fmt: skip
