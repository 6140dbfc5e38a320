"""Calls of `correlation`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed


def _pair(value):
    return value if isinstance(value, tuple) else (value, value)


def plain(input1, input2, kernel_size=1, max_displacement=1, stride=1, padding=0, dilation=1, dilation_patch=1):
    k, s, p, d, g = map(_pair, (kernel_size, stride, padding, dilation, dilation_patch))
    n, _, *lengths = input1.shape
    sizes = [(lengths[i] + 2 * p[i] - d[i] * (k[i] - 1) - 1) // s[i] + 1 for i in range(2)]
    patch = 2 * max_displacement + 1
    out = np.zeros((n, patch, patch, *sizes))
    for v, u, y, x, i, j in np.ndindex(patch, patch, *sizes, *k):
        y1, x1 = y * s[0] - p[0] + i * d[0], x * s[1] - p[1] + j * d[1]
        y2, x2 = y1 + (v - max_displacement) * g[0], x1 + (u - max_displacement) * g[1]
        if min(y1, y2) >= 0 and max(y1, y2) < lengths[0] and min(x1, x2) >= 0 and max(x1, x2) < lengths[1]:
            out[:, v, u, y, x] += (input1[:, :, y1, x1] * input2[:, :, y2, x2]).sum(1)
    return out


def _backward(grad, input1, input2, **how):
    return (
        ops.correlation_backward(grad, input2, True, input1.shape, **how),
        ops.correlation_backward(grad, input1, False, input1.shape, **how),
    )


_RNG = np.random.default_rng(0)


def _case(name, shape, **arguments):
    return Case(
        f"correlation, {name}",
        "correlation",
        dict(input1=_RNG.standard_normal(shape), input2=_RNG.standard_normal(shape)),
        dict(input1="N C H W", input2="N C H W"),
        plain,
        arguments,
        wrt=("input1", "input2"),
        backward=_backward,
        never_empty="" if "padding" in arguments else "HW",
    )


CASES = (
    _case("pixels", (2, 3, 4, 5)),
    _case("windows", (1, 2, 5, 7), kernel_size=(2, 3), stride=(1, 2), padding=(2, 2), dilation_patch=(2, 1)),
    _case("many", (1, 10, 3, 4), max_displacement=5, kernel_size=1, padding=1, dilation=2, stride=(2, 1)),
)


def _unfolded(torch, input1, input2, radius):
    n, c, h, w = input1.shape
    patch = 2 * radius + 1
    moved = torch.nn.functional.unfold(input2, patch, padding=radius).view(n, c, patch * patch, h, w)
    return (moved * input1[:, :, None]).sum(1).view(n, patch, patch, h, w)


def _shifted(torch, input1, input2, radius):
    h, w = input1.shape[2:]
    padded, steps = torch.nn.functional.pad(input2, (radius,) * 4), range(2 * radius + 1)
    found = [(input1 * padded[:, :, v : v + h, u : u + w]).sum(1) for v in steps for u in steps]
    return torch.stack(found, 1).unflatten(1, (len(steps), len(steps)))


def timed():
    for shape, radius in (((1, 16, 12, 16), 2), ((1, 256, 48, 64), 4), ((2, 64, 96, 160), 10)):
        inputs = {n: _RNG.standard_normal(shape, np.float32) / np.float32(shape[1]) for n in ("input1", "input2")}
        name = f"correlation, {'x'.join(map(str, shape))}, displacement {radius}"
        peers = {"torch, shifts": ("torch", lambda t, radius=radius, **given: _shifted(t, radius=radius, **given))}
        if radius < 10:
            peers["torch unfold"] = "torch", lambda t, radius=radius, **given: _unfolded(t, radius=radius, **given)
        yield Timed(name, "correlation", inputs, dict(max_displacement=radius), peers, 5 if radius == 4 else 1)
