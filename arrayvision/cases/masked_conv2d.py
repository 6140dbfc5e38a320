"""Calls of `masked_conv2d`."""

import numpy as np

from arrayvision.cases import Case, Timed


def plain(features, mask, weight, bias, padding=0):
    py, px = padding if isinstance(padding, tuple) else (padding, padding)
    padded = np.pad(features, ((0, 0), (0, 0), (py, py), (px, px)))
    height, width = weight.shape[2:]
    h, w = padded.shape[2] - height + 1, padded.shape[3] - width + 1
    out = np.zeros((len(features), len(weight), h, w))
    for n, y, x in np.ndindex(*mask.shape):
        if y < h and x < w and mask[n, y, x] > 0:
            out[n, :, y, x] = (weight * padded[n, :, y : y + height, x : x + width]).sum((1, 2, 3)) + bias
    return out


_RNG = np.random.default_rng(0)


def _case(name, filters, padding, never_empty="ABHW"):
    shapes = dict(features=(2, 3, 5, 6), weight=(4, 3, *filters), bias=(4,))
    inputs = {n: _RNG.standard_normal(shape) for n, shape in shapes.items()}
    inputs["mask"] = _RNG.integers(-1, 2, (2, 5, 6))
    return Case(
        f"masked_conv2d, {name}",
        "masked_conv2d",
        {n: inputs[n] for n in ("features", "mask", "weight", "bias")},
        dict(features="N C H W", mask="N H W", weight="O C A B", bias="O"),
        plain,
        dict(padding=padding),
        wrt=("features", "weight", "bias"),
        never_empty=never_empty,
    )


CASES = (
    _case("same size", (3, 5), (1, 2)),
    _case("smaller", (2, 3), 0),
    _case("larger", (2, 1), (3, 4), "AB"),
)


def _all(torch, features, mask, weight, bias, padding):
    return torch.nn.functional.conv2d(features, weight, bias, padding=padding) * mask[:, None]


def timed():
    for size, share in ((32, 0.05), (100, 0.02), (100, 0.2)):
        inputs = dict(
            features=_RNG.standard_normal((1, 256, size, size), np.float32) / np.float32(16),
            mask=(_RNG.random((1, size, size)) < share).astype(np.float32),
            weight=_RNG.standard_normal((256, 256, 3, 3), np.float32) / np.float32(256),
            bias=_RNG.standard_normal(256, np.float32),
        )
        peers = {"torch conv2d of all": ("torch", lambda t, **given: _all(t, **given, padding=1))}
        yield Timed(f"masked_conv2d, {size} x {size}, {share:.0%}", "masked_conv2d", inputs, dict(padding=1), peers)
