"""Calls of `psa_mask`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed


def plain(input, psa_type, mask_size=None):
    images, _, h, w = input.shape
    height, width = mask_size or (2 * h - 1, 2 * w - 1)
    out = np.zeros((images, h, w, h, w))  # image, who sees, who is seen
    for n, y, x, v, u in np.ndindex(images, h, w, h, w):
        row, column = v - y + (height - 1) // 2, u - x + (width - 1) // 2
        if 0 <= row < height and 0 <= column < width:
            out[n, y, x, v, u] = input[n, row * width + column, y, x]
    if psa_type in ("collect", 0):
        out = out.transpose(0, 3, 4, 1, 2)
    return out.reshape(images, h * w, h, w)


def _backward(grad, input, psa_type, mask_size=None):
    return (ops.psa_mask_backward(grad, psa_type, mask_size),)


_RNG = np.random.default_rng(0)


def _case(name, shape, **arguments):
    return Case(
        name,
        "psa_mask",
        dict(input=_RNG.standard_normal(shape)),
        dict(input="N M H W"),
        plain,
        arguments,
        wrt=("input",),
        backward=_backward,
        never_empty="M" if "mask_size" in arguments else "MHW",
    )


CASES = (
    _case("psa_mask, collect", (2, 15, 3, 4), psa_type="collect", mask_size=(3, 5)),
    _case("psa_mask, distribute", (2, 15, 3, 4), psa_type="distribute", mask_size=(3, 5)),
    _case("psa_mask, collect, even", (1, 24, 5, 3), psa_type=0, mask_size=(4, 6)),
    _case("psa_mask, distribute, even", (1, 24, 5, 3), psa_type=1, mask_size=(4, 6)),
    _case("psa_mask, collect all", (1, 35, 3, 4), psa_type="collect"),
    _case("psa_mask, distribute all", (1, 35, 3, 4), psa_type="distribute"),
)


def _collected(torch, input):
    """All masks of a map: a view in which they lie askew, which negative strides would make, so rows are turned round."""
    n, _, h, w = input.shape
    x = input.view(n, 2 * h - 1, 2 * w - 1, h, w).flip(3, 4).contiguous()
    a, b, c, d, e = x.stride()
    return x.as_strided((n, h, w, h, w), (a, b, c, b + d, c + e)).flip(3, 4).reshape(n, h * w, h, w)


def _distributed(torch, input):
    n, _, h, w = input.shape
    x = input.view(n, 2 * h - 1, 2 * w - 1, h, w).flip(3, 4).contiguous()
    a, b, c, d, e = x.stride()
    return x.as_strided((n, h, w, h, w), (a, b + d, c + e, b, c)).flip(1, 2).reshape(n, h * w, h, w)


def timed():
    for h, w in ((8, 8), (60, 60)):
        x = _RNG.standard_normal((1, (2 * h - 1) * (2 * w - 1), h, w), np.float32)
        for kind, call in (("collect", _collected), ("distribute", _distributed)):
            peers = {"torch as_strided": ("torch", call)}
            yield Timed(f"psa_mask, {kind}, {h} x {w}", "psa_mask", dict(input=x), dict(psa_type=kind), peers)
