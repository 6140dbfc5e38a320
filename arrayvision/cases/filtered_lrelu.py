"""Calls of `filtered_lrelu`."""

import functools
import math

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed
from arrayvision.cases.upfirdn2d import plain as filtered


def plain(
    input, filter_up=None, filter_down=None, bias=None, up=(1, 1), down=(1, 1), padding=(0, 0, 0, 0), gain=2**0.5,
    slope=0.2, clamp=math.inf, flip_filter=False,
):  # fmt: skip
    """One step after the other."""
    x = input if bias is None else input + bias[:, None, None]
    x = filtered(x, filter_up, up, (1, 1), padding, flip_filter, up[0] * up[1])
    x = np.clip(gain * np.where(x > 0, x, slope * x), -clamp, clamp)
    return filtered(x, filter_down, (1, 1), down, flip_filter=flip_filter)


_RNG = np.random.default_rng(0)
_INPUT, _BIAS = _RNG.standard_normal((2, 3, 5, 7)), _RNG.standard_normal(3)
_LINE = _RNG.uniform(0.5, 1, 4)


def _case(name, inputs, shapes, never_empty, **arguments):
    def backward(grad, **given):
        found = ops.filtered_lrelu_backward(grad, **given)
        return (np.sum(found, (0, 2, 3), dtype=found.dtype), found) if "bias" in given else (found,)

    return Case(
        name, "filtered_lrelu", inputs, dict(input="N C H W", **shapes), plain, arguments,
        wrt=("input", "bias") if "bias" in inputs else ("input",), backward=backward, never_empty=never_empty,
        any_axes=("filter_up", "filter_down"),
    )  # fmt: skip


CASES = (
    _case(
        "filtered_lrelu",
        dict(input=_INPUT, filter_up=_RNG.standard_normal((3, 4)), filter_down=_LINE[:3], bias=_BIAS),
        dict(filter_up="A B", filter_down="D", bias="C"), "ABDHW",
        up=(2, 2), down=(2, 2), padding=(1, 2, 2, -1), gain=1.5, slope=0.1, clamp=2.0, flip_filter=True,
    ),
    _case(
        "filtered_lrelu, one filter", dict(input=_INPUT, filter_up=_LINE), dict(filter_up="A"), "AHW",
        up=(1, 3), down=(2, 1),
    ),
)  # fmt: skip


def _composed(torch, input, filter_up, filter_down, bias, up, down, padding):
    """By torch's convolutions, along one axis after the other."""
    functional, channels = torch.nn.functional, input.shape[1]
    x = input + bias[:, None, None]
    n, c, h, w = x.shape
    wide = x.new_zeros(n, c, h * up, w * up)
    wide[:, :, ::up, ::up] = x
    x = functional.pad(wide, [padding] * 4)
    for k, (f, stride) in enumerate(((filter_up * up, 1), (filter_down, down))):
        f = f.flip(0).expand(channels, 1, 1, -1)
        x = functional.conv2d(x, f, groups=channels, stride=(1, stride))
        x = functional.conv2d(x, f.transpose(2, 3), groups=channels, stride=(stride, 1))
        if k == 0:
            x = functional.leaky_relu(x, 0.2).mul_(math.sqrt(2))
    return x


def timed():
    line = np.array([1, 4, 7, 9, 11, 13, 13, 11, 9, 7, 4, 1], np.float32) / 90
    for shape in ((1, 8, 16, 16), (4, 32, 36, 36), (2, 64, 148, 148)):
        inputs = dict(
            input=_RNG.standard_normal(shape, np.float32), filter_up=line, filter_down=line,
            bias=_RNG.standard_normal(shape[1], np.float32),
        )  # fmt: skip
        arguments = dict(up=2, down=2, padding=11)
        peers = {"torch": ("torch", functools.partial(_composed, **arguments))}
        yield Timed(
            f"filtered_lrelu up 2 down 2, {'x'.join(map(str, shape))}", "filtered_lrelu", inputs, arguments, peers
        )
