"""Calls of `gather_points` and `grouping_operation`."""

import math

import numpy as np

from arrayvision.cases import Case, Timed


def take(features, indices):
    """NumPy's indexing; 0 for what is out of range."""
    inside = (indices >= 0) & (indices < features.shape[2])
    return np.take_along_axis(features, np.where(inside, indices, 0)[:, None].astype(np.int64), 2) * inside[:, None]


def group(features, indices, features_batch_cnt=None, indices_batch_cnt=None):
    """The same of groups, and of stacked clouds row by row."""
    if features_batch_cnt is None:
        flat = take(features, indices.reshape(len(indices), math.prod(indices.shape[1:])))
        return flat.reshape(*features.shape[:2], *indices.shape[1:])
    starts = np.repeat(np.cumsum(features_batch_cnt) - features_batch_cnt, indices_batch_cnt)
    return features[(starts[:, None] + indices).astype(np.int64)].swapaxes(1, 2)


_RNG = np.random.default_rng(0)
CASES = (
    Case(
        "gather_points",
        "gather_points",
        dict(features=_RNG.standard_normal((2, 9, 6)), indices=_RNG.integers(0, 6, (2, 7))),
        dict(features="B C N", indices="B M"),
        take,
        wrt=("features",),
        indexed="N",
        indices=("indices",),
        linear=True,
    ),
    Case(
        "grouping_operation",
        "grouping_operation",
        dict(features=_RNG.standard_normal((2, 3, 6)), indices=_RNG.integers(0, 6, (2, 4, 3))),
        dict(features="B C N", indices="B M S"),
        group,
        wrt=("features",),
        indexed="N",
        indices=("indices",),
        linear=True,
    ),
    Case(
        "grouping_operation, stacked",
        "grouping_operation",
        dict(
            features=_RNG.standard_normal((9, 17)), indices=_RNG.integers(0, 4, (5, 3)),
            features_batch_cnt=np.array([4, 5]), indices_batch_cnt=np.array([3, 2]),
        ),
        dict(features="N C", indices="M S", features_batch_cnt="B", indices_batch_cnt="B"),
        group,
        wrt=("features",),
        indexed="NMB",
        linear=True,
    ),
)  # fmt: skip


def _torch_gather(torch, features, indices):
    return features.gather(2, indices[:, None].expand(-1, features.shape[1], -1))


def _torch_group(torch, features, indices):
    batch, channels, _ = features.shape
    rows = features.gather(2, indices.reshape(batch, 1, -1).expand(-1, channels, -1))
    return rows.reshape(batch, channels, *indices.shape[1:])


def timed():
    for channels, count in ((16, 256), (64, 4096)):
        inputs = dict(
            features=_RNG.standard_normal((2, channels, 16384)).astype(np.float32),
            indices=_RNG.integers(0, 16384, (2, count)),
        )
        yield Timed(
            f"gather_points, {count} of 2x{channels}x16384", "gather_points", inputs,
            peers={"torch gather": ("torch", _torch_gather)},
        )  # fmt: skip
    inputs = dict(
        features=_RNG.standard_normal((2, 64, 16384)).astype(np.float32),
        indices=_RNG.integers(0, 16384, (2, 1024, 32)),
    )
    yield Timed(
        "grouping_operation, 1024x32 of 2x64x16384", "grouping_operation", inputs,
        peers={"torch gather": ("torch", _torch_group)},
    )  # fmt: skip
