"""Launches of deform_conv.cu; the functions and arguments of `cpu/deform_conv.py`."""

import math

from arrayvision.array import library_of
from arrayvision.cuda import runtime
from arrayvision.cuda.constants import WARP, constant
from arrayvision.cuda.loops import divider
from arrayvision.cuda.runtime import deterministic
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.turned import TURN, channels_last, last_sums, turn_sums
from arrayvision.cuda.types import FLOATS, SIXTEEN, c_type, together

CHANNELS, SPREADING = (constant("deform_conv.cu", name) for name in ("CHANNELS", "SPREADING"))
KERNELS = runtime.Kernels(
    "deform_conv.cu",
    [
        *(f"{name}<{T}, {v}>" for name in ("columns_of", "slopes") for T in FLOATS for v in (1, SIXTEEN[T])),
        *(
            f"{name}<{T}>"
            for name in ("spread_columns", "spread_last", "add_bias", "add_parts", "channel_sums")
            for T in FLOATS
        ),
        *ROUND_SUMS,
        *TURN,
    ],
)
MOST = 2**27  # numbers that columns hold at once: fewer and larger products are faster


class _Call:
    """What the launches of a call share; their arguments for a part of the result."""

    def __init__(self, x, last, offset, mask, how, groups, deform_groups, weight, positions, columns):
        b, *rest = x.shape
        self.batch, self.channels, self.h, self.w = (b, rest[2], rest[0], rest[1]) if last else (b, *rest)
        self.made, self.given, self.height, self.width = weight.shape
        self.taps, self.groups, self.deform_groups = self.height * self.width, groups, deform_groups
        self.own, self.positions, self.columns, self.how = self.channels // deform_groups, positions, columns, how
        # Pixels are read for each tap: where a map has fewer of them than there are samples, it pays to lay their channels together.
        if not last and self.own % SIXTEEN[c_type(x)] == 0 and self.taps * positions > self.h * self.w:
            x, last = channels_last(KERNELS, x), True
        self.x, self.last, self.offset, self.mask = x, last, offset, mask
        self.v = together(self.own, x) if last else 1  # channels that a thread loads at once
        self.kind, self.dtype = c_type(x), library_of(x).dtype(x)
        self.weight = weight.reshape(1, groups, self.made // groups, self.given * self.taps)

    def parts(self):
        """(first image, images, first position, positions) of parts whose columns fit in the memory that they may have."""
        some = max(1, min(self.positions, MOST // (self.channels * self.taps)))
        images = max(1, MOST // (self.channels * self.taps * some)) if some == self.positions else 1
        for image in range(0, self.batch, images):
            for first in range(0, self.positions, some):
                yield image, min(images, self.batch - image), first, min(some, self.positions - first)

    def shared(self, image, images, first):
        """The arguments that the kernels of samples end with, before what they fill."""
        mask = self.offset if self.mask is None else self.mask
        return (
            self.offset[image : image + images], self.mask is not None, mask[image : image + images], self.channels,
            self.own, self.h, self.w, self.columns, self.width, *self.how, self.positions, first,
        )  # fmt: skip

    def dividers(self, some, *names):
        sizes = dict(positions=some, taps=self.taps, parts=-(-self.own // CHANNELS), groups=self.deform_groups)
        sizes |= dict(tiles=-(-some // WARP), warps=-(-self.own // WARP))
        return [divider("uint32_t", sizes[name]) for name in names]

    def columns_of(self, image, images, first, some):
        """(images, groups, C / groups * K, positions): the samples."""
        out = runtime.empty(self.x, (images, self.groups, self.given * self.taps, some), self.dtype)
        n = images * self.deform_groups * -(-self.own // CHANNELS) * self.taps * some
        KERNELS.launch(
            f"columns_of<{self.kind}, {self.v}>", n, n, *self.dividers(some, "positions", "taps", "parts", "groups"),
            self.x[image : image + images], self.last, *self.shared(image, images, first), out,
        )  # fmt: skip
        return out


def forward(x, last, offset, mask, weight, bias, how, groups, deform_groups, out):
    """x (B, H, W, C) if `last` else (B, C, H, W), offset (B, deform_groups * K * 2, oh, ow), mask (B, deform_groups * K, oh, ow) or None,
    weight (O, C / groups, kh, kw), bias (O,) or None, how ((stride, padding, dilation) along y and x), out (B, O, oh, ow)."""
    if 0 in out.shape:
        return
    library = library_of(x)
    if 0 in x.shape or 0 in weight.shape:
        library.zero(out)
    else:
        batch, made, *size = out.shape
        call = _Call(x, last, offset, mask, how, groups, deform_groups, weight, math.prod(size), size[1])
        view = out.reshape(batch, groups, made // groups, call.positions)
        for image, images, first, some in call.parts():
            columns = call.columns_of(image, images, first, some)
            if some == call.positions:
                library.matmul(call.weight, columns, view[image : image + images])
            else:
                part = runtime.empty(x, (images, groups, made // groups, some), call.dtype)
                library.matmul(call.weight, columns, part)
                view[image : image + images, :, :, first : first + some] = part
    if bias is not None:
        n = math.prod(out.shape)
        KERNELS.launch(f"add_bias<{c_type(x)}>", n, n, bias, out.shape[1], out.shape[2] * out.shape[3], out)


def backward(grad, x, last, offset, mask, weight, how, groups, deform_groups, out, out_offset, out_mask, out_weight):
    """Fill the gradients of x (as (B, C, H, W)), offset, mask (None without one) and weight; grad is (B, O, oh, ow)."""
    library = library_of(x)
    if 0 in grad.shape or 0 in x.shape:
        for array in (out, out_offset, out_mask, out_weight):
            if array is not None and 0 not in array.shape:
                library.zero(array)
        return
    batch, made, *size = grad.shape
    call = _Call(x, last, offset, mask, how, groups, deform_groups, weight, math.prod(size), size[1])
    kind, ordered = call.kind, deterministic(x)
    # Channels of a pixel are added to side by side, in memory of its own, unless they are few.
    spread_last = not ordered and call.own % 4 == 0
    if spread_last:
        sums = last_sums(out)
    else:
        sums = zero_sums(out)
    weight_sums = zero_sums(out_weight)
    view, turned = grad.reshape(batch, groups, made // groups, call.positions), call.weight.swapaxes(2, 3)
    for image, images, first, some in call.parts():
        images_of, shared = slice(image, image + images), call.shared(image, images, first)
        given = view[images_of, :, :, first : first + some]
        columns = call.columns_of(image, images, first, some)
        parts = runtime.empty(x, (images, groups, made // groups, call.given * call.taps), call.dtype)
        library.matmul(given, columns.swapaxes(2, 3), parts)
        n = math.prod(out_weight.shape)
        KERNELS.launch(f"add_parts<{kind}>", n, n, images, parts, weight_sums)
        library.matmul(turned, given, columns)  # which are the columns' gradients from here on
        n = images * deform_groups * call.taps * some
        KERNELS.launch(
            f"slopes<{kind}, {call.v}>", n, n, *call.dividers(some, "positions", "taps", "groups"), columns, call.x[images_of],
            call.last, *shared,
            out_offset[images_of], (out_offset if mask is None else out_mask)[images_of],
        )  # fmt: skip
        if spread_last:
            n = images * deform_groups * -(-call.own // WARP) * call.taps * -(-some // WARP)
            KERNELS.launch(
                f"spread_last<{kind}>", n * WARP, n, *call.dividers(some, "tiles", "taps", "warps", "groups"), some, columns,
                *shared, sums[images_of], block=SPREADING,
            )  # fmt: skip
            continue
        n = images * call.channels if ordered else n * -(-call.own // CHANNELS)
        KERNELS.launch(
            f"spread_columns<{kind}>", n, n, ordered, *call.dividers(some, "positions", "taps", "parts", "groups"), columns,
            *shared, sums[images_of],
        )  # fmt: skip
    if spread_last:
        turn_sums(KERNELS, sums, out)
    else:
        round_sums(KERNELS, sums, out)
    round_sums(KERNELS, weight_sums, out_weight)


def backward_bias(grad, out):
    """Fill out (O,) with the sums of grad (B, O, oh, ow)."""
    batch, channels, *size = grad.shape
    KERNELS.launch(f"channel_sums<{c_type(grad)}>", (channels,), batch, channels, math.prod(size), grad, out)
