"""Calls of `corner_pool`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed
from arrayvision.ops.corner_pool import MODES


def plain(input, mode):
    axis, step = 2 if mode in ("top", "bottom") else 3, 1 if mode in ("bottom", "right") else -1
    found = np.maximum.accumulate(input if step > 0 else np.flip(input, axis), axis)
    return found if step > 0 else np.flip(found, axis)


def _backward(grad, input, mode):
    return (ops.corner_pool_backward(grad, input, ops.corner_pool(input, mode), mode),)


_RNG = np.random.default_rng(0)
CASES = tuple(
    Case(
        f"corner_pool, {mode}",
        "corner_pool",
        dict(input=_RNG.standard_normal((2, 2, 5, 37) if mode in ("left", "right") else (2, 2, 9, 3))),
        dict(input="N C H W"),
        plain,
        dict(mode=mode),
        wrt=("input",),
        backward=_backward,
    )
    for mode in MODES
)


def _cummax(torch, input, mode):
    dim = 2 if mode in ("top", "bottom") else 3
    if mode in ("bottom", "right"):
        return torch.cummax(input, dim)[0]
    return torch.cummax(input.flip(dim), dim)[0].flip(dim)


def timed():
    for shape in ((1, 8, 16, 16), (1, 128, 128, 128)):
        x, size = _RNG.standard_normal(shape, np.float32), "x".join(map(str, shape))
        for mode in MODES:
            how, peers = dict(mode=mode), {"torch.cummax": ("torch", lambda t, input, m=mode: _cummax(t, input, m))}
            yield Timed(f"corner_pool, {mode}, {size}", "corner_pool", dict(input=x), how, peers)
