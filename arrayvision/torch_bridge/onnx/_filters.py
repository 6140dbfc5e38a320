"""Convolutions, attention and what else maps are filtered by."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from arrayvision.ops.bias_act import ACTIVATIONS, SELU
from arrayvision.torch_bridge.onnx._table import choose, count, node, number, running_max, translation


def _pads(padding):
    return [*padding, *padding]


def _size(input, weight, stride, padding, dilation):
    return [
        (input.shape[2 + k] + 2 * padding[k] - dilation[k] * (weight.shape[2 + k] - 1) - 1) // stride[k] + 1
        for k in (0, 1)
    ]


def deformed(input, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups):
    attributes = dict(
        dilations=list(dilation), group=groups or 1, kernel_shape=list(weight.shape[2:]),
        offset_group=deform_groups or 1, pads=_pads(padding), strides=list(stride),
    )  # fmt: skip
    inputs = [input, weight, offset]
    if bias is not None or mask is not None:
        inputs.append(bias if bias is not None else input.new_zeros(weight.shape[0]))
    if mask is not None:
        inputs.append(mask)
    shape = input.shape[0], weight.shape[0], *_size(input, weight, stride, padding, dilation)
    return node("DeformConv", inputs, attributes, shape)


@translation("deform_conv2d", "DeformConv (opset 19 or newer)")
def deform_conv2d(input, offset, weight, stride, padding, dilation, groups, deform_groups):
    return deformed(input, offset, None, weight, None, stride, padding, dilation, groups, deform_groups)


@translation("modulated_deform_conv2d", "DeformConv (opset 19 or newer)")
def modulated_deform_conv2d(
    input, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups
):  # fmt: skip
    return deformed(input, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups)


@translation("masked_conv2d", "Conv, Mul")
def masked_conv2d(features, mask, weight, bias, padding):
    out = functional.conv2d(features, weight, bias, padding=list(padding))
    more = [2 * p - k + 1 for p, k in zip(padding, weight.shape[2:], strict=True)]
    mask = (mask > 0).to(out.dtype)[:, None]
    mask = functional.pad(mask, (0, max(more[1], 0), 0, max(more[0], 0)))
    return out * mask[:, :, : mask.shape[2] + min(more[0], 0), : mask.shape[3] + min(more[1], 0)]


@translation("corner_pool", "Gather and Max, each step twice as far")
def corner_pool(input, mode):
    return running_max(input, 2 if mode in ("top", "bottom") else 3, mode in ("top", "left"))


@translation("correlation", "Mul and ReduceSum for each displacement, Conv")
def correlation(first, second, kernel_size, max_displacement, stride, padding, dilation, dilation_patch):
    (py, px), (gy, gx), reach = padding, dilation_patch, max_displacement
    first = functional.pad(first, (px, px, py, py))
    around = functional.pad(second, (px + reach * gx, px + reach * gx, py + reach * gy, py + reach * gy))
    height, width, side = first.shape[2], first.shape[3], 2 * reach + 1
    found = [
        (first * around[:, :, v * gy : v * gy + height, u * gx : u * gx + width]).sum(1)
        for v in range(side)
        for u in range(side)
    ]
    out = torch.stack(found, 1)
    if tuple(kernel_size) != (1, 1) or tuple(stride) != (1, 1):
        ones = out.new_ones(1, 1, *kernel_size)
        rows = out.reshape(-1, 1, height, width)
        rows = functional.conv2d(rows, ones, stride=list(stride), dilation=list(dilation))
        out = rows.reshape(-1, side * side, rows.shape[2], rows.shape[3])
    return out.reshape(out.shape[0], side, side, out.shape[2], out.shape[3])


def carafe(features, masks, kernel_size, group_size, scale_factor):
    images, channels, height, width = features.shape
    r, s, groups = kernel_size // 2, scale_factor, group_size
    around = functional.pad(features, (r, r, r, r))
    masks = masks.reshape(images, groups, kernel_size * kernel_size, height, s, width, s)
    total = None
    for k in range(kernel_size * kernel_size):
        i, j = k // kernel_size, k % kernel_size
        window = around[:, :, i : i + height, j : j + width]
        window = window.reshape(images, groups, channels // groups, height, 1, width, 1)
        part = window * masks[:, :, k][:, :, None]
        total = part if total is None else total + part
    assert total is not None
    return total.reshape(images, channels, height * s, width * s)


for _name in ("carafe", "carafe_naive"):
    translation(_name, "Pad, Slice and Mul for each tap")(carafe)


@translation("criss_cross_attention", "MatMul, Softmax")
def criss_cross_attention(query, key, value):
    height = value.shape[2]
    here = count(height, query)
    alone = choose(here[:, None] == here, torch.full_like(query[0, 0, :1, 0], -torch.inf), 0.0)
    columns = query.permute(0, 3, 2, 1) @ key.permute(0, 3, 1, 2) + alone  # (N, W, H, H)
    rows = query.permute(0, 2, 3, 1) @ key.permute(0, 2, 1, 3)  # (N, H, W, W)
    energies = torch.cat([columns.transpose(1, 2), rows], -1)
    most = energies.amax(-1, keepdim=True)
    powers = (energies - most).exp()
    total = powers.sum(-1, keepdim=True)
    weights = powers / total
    out = (weights[..., :height].transpose(1, 2) @ value.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)
    out = out + (weights[..., height:] @ value.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return out, (most + total.log())[..., 0]


@translation("psa_mask", "GatherElements")
def psa_mask(input, kind, mask_size):
    height, width = input.shape[2], input.shape[3]
    rows, columns = mask_size
    y, x = count(height, input), count(width, input)
    row = (y[:, None] - y + (rows - 1) // 2)[:, None, :, None]  # (seen, ., seeing, .)
    column = (x[:, None] - x + (columns - 1) // 2)[None, :, None, :]
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    places = choose(inside, row * columns + column, 0).reshape(1, height * width, height, width)
    shape = input.shape[0], height * width, height, width
    out = input.gather(1, places.expand(shape)) * inside.reshape(1, height * width, height, width).to(input.dtype)
    if kind == "collect":
        return out
    return out.reshape(shape[0], shape[1], shape[1]).transpose(1, 2).reshape(shape)


@translation("active_rotated_filter", "ScatterElements")
def active_rotated_filter(input, indices):
    planes, inputs = input.shape[:2]
    entries, turns = math.prod(input.shape[2:]), indices.shape[3]
    shape = planes, turns, inputs, entries
    places = (indices.reshape(entries, turns).long() - 1).T[None, :, None].expand(shape)
    values = input.reshape(planes, 1, inputs, entries).expand(shape)
    out = input.new_zeros(shape).scatter(3, places, values)
    return out.reshape(planes * turns, inputs * input.shape[2], input.shape[3], input.shape[4])


@translation("tin_shift", "GatherElements")
def tin_shift(input, shift):
    frames = count(input.shape[1], input)[None, :, None] - shift.long()[:, None]
    last = number(input.shape[1], frames) - 1
    inside = (frames >= 0) & (frames <= last)
    width = input.shape[2] // shift.shape[1]
    shape = input.shape[0], input.shape[1], shift.shape[1], width
    frames = choose(inside, frames, 0)[..., None].expand(shape).reshape(*shape[:2], -1, 1, 1)
    inside = inside[..., None].expand(shape).reshape(*shape[:2], -1, 1, 1)
    return choose(inside, input.gather(1, frames.expand(input.shape)), 0)


# ---- filters and activations -------------------------------------------------------------------------------------------
def _convolved(x, filter, stride):
    """Planes (P, H, W) filtered."""
    return functional.conv2d(x[:, None], filter[None, None], stride=stride)[:, 0]


@translation("upfirdn2d", "Pad, Conv")
def upfirdn2d(input, filter, up, down, padding, flip_filter, gain):
    n, c, height, width = input.shape
    x = input.reshape(n * c, height, 1, width, 1)
    if tuple(up) != (1, 1):
        x = functional.pad(x, (0, up[0] - 1, 0, 0, 0, up[1] - 1))
    x = x.reshape(n * c, height * up[1], width * up[0])
    left, right, top, bottom = padding
    if any(p > 0 for p in padding):
        x = functional.pad(x, [max(p, 0) for p in padding])
    x = x[:, max(-top, 0) : x.shape[1] - max(-bottom, 0), max(-left, 0) : x.shape[2] - max(-right, 0)]
    if filter is None:
        x = x[:, :: down[1], :: down[0]]
    else:
        filter = filter.to(x.dtype)
        filter = filter if flip_filter else filter.flip(*range(filter.dim()))
        if filter.dim() == 2:
            x = _convolved(x, filter, (down[1], down[0]))
        else:
            x = _convolved(_convolved(x, filter[None], (1, down[0])), filter[:, None], (down[1], 1))
    x = x.reshape(n, c, x.shape[1], x.shape[2])
    return x if gain == 1 else x * gain


@translation("filtered_lrelu", "Pad, Conv, LeakyRelu")
def filtered_lrelu(input, filter_up, filter_down, bias, up, down, padding, gain, slope, clamp, flip_filter):
    x = input if bias is None else input + bias[:, None, None]
    x = upfirdn2d(x, filter_up, up, (1, 1), padding, flip_filter, up[0] * up[1])
    x = functional.leaky_relu(x, slope) * gain
    if clamp is not None and math.isfinite(clamp):
        x = x.clamp(-clamp, clamp)
    return upfirdn2d(x, filter_down, (1, 1), down, (0, 0, 0, 0), flip_filter, 1.0)


@translation("bias_act", "Add and the activation's own operator")
def bias_act(input, bias, dim, act, alpha, gain, clamp):
    t = (
        input
        if bias is None
        else input + bias.reshape([-1 if k == dim % input.dim() else 1 for k in range(input.dim())])
    )
    slope, usual = ACTIVATIONS[act]
    slope, gain = slope if alpha is None else alpha, usual if gain is None else gain
    if act == "lrelu":
        t = functional.leaky_relu(t, slope)
    elif act == "selu":
        t = SELU[0] * t.clamp(min=0) + SELU[1] * (t.clamp(max=0).exp() - 1)
    elif act != "linear":
        functions = dict(
            relu=torch.relu, tanh=torch.tanh, sigmoid=torch.sigmoid, elu=functional.elu, softplus=_softplus, swish=_swish
        )  # fmt: skip
        t = functions[act](t)
    t = t if gain == 1 else t * gain
    return t if clamp is None or clamp < 0 else t.clamp(-clamp, clamp)


def _softplus(t):
    return t.clamp(min=0) + (1 + (-t.abs()).exp()).log()


def _swish(t):
    return t * torch.sigmoid(t)


# ---- attention ---------------------------------------------------------------------------------------------------------
@translation("multi_scale_deformable_attn", "gathered samples of all levels")
def multi_scale_deformable_attn(value, locations, weights, shapes, starts):
    batch, tokens, heads, channels = value.shape
    shapes = shapes.long()
    sizes = shapes[:, 0] * shapes[:, 1]
    starts = sizes.cumsum(0) - sizes if starts is None else starts.long()
    height, width = (shapes[:, k, None] for k in (0, 1))
    x = locations[..., 0] * width.to(value.dtype) - 0.5
    y = locations[..., 1] * height.to(value.dtype) - 0.5
    fine = torch.isfinite(x) & torch.isfinite(y)
    x, y = choose(fine, x, -9), choose(fine, y, -9)
    x, y = _within(x, width), _within(y, height)
    left, top = x.floor(), y.floor()
    rows = value.permute(0, 2, 1, 3).reshape(-1, channels)
    own = (count(batch, value)[:, None] * heads + count(heads, value))[:, None, :, None, None] * tokens
    total: Tensor | None = None
    for v in (0, 1):
        for u in (0, 1):
            i, j = (top + v).long(), (left + u).long()
            there = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            share = (1 - (y - (top + v)).abs()) * (1 - (x - (left + u)).abs()) * weights
            share = choose(there, share, 0)
            place = choose(there, starts[:, None] + i * width + j, 0) + own
            part = (rows[place] * share[..., None]).sum((3, 4))
            total = part if total is None else total + part
    assert total is not None
    return total.reshape(batch, -1, heads * channels)


def _within(x, size):
    """Positions no more than two pixels outside, where nothing is."""
    return torch.minimum(x.clamp(min=-2), size.to(x.dtype) + 1)
