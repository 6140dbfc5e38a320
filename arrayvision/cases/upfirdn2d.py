"""Calls of `upfirdn2d`, `filter2d`, `upsample2d` and `downsample2d`."""

import functools

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed


def plain(input, filter=None, up=(1, 1), down=(1, 1), padding=(0, 0, 0, 0), flip_filter=False, gain=1.0):
    """The four steps as they are told: zeros between pixels, padding, sums of products, every so many pixels."""
    filter = np.ones((1, 1)) if filter is None else filter
    filter = np.outer(filter, filter) if filter.ndim == 1 else filter
    filter = filter if flip_filter else filter[::-1, ::-1]
    n, c, h, w = input.shape
    wide = np.zeros((n, c, h * up[1], w * up[0]))
    wide[:, :, :: up[1], :: up[0]] = input
    left, right, top, bottom = padding
    wide = np.pad(wide, ((0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))))
    wide = wide[:, :, max(-top, 0) : wide.shape[2] - max(-bottom, 0), max(-left, 0) : wide.shape[3] - max(-right, 0)]
    height, width = wide.shape[2] - filter.shape[0] + 1, wide.shape[3] - filter.shape[1] + 1
    sums = np.zeros((n, c, height, width))
    for i, j in np.ndindex(*filter.shape):
        sums += filter[i, j] * wide[:, :, i : i + height, j : j + width]
    return gain * sums[:, :, :: down[1], :: down[0]]


def same(input, filter, flip_filter=False):
    return plain(input, filter, padding=(1, 1, 2, 1), flip_filter=flip_filter)


def enlarged(input, filter, up, gain):
    return plain(input, filter, up, padding=(2, 0, 3, 0), gain=gain * 6)


def reduced(input, filter, down):
    return plain(input, filter, (1, 1), down, (1, 0, 1, 1))


_RNG = np.random.default_rng(0)
_INPUT, _FILTER = _RNG.standard_normal((2, 3, 5, 7)), _RNG.standard_normal((4, 3))


def _case(name, function, oracle, arguments, never_empty, filter=_FILTER, **backward):
    shape = "A B" if filter.ndim == 2 else "A"
    return Case(
        name,
        function,
        dict(input=_INPUT, filter=filter),
        dict(input="N C H W", filter=shape),
        oracle,
        arguments,
        wrt=("input",),
        backward=lambda grad, input, filter, **_: (ops.upfirdn2d_backward(grad, filter, input.shape, **backward),),
        never_empty=never_empty,
        any_axes=("filter",),
    )


_ARGUMENTS = dict(up=(2, 3), down=(3, 2), padding=(-1, 4, 0, 2), flip_filter=True, gain=0.5)
_TWICE = dict(up=(2, 2), padding=(3, 2, 3, 2))
CASES = (
    _case("upfirdn2d", "upfirdn2d", plain, _ARGUMENTS, "ABH", **_ARGUMENTS),
    _case("upfirdn2d, one axis", "upfirdn2d", plain, _TWICE, "AHW", _RNG.standard_normal(6), **_TWICE),
    _case("filter2d", "filter2d", same, {}, "ABHW", padding=(1, 1, 2, 1)),
    _case(
        "upsample2d", "upsample2d", enlarged, dict(up=(2, 3), gain=1.5), "ABHW", up=(2, 3), padding=(2, 0, 3, 0), gain=9
    ),
    _case("downsample2d", "downsample2d", reduced, dict(down=(2, 2)), "ABHW", down=(2, 2), padding=(1, 0, 1, 1)),
)


def _by_convolution(torch, input, filter, up=1, down=1, padding=0):
    """torch's best: a convolution for each channel, transposed for zeros between pixels."""
    functional, channels = torch.nn.functional, input.shape[1]
    weight = filter.expand(channels, 1, *filter.shape)
    if up > 1:
        return functional.conv_transpose2d(input, weight, stride=up, padding=1, groups=channels)
    left, right, top, bottom = padding
    if left != right or top != bottom:
        input, left, top = functional.pad(input, padding), 0, 0
    return functional.conv2d(input, weight.flip(2, 3), stride=down, padding=(top, left), groups=channels)


def timed():
    peers = {"torch convolution": ("torch", _by_convolution)}
    filter = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64
    skew = filter * _RNG.uniform(0.5, 1, (4, 4)).astype(np.float32)
    for channels, size in ((3, 16), (32, 64), (32, 512)):
        input = _RNG.standard_normal((1, channels, size, size), np.float32)
        large = size == 512
        for name, arguments, least in (
            ("up 2", dict(up=2, padding=(2, 1, 2, 1)), 3 if large else 1),
            ("down 2", dict(down=2, padding=(1, 1, 1, 1)), 2.3 if large else 1),
            ("blur", dict(padding=(2, 1, 2, 1)), 1),
        ):
            inputs, call = dict(input=input, filter=skew), f"upfirdn2d {name}, {channels}x{size}x{size}"
            theirs = {n: (m, functools.partial(f, **arguments)) for n, (m, f) in peers.items()}
            yield Timed(f"{call}, 4x4", "upfirdn2d", inputs, arguments, theirs, least)
        line = np.array([1, 4, 7, 9, 11, 13, 13, 11, 9, 7, 4, 1], np.float32) / 90
        blurred = {"torch convolution": ("torch", functools.partial(_by_convolution, padding=(6, 5, 6, 5)))}
        yield Timed(
            f"upfirdn2d blur, {channels}x{size}x{size}, 12x12 of rank 1", "upfirdn2d",
            dict(input=input, filter=np.outer(line, line)), dict(padding=(6, 5, 6, 5)), blurred,
        )  # fmt: skip
