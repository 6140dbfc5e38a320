"""Deformable convolution: a few columns of samples at a time, multiplied while they are in the cache.

Images lie channels-last, so a sample is a sum of four runs of channels. The columns of a block of positions, a few taps of the
filter at a time, are multiplied with those taps' weights (`products`); all columns of an image are never in memory.
"""

import math

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.bilinear import channels_last
from arrayvision.cpu.products import ROWS, lanes, panels, product, rounded
from arrayvision.cpu.roi_bins import transpose_all
from arrayvision.cpu.runs import add_scaled, blend, dots, dots_and_add
from arrayvision.cpu.threads import claim, parallel_for
from arrayvision.cpu.transposes import transpose

SUMS = {"contract", "nsz"}
BLOCK = 48  # positions
MEMORY = 16 * 2**20  # bytes for parts of gradients, which are added in the end
DEPTH = 256  # columns of a position that are multiplied at once


@kernel(fastmath=SUMS)
def places(tops, lefts, count, down, right, dy, dx, scale, height, width, index, weight, shares):
    """The four pixels round samples, and their weights; for k < count positions.

    A sample lies at (tops[k] + down + dy[k], lefts[k] + right + dx[k]) and counts scale[k] times. index (4, count) is -1 and weight
    (4, count) 0 for a pixel outside, and for all four of a sample further than a pixel outside. shares (2, count) is how far
    the sample lies from the first pixel along y and x.
    """
    one, zero = weight.dtype.type(1), weight.dtype.type(0)
    for k in range(count):
        y, x = tops[k] + down + dy[k], lefts[k] + right + dx[k]
        inside = (y > -1) & (x > -1) & (y < height) & (x < width)  # not, if it is NaN
        y, x = y if inside else -one, x if inside else -one
        top, left = np.floor(y), np.floor(x)
        fy, fx = y - top, x - left
        i, j = np.int32(top), np.int32(left)
        above, before = inside & (i >= 0), j >= 0
        below, behind = inside & (i < height - 1), j < width - 1
        p, m = i * width + j, scale[k]
        index[0, k] = p if above & before else -1
        index[1, k] = p + 1 if above & behind else -1
        index[2, k] = p + width if below & before else -1
        index[3, k] = p + width + 1 if below & behind else -1
        weight[0, k] = (one - fy) * (one - fx) * m if above & before else zero
        weight[1, k] = (one - fy) * fx * m if above & behind else zero
        weight[2, k] = fy * (one - fx) * m if below & before else zero
        weight[3, k] = fy * fx * m if below & behind else zero
        shares[0, k], shares[1, k] = fy, fx


@kernel
def sample(x, at, line, index, weight, out, to, stride, count):
    """out[to + k * stride :][:count] = the weighted sum of four rows of x, which start at x[at + index[:, k] * line]; a row of
    weight 0 doesn't count, whatever it holds."""
    for k in range(index.shape[1]):
        a, b, c, d = weight[0, k], weight[1, k], weight[2, k], weight[3, k]
        if a != 0 and b != 0 and c != 0 and d != 0:
            p, q = at + index[0, k] * line, at + index[2, k] * line
            blend(x, p, p + line, q, q + line, a, b, c, d, out, to, count)
        else:
            for i in range(count):
                out[to + i] = 0
            for corner in range(4):
                a = weight[corner, k]
                if a != 0:
                    add_scaled(x, at + index[corner, k] * line, a, out, to, count)
        to += stride


@kernel
def corners(first, count, columns, stride_y, stride_x, pad_y, pad_x, tops, lefts):
    """Where the filter's first tap lies, of `count` positions from `first` on."""
    i, j = first // columns, first % columns
    for k in range(count):
        tops[k], lefts[k] = i * stride_y - pad_y, j * stride_x - pad_x
        j += 1
        if j == columns:
            i, j = i + 1, 0


@kernel
def forward_some(x, offset, mask, masked, weights, bias, how, size, groups, depth, out, blocks, block, turn, grain, n):
    """A task for each `block` positions of an image. x (B, H * W, C), offset (B, G, K, 2, P), mask (B, G, K, P) if `masked`,
    weights (groups, panels, K, C / groups, lanes), out (B, O, P), size (H, W, columns of out)."""
    channels, (height, width, columns) = x.shape[2], size
    deform_groups, taps, positions = offset.shape[1], offset.shape[2], out.shape[2]
    kernel_width, stride_y, stride_x, pad_y, pad_x, down, right = how
    own, given, made = channels // deform_groups, channels // groups, out.shape[1] // groups
    lanes = weights.shape[4]
    wide = weights.shape[1] * lanes
    most = (block + ROWS - 1) // ROWS * ROWS
    line = depth * channels
    kind = x.dtype
    memory, sums = np.zeros(most * line, kind), np.empty(most * groups * wide, kind)
    results, pixels = sums.reshape(most, groups * wide), x.reshape(-1)
    tops, lefts, ones = np.empty(block, kind), np.empty(block, kind), np.ones(block, kind)
    index, weight, shares = np.empty((4, block), np.int32), np.empty((4, block), kind), np.empty((2, block), kind)
    flat = weights.reshape(-1)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            b, first = task // blocks, (task % blocks) * block
            last, image = min(first + block, positions), b * x.shape[1] * channels
            count = last - first
            corners(first, count, columns, stride_y, stride_x, pad_y, pad_x, tops, lefts)
            for tap in range(0, taps, depth):
                deep = min(depth, taps - tap)
                for t in range(deep):
                    for g in range(deform_groups):
                        move = offset[b, g, tap + t]
                        places(
                            tops, lefts, count, (tap + t) // kernel_width * down, (tap + t) % kernel_width * right,
                            move[0, first:last], move[1, first:last], mask[b, g, tap + t, first:last] if masked else ones,
                            height, width, index, weight, shares,
                        )  # fmt: skip
                        c = t * channels + g * own
                        sample(pixels, image + g * own, channels, index[:, :count], weight, memory, c, line, own)
                for group in range(groups):
                    for t in range(1 if groups == 1 else deep):
                        product(
                            memory, t * channels + group * given, line, 1,
                            flat, ((group * weights.shape[1] * taps) + tap + t) * given * lanes, taps * given * lanes,
                            given * (deep if groups == 1 else 1), sums, group * wide, groups * wide, count, made, tap + t > 0,
                        )  # fmt: skip
            for group in range(groups):
                for k in range(count if len(bias) else 0):
                    for o in range(made):
                        results[k, group * wide + o] += bias[group * made + o]
                transpose(
                    results[:count, group * wide : group * wide + made],
                    out[b, group * made : (group + 1) * made, first:last],
                )
        start = claim(turn, grain)


def _taps(offset, deform_groups, taps):
    b, _, h, w = offset.shape
    return offset.reshape(b, deform_groups, taps, 2, h * w)


def forward(x, last, offset, mask, weight, bias, how, groups, deform_groups, out):
    """x (B, H, W, C) if `last` else (B, C, H, W), offset (B, deform_groups * K * 2, oh, ow), mask (B, deform_groups * K, oh, ow) or None,
    weight (O, C / groups, kh, kw), bias (O,) or None, how ((stride, padding, dilation) along y and x), out (B, O, oh, ow)."""
    if not out.size:
        return
    if not last:
        x = channels_last(x)
    batch, h, w, channels = x.shape
    made, given, kh, kw = weight.shape
    positions, columns, taps = out.shape[2] * out.shape[3], out.shape[3], kh * kw
    block = min(BLOCK, positions)
    blocks = -(-positions // block)
    ordered = weight.reshape(groups, made // groups, given, taps).transpose(0, 3, 2, 1)
    packed = panels(ordered.reshape(groups, taps * given, made // groups)).reshape(
        groups, -1, taps, given, lanes(x.dtype)
    )
    masked = mask is not None
    parallel_for(
        forward_some, batch * blocks, 1,
        x.reshape(batch, h * w, channels), _taps(offset, deform_groups, taps),
        mask.reshape(batch, deform_groups, taps, positions) if masked else np.empty((1, 1, 1, 0), x.dtype), masked,
        packed, np.empty(0, x.dtype) if bias is None else bias, (kw, *how), (h, w, columns), groups,
        min(max(1, DEPTH // channels), taps), out.reshape(batch, made, positions), blocks, block,
        cost=block * taps * channels * (0.2 + made / groups * 0.02),
    )  # fmt: skip


@kernel(fastmath=SUMS)
def spread(x, at, line, index, weight, shares, scale, grad, row, columns, stride, sums, width, found):
    """What the gradients of a tap's columns, grad[k * row :][:width], say for k < count samples.

    columns[k * stride :][:width] become the columns themselves, sums (pixels, width) gets the gradient of the pixels that they
    are made of, found (3, count) is that of the samples' positions along y and x and of `scale`.
    """
    one, zero = weight.dtype.type(1), weight.dtype.type(0)
    for k in range(index.shape[1]):
        i, j, p, q = index[0, k], index[1, k], index[2, k], index[3, k]
        u, v, w, z = weight[0, k], weight[1, k], weight[2, k], weight[3, k]
        to = k * stride
        if (u != 0) & (v != 0) & (w != 0) & (z != 0):
            e, f, g, h = at + i * line, at + j * line, at + p * line, at + q * line
            a, b, c, d = dots_and_add(
                x, e, f, g, h, grad, k * row, u, v, w, z, sums, i * width, j * width, p * width, q * width, width
            )
            blend(x, e, f, g, h, u, v, w, z, columns, to, width)
        else:
            a, b, c, d = dots(
                x, at + max(i, 0) * line, at + max(j, 0) * line, at + max(p, 0) * line, at + max(q, 0) * line, grad, k * row, width
            )  # fmt: skip
            a, b, c, d = a if i >= 0 else zero, b if j >= 0 else zero, c if p >= 0 else zero, d if q >= 0 else zero
            for t in range(width):
                columns[to + t] = 0
            for corner in range(4):
                share, pixel = weight[corner, k], index[corner, k]
                if share != 0:
                    add_scaled(x, at + pixel * line, share, columns, to, width)
                    add_scaled(grad, k * row, share, sums, pixel * width, width)
        fy, fx = shares[0, k], shares[1, k]
        m = scale[k] if max(max(i, j), max(p, q)) >= 0 else zero
        found[0, k] = m * ((one - fx) * (c - a) + (fx * (d - b) if fx > 0 else zero))
        found[1, k] = m * ((one - fy) * (b - a) + (fy * (d - c) if fy > 0 else zero))
        value = (one - fy) * ((one - fx) * a + (fx * b if fx > 0 else zero))
        found[2, k] = value + (fy * ((one - fx) * c + (fx * d if fx > 0 else zero)) if fy > 0 else zero)


@kernel
def backward_some(
    grad, x, offset, mask, masked, weights, how, size, unit, tile, groups, out, found, found_weights, image, tiles, block,
    turn, grain, n,
):  # fmt: skip
    """A task for each `tile` channels of an image, from the `image`-th on. grad (B, O, P), out (B, C, H * W); the others as
    in `forward_some`, but weights (tiles, K, panels, O / groups, lanes).

    Of each task: found (tasks, K, 3, P) its part of the gradients of positions and masks, found_weights (tasks, K, channels,
    O / groups) its image's part of the gradient of its channels' weights; the last two rounded up to whole tiles of products.
    """
    channels, pixels, (height, width, columns) = x.shape[2], x.shape[1], size
    deform_groups, taps, positions = offset.shape[1], offset.shape[2], grad.shape[2]
    kernel_width, stride_y, stride_x, pad_y, pad_x, down, right = how
    own, given, made = channels // deform_groups, channels // groups, grad.shape[1] // groups
    lanes, row = weights.shape[4], weights.shape[2] * weights.shape[4]
    a_unit = tiles * unit // channels  # tiles of one
    most, stride, wide = (block + ROWS - 1) // ROWS * ROWS, found_weights.shape[2], found_weights.shape[3]
    kind = x.dtype
    given_back, of_columns, made_columns = (
        np.zeros(most * wide, kind),
        np.empty(most * row, kind),
        np.zeros(most * stride, kind),
    )
    memory = np.empty(pixels * tile, kind)
    gradients = given_back.reshape(wide // lanes, most, lanes)
    tops, lefts, ones = np.empty(block, kind), np.empty(block, kind), np.ones(block, kind)
    index, weight, shares = np.empty((4, block), np.int32), np.empty((4, block), kind), np.empty((2, block), kind)
    flat, flat_weights, flat_found = x.reshape(-1), weights.reshape(-1), found_weights.reshape(-1)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            b, t = image + task // tiles, task % tiles
            c = t // a_unit * unit + t % a_unit * tile
            many = min(tile, (t // a_unit + 1) * unit - c)
            group, deform_group = c // given, c // own
            sums = memory[: pixels * many]
            for i in range(pixels * many):
                sums[i] = 0
            for first in range(0, positions, block):
                last = min(first + block, positions)
                count = last - first
                for o in range(0, made, lanes):
                    p = group * made + o
                    transpose(
                        grad[b, p : p + min(lanes, made - o), first:last],
                        gradients[o // lanes, :count, : min(lanes, made - o)],
                    )
                corners(first, count, columns, stride_y, stride_x, pad_y, pad_x, tops, lefts)
                for tap in range(taps):
                    move = offset[b, deform_group, tap]
                    scale = mask[b, deform_group, tap, first:last] if masked else ones
                    places(
                        tops, lefts, count, tap // kernel_width * down, tap % kernel_width * right,
                        move[0, first:last], move[1, first:last], scale, height, width, index, weight, shares,
                    )  # fmt: skip
                    for o in range(0, made, lanes):
                        product(
                            given_back, o * most, lanes, 1, flat_weights, (t * taps + tap) * row * made + o * lanes, made * lanes, min(lanes, made - o),
                            of_columns, 0, row, count, many, o > 0,
                        )  # fmt: skip
                    spread(
                        flat, b * pixels * channels + c, channels, index[:, :count], weight, shares, scale,
                        of_columns, row, made_columns, stride, sums, many, found[task, tap, :, first:last],
                    )  # fmt: skip
                    product(
                        made_columns, 0, 1, stride, given_back, 0, most * lanes, count,
                        flat_found, (task * taps + tap) * stride * wide, wide, many, made, first > 0,
                    )  # fmt: skip
            transpose_all(sums.reshape(pixels, many), out[b, c : c + many])
        start = claim(turn, grain)


def _tile(batch, channels, unit, pixels):
    """How many channels a task of the gradient has: few, if there are few tasks, or if their sums would need much memory."""
    return min(unit, 64 if pixels <= 16384 and batch * (channels // unit) * -(-unit // 64) >= 8 else 32)


def backward(grad, x, last, offset, mask, weight, how, groups, deform_groups, out, out_offset, out_mask, out_weight):
    """Fill the gradients of x (as (B, C, H, W)), offset, mask (None without one) and weight; grad is (B, O, oh, ow)."""
    if not grad.size or not x.size:
        for array in (out, out_offset, out_mask, out_weight):
            if array is not None:
                array.fill(0)
        return
    if not last:
        x = channels_last(x)
    batch, h, w, channels = x.shape
    made, given, kh, kw = weight.shape
    pixels, positions, columns, taps = h * w, grad.shape[2] * grad.shape[3], grad.shape[3], kh * kw
    unit = math.gcd(channels // deform_groups, given)
    tile = _tile(batch, channels, unit, pixels)
    a_unit = -(-unit // tile)
    tiles = channels // unit * a_unit
    own = made // groups
    ordered = weight.reshape(groups, own, given, taps).transpose(0, 2, 3, 1).reshape(channels // unit, unit, taps, own)
    if unit % tile:
        ordered = np.concatenate([ordered, np.zeros((len(ordered), a_unit * tile - unit, taps, own), x.dtype)], 1)
    packed = panels(ordered.reshape(tiles, tile, taps, own).transpose(0, 2, 3, 1))
    masked = mask is not None
    mask = mask.reshape(batch, deform_groups, taps, positions) if masked else np.empty((1, 1, 1, 0), x.dtype)
    rows, wide = rounded(tile), -(-own // lanes(x.dtype)) * lanes(x.dtype)
    bytes_of_an_image = tiles * taps * (3 * positions + rows * wide) * x.itemsize
    images = max(1, min(batch, MEMORY // bytes_of_an_image))  # at a time
    found = np.empty((images * tiles, taps, 3, positions), x.dtype)
    found_weights = np.zeros((images * tiles, taps, rows, wide), x.dtype)
    total = np.zeros((tiles, taps, rows, wide), x.dtype)
    by_offset = out_offset.reshape(batch, deform_groups, taps, 2, positions)
    block = min(BLOCK, positions)
    for image in range(0, batch, images):
        some = min(images, batch - image)
        parallel_for(
            backward_some, some * tiles, 1,
            grad.reshape(batch, made, positions), x.reshape(batch, pixels, channels), _taps(offset, deform_groups, taps),
            mask, masked, packed, (kw, *how), (h, w, columns), unit, tile, groups, out.reshape(batch, channels, pixels),
            found, found_weights, image, tiles, block, cost=positions * taps * tile * (1 + own * 0.04),
        )  # fmt: skip
        with np.errstate(over="ignore", invalid="ignore"):
            parts = found[: some * tiles].reshape(some, deform_groups, -1, taps, 3, positions)
            parts = parts[:, :, 0] if parts.shape[2] == 1 else parts.sum(2)
            for part in found_weights[: some * tiles].reshape(some, *total.shape):
                total += part
        by_offset[image : image + some] = parts[:, :, :, :2]
        if masked:
            out_mask.reshape(batch, deform_groups, taps, positions)[image : image + some] = parts[:, :, :, 2]
    total = total[:, :, :tile, :own].transpose(0, 2, 1, 3).reshape(channels // unit, a_unit * tile, taps, own)[:, :unit]
    out_weight[:] = total.reshape(groups, given, taps, own).transpose(0, 3, 1, 2).reshape(out_weight.shape)


def backward_bias(grad, out):
    """Fill out (O,) with the sums of grad (B, O, oh, ow)."""
    with np.errstate(over="ignore", invalid="ignore"):
        out[:] = grad.reshape(*grad.shape[:2], grad.shape[2] * grad.shape[3]).sum(2).sum(0)
