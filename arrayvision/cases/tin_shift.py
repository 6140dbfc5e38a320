"""Calls of `tin_shift`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed


def plain(input, shift):
    out, width = np.zeros_like(input), input.shape[2] // shift.shape[1]
    for n, t, g in np.ndindex(*input.shape[:2], shift.shape[1]):
        if 0 <= t + shift[n, g] < input.shape[1]:
            channels = slice(g * width, (g + 1) * width)
            out[n, t + shift[n, g], channels] = input[n, t, channels]
    return out


_RNG = np.random.default_rng(0)
CASES = (
    Case(
        "tin_shift", "tin_shift",
        dict(input=_RNG.standard_normal((2, 5, 6, 3, 2)), shift=np.array([[0, 1, -2], [9, -1, 2**30]])),
        dict(input="N T C H W", shift="N G"),
        plain,
        wrt=("input",), backward=lambda grad, input, shift: (ops.tin_shift(grad, -shift),),
        never_empty="G",
    ),
)  # fmt: skip


def _gathered(torch, input, shift):
    wanted = torch.arange(input.shape[1])[None, :, None] - shift[:, None]
    wanted = wanted.repeat_interleave(input.shape[2] // shift.shape[1], 2)[..., None, None]
    frames = wanted.clamp(0, input.shape[1] - 1)
    return input.gather(1, frames.expand(input.shape)) * (frames == wanted)


def timed():
    for shape in ((1, 8, 16, 7, 7), (8, 8, 256, 28, 28)):
        inputs = dict(input=_RNG.standard_normal(shape).astype(np.float32), shift=_RNG.integers(-2, 3, (shape[0], 4)))
        name = f"tin_shift, {'x'.join(map(str, shape))}"
        yield Timed(name, "tin_shift", inputs, peers={"torch gather": ("torch", _gathered)})
