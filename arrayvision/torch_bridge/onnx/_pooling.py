"""Pooling of regions: ONNX's own operator where there is one, else samples that are gathered."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from arrayvision.torch_bridge.onnx._table import choose, count, greatest, node, number, translation


def rows_of(features: Tensor) -> Tensor:
    """The pixels of maps (B, C, H, W) as rows (B * H * W, C)."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])


def sample(features: Tensor, batch: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Bilinear samples (..., C) of maps (B, C, H, W) at points: the border's up to one pixel outside, then 0."""
    height, width = number(features.shape[2], y), number(features.shape[3], x)
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = choose(inside, y, 0), choose(inside, x, 0)
    y, x = torch.minimum(y.clamp(min=0), height - 1), torch.minimum(x.clamp(min=0), width - 1)
    top, left = y.floor(), x.floor()
    bottom, right = torch.minimum(top + 1, height - 1), torch.minimum(left + 1, width - 1)
    fy, fx = (y - top)[..., None], (x - left)[..., None]
    rows, start = rows_of(features), batch * features.shape[2]

    def at(v, u):
        return rows[(start + v.long()) * features.shape[3] + u.long()]

    above = (1 - fx) * at(top, left) + fx * at(top, right)
    below = (1 - fx) * at(bottom, left) + fx * at(bottom, right)
    return ((1 - fy) * above + fy * below) * inside[..., None].to(features.dtype)


def split(extent: Tensor, bins: int, ratio: int):
    """Where samples lie within a bin, as shares of it (K, M); which of them there are, None for all; and how many (K,)."""
    if ratio > 0:
        shares = ((count(ratio, extent) + 0.5) / ratio).to(extent.dtype)
        return shares[None], None, torch.full_like(extent, ratio)
    found = (extent / bins).ceil().clamp(min=0)
    found = choose(torch.isfinite(found), found, 0)
    steps = count(greatest(found), extent).to(extent.dtype)
    return (steps + 0.5) / found.clamp(min=1)[:, None], steps < found[:, None], found


def pool(features, batch, y, x, there, counts, mode="avg"):
    """(K, C, bins along y, along x) from samples at points that broadcast to (K, bins, M, bins, N), M and N in each bin.

    `there` says which of the (K, M) and the (K, N) there are, `counts` how many.
    """
    values = sample(features, batch[:, None, None, None, None], *torch.broadcast_tensors(y, x))
    rows = None if there[0] is None else there[0][:, None, :, None, None, None] & there[1][:, None, None, None, :, None]
    if mode == "max":
        if rows is None:
            return values.amax((2, 4)).permute(0, 3, 1, 2)
        values = choose(rows, values, -torch.inf).amax((2, 4))
        some = (counts[0] * counts[1] > 0)[:, None, None, None]
        return choose(some, values, 0).permute(0, 3, 1, 2)
    if rows is not None:
        values = values * rows.to(values.dtype)
    total = (counts[0] * counts[1]).clamp(min=1)[:, None, None, None]
    return (values.sum((2, 4)) / total).permute(0, 3, 1, 2)


def _or_nan(pooled, rois):
    """NaN where a region isn't finite."""
    return choose(torch.isfinite(rois).all(1)[:, None, None, None], pooled, torch.nan)


def _whole(batch):
    return choose(torch.isfinite(batch), batch, 0).long()


def _bins(count_, like):
    return count(count_, like).to(like.dtype)


def _upright(rois, scale, aligned):
    corners = rois[:, 1:] * scale - (0.5 if aligned else 0.0)
    x1, y1, x2, y2 = corners.unbind(1)
    width, height = x2 - x1, y2 - y1
    if not aligned:
        width, height = width.clamp(min=1), height.clamp(min=1)
    return x1, y1, width, height


def _along(start, extent, bins, ratio):
    """Positions (K, bins, M) along an axis, which there are, and how many."""
    shares, there, counts = split(extent, bins, ratio)
    at = start[:, None, None] + (_bins(bins, extent)[:, None] + shares[:, None]) * (extent / bins)[:, None, None]
    return at, there, counts


@translation("roi_align", "RoiAlign")
def roi_align(input, rois, size, scale, ratio, aligned):
    attributes = dict(
        coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
        mode="avg", output_height=size[0], output_width=size[1], sampling_ratio=ratio, spatial_scale=scale,
    )  # fmt: skip
    shape = rois.shape[0], input.shape[1], *size
    return node("RoiAlign", (input, rois[:, 1:].to(input.dtype), rois[:, 0].long()), attributes, shape)


def no_choice(pooled):
    """What a selecting operator says about its samples, which only a gradient asks for: none of them."""
    return torch.full_like(pooled, -1, dtype=torch.int32)


@translation("roi_align_max", "gathered samples, ReduceMax (runtimes differ in what RoiAlign's maximum is of)")
def roi_align_max(input, rois, size, scale, ratio, aligned):
    x1, y1, width, height = _upright(rois, scale, aligned)
    y, rows, ny = _along(y1, height, size[0], ratio)
    x, columns, nx = _along(x1, width, size[1], ratio)
    batch = _whole(rois[:, 0])
    found = pool(
        input, batch, y[:, :, :, None, None], x[:, None, None], (rows, columns), (ny, nx), "max"
    )  # fmt: skip
    found = _or_nan(found, rois)
    return found, no_choice(found)


@translation("deform_roi_pool", "gathered samples")
def deform_roi_pool(input, offset, rois, size, scale, ratio, gamma):
    x1, y1, width, height = _upright(rois, scale, True)
    y, rows, ny = _along(y1, height, size[0], ratio)
    x, columns, nx = _along(x1, width, size[1], ratio)
    y, x = y[:, :, :, None, None], x[:, None, None]
    if offset is not None:
        moved = offset * gamma
        y = y + (moved[:, 1] * height[:, None, None])[:, :, None, :, None]
        x = x + (moved[:, 0] * width[:, None, None])[:, :, None, :, None]
    return _or_nan(pool(input, _whole(rois[:, 0]), y, x, (rows, columns), (ny, nx)), rois)


def _turned(input, rois, size, scale, ratio, aligned, clockwise):
    centre, extent = rois[:, 1:3] * scale, rois[:, 3:5] * scale
    if aligned:
        centre = centre - 0.5
    else:
        extent = extent.clamp(min=1)
    width, height = extent[:, 0], extent[:, 1]
    v, rows, ny = _along(-height / 2, height, size[0], ratio)
    u, columns, nx = _along(-width / 2, width, size[1], ratio)
    angle = -rois[:, 5] if clockwise else rois[:, 5]
    v, u = v[:, :, :, None, None], u[:, None, None]
    cos, sin, cx, cy = (t[:, None, None, None, None] for t in (angle.cos(), angle.sin(), centre[:, 0], centre[:, 1]))
    y, x = cy + v * cos - u * sin, cx + u * cos + v * sin
    return _or_nan(pool(input, _whole(rois[:, 0]), y, x, (rows, columns), (ny, nx)), rois)


@translation("roi_align_rotated", "gathered samples")
def roi_align_rotated(input, rois, size, scale, ratio, aligned, clockwise):
    return _turned(input, rois, size, scale, ratio, aligned, clockwise)


@translation("riroi_align_rotated", "gathered samples, and a product that turns the orientations")
def riroi_align_rotated(input, rois, size, scale, ratio, orientations, clockwise):
    pooled = _turned(input, rois, size, scale, ratio, False, clockwise)
    turns = rois[:, 5] / (2 * math.pi) * orientations
    turns = choose(torch.isfinite(turns), turns, 0)
    whole = turns.floor()
    share = (turns - whole)[:, None, None]
    number_ = _bins(orientations, turns)
    source = number_[:, None] - whole[:, None, None]  # (K, to, from): which orientation each comes of
    source = source - (source / orientations).floor() * orientations
    following = choose(source + 1 >= orientations, 0, source + 1)
    weights = (1 - share) * (source == number_).to(turns.dtype) + share * (following == number_).to(turns.dtype)
    groups = pooled.reshape(pooled.shape[0], -1, orientations, size[0] * size[1])
    return (weights[:, None] @ groups).reshape(pooled.shape)


@translation("bezier_align", "gathered samples")
def bezier_align(input, beziers, size, scale, ratio, aligned):
    points = (beziers[:, 1:] * scale).reshape(-1, 8, 2)
    upper, lower = points[:, :4], points[:, 4:].flip(1)
    t = _bins(size[1], points) / size[1]
    powers = torch.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3], 1)
    down = (_bins(size[0], points) / size[0])[None, :, None, None]
    at = (1 - down) * (powers @ upper)[:, None] + down * (powers @ lower)[:, None] - (0.5 if aligned else 0.0)
    extent = torch.maximum((upper[:, 0] - upper[:, 3]).abs(), (lower[:, 0] - lower[:, 3]).abs())
    if not aligned:
        extent = extent.clamp(min=1)
    width, height = extent[:, 0], extent[:, 1]
    (v, rows, ny), (u, columns, nx) = split(height, size[0], ratio), split(width, size[1], ratio)
    y = at[:, :, None, :, None, 1] + ((v - 0.5) * (height / size[0])[:, None])[:, None, :, None, None]
    x = at[:, :, None, :, None, 0] + ((u - 0.5) * (width / size[1])[:, None])[:, None, None, None]
    return _or_nan(pool(input, _whole(beziers[:, 0]), y, x, (rows, columns), (ny, nx)), beziers)


@translation("roi_pool", "gathered pixels, ReduceMax")
def roi_pool(input, rois, size, scale):
    finite = torch.isfinite(rois).all(1)
    x1, y1, x2, y2 = choose(finite[:, None], rois[:, 1:], 0).unbind(1)
    batch, found = _whole(rois[:, 0]), []
    for start, end, bins, length in ((y1, y2, size[0], input.shape[2]), (x1, x2, size[1], input.shape[3])):
        begin, extent = start * scale, (end + 1) * scale - start * scale
        step, k = (extent / bins)[:, None], _bins(bins, extent)
        limit = number(length, extent)
        low = torch.minimum((begin[:, None] + k * step).floor().clamp(min=0), limit)
        high = torch.minimum((begin[:, None] + (k + 1) * step).ceil().clamp(min=0), limit)
        at = low[:, :, None] + count(greatest(high - low), low).to(low.dtype)
        found.append((torch.minimum(at, limit - 1), at < high[:, :, None], extent > 0))
    (y, rows, tall), (x, columns, wide) = found
    flat = ((batch * input.shape[2])[:, None, None] + y.long())[:, :, :, None, None] * input.shape[3]
    values = rows_of(input)[flat + x.long()[:, None, None]]
    there = (rows[:, :, :, None, None] & columns[:, None, None])[..., None]
    there = there & (tall & wide)[:, None, None, None, None, None]
    values = choose(there, values, -torch.inf).amax((2, 4))
    some = there.any(4).any(2)
    pooled = choose(some, values, 0).permute(0, 3, 1, 2)
    pooled = choose(finite[:, None, None, None], pooled, torch.nan)
    return pooled, no_choice(pooled)


@translation("border_align", "gathered samples, ReduceMax")
def border_align(input, boxes, steps):
    batch, channels = input.shape[0], input.shape[1] // 4
    x1, y1, x2, y2 = boxes[:, :, None].unbind(3)
    t = _bins(steps + 1, boxes)
    sides = ((x1, y1, x2, y1), (x1, y1, x1, y2), (x2, y2, x1, y2), (x2, y2, x2, y1))
    y = torch.stack([q + (s - q) * t / steps for _, q, _, s in sides], 2)
    x = torch.stack([p + (r - p) * t / steps for p, _, r, _ in sides], 2)
    maps = input.reshape(-1, channels, input.shape[2], input.shape[3])
    which = count(batch, input)[:, None, None, None] * 4 + count(4, input)[:, None]
    values = sample(maps, which, y, x)
    pooled = values.amax(3).permute(0, 3, 1, 2)
    return pooled, no_choice(pooled)


@translation("rotated_feature_align", "gathered samples")
def rotated_feature_align(input, boxes, scale, points):
    cy, cx, width, height = (boxes[..., :4] * scale).unbind(-1)
    cos, sin = boxes[..., 4].cos(), boxes[..., 4].sin()
    halves = [(p * width / 2, q * height / 2) for p, q in ((0, 0), (1, 1), (-1, 1), (-1, -1), (1, -1))[:points]]
    y = torch.stack([cy + v * cos + u * sin for u, v in halves], -1)
    x = torch.stack([cx + u * cos - v * sin for u, v in halves], -1)
    values = sample(input, count(input.shape[0], boxes)[:, None, None, None], y, x)
    return input + values.sum(3).permute(0, 3, 1, 2)


def _shares(start, step, bins, length):
    """The integrals (K, bins, length) of each pixel's hat function over bins."""
    k = _bins(bins, start)
    low = (start[:, None] + k * step[:, None])[..., None]
    high = low + step[:, None, None]
    pixel = count(length, start).to(start.dtype)

    def up_to(t):  # the integral of the hat function at 0 up to t
        t = t.clamp(-1, 1)
        return choose(t < 0, (t + 1) ** 2 / 2, 1 - (1 - t) ** 2 / 2)

    return up_to(high - pixel) - up_to(low - pixel)


@translation("prroi_pool", "products with the integrals of each pixel's share, MatMul")
def prroi_pool(features, rois, size, scale):
    x1, y1, x2, y2 = (rois[:, 1:] * scale).unbind(1)
    height, width = (y2 - y1) / size[0], (x2 - x1) / size[1]
    rows = _shares(y1, height, size[0], features.shape[2])
    columns = _shares(x1, width, size[1], features.shape[3])
    maps = features[_whole(rois[:, 0])]
    sums = (rows[:, None] @ maps) @ columns[:, None].transpose(2, 3)
    area, fine = height * width, (height > 0) & (width > 0)
    fine, area = fine[:, None, None, None], choose(fine, area, 1)[:, None, None, None]
    return _or_nan(choose(fine, sums / area, 0), rois)
