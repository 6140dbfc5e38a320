"""Calls of `three_interpolate`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed


def plain(features, indices, weight):
    """All three terms at once, by NumPy's indexing."""
    return sum(
        np.take_along_axis(features, indices[:, None, :, k].astype(np.int64), 2) * weight[:, None, :, k]
        for k in range(3)
    )


_RNG = np.random.default_rng(0)
CASES = (
    Case(
        "three_interpolate",
        "three_interpolate",
        dict(
            features=_RNG.standard_normal((2, 9, 6)),
            indices=_RNG.integers(0, 6, (2, 5, 3)),
            weight=_RNG.uniform(0, 0.5, (2, 5, 3)),
        ),
        dict(features="B C M", indices="B N 3", weight="B N 3"),
        plain,
        wrt=("features",),
        backward=lambda grad, features, indices, weight: (
            ops.three_interpolate_backward(grad, indices, weight, features.shape),
        ),
        indexed="M",
    ),
)


def _gathered(torch, features, indices, weight):
    batch, channels, _ = features.shape
    rows = features.gather(2, indices.reshape(batch, 1, -1).expand(-1, channels, -1))
    return (rows.reshape(batch, channels, -1, 3) * weight[:, None]).sum(-1)


def timed():
    for channels, count in ((16, 256), (256, 16384)):
        inputs = dict(
            features=_RNG.standard_normal((2, channels, 1024)).astype(np.float32),
            indices=_RNG.integers(0, 1024, (2, count, 3)),
            weight=_RNG.uniform(0, 1, (2, count, 3)).astype(np.float32),
        )
        yield Timed(
            f"three_interpolate, 2x{channels}x1024 to {count}", "three_interpolate", inputs,
            peers={"torch gather": ("torch", _gathered)},
        )  # fmt: skip
