"""Calls of `three_nn` and `three_interpolate`."""

import numpy as np

from arrayvision.cases import Case, Timed, clouds

_RNG = np.random.default_rng(0)
_SOURCE = np.array([[-1.8373, 3.5605, -0.7867], [0.7615, 2.942, 0.2314], [-0.6503, 3.6637, -1.0622]])[[0, 1, 2, 0, 0]]
_TARGET = [[-1.8373, 3.5605, -0.7867], [-1.5237, 2.3976, -0.8097], [-0.0722, 3.4017, -0.288], [0.7341, 2.9626, -0.3189]]
_DISTANCES = [[[0, 0, 0], [1.2047, 1.2047, 1.2047], [1.0011, 1.0845, 1.8411], [0.5514, 1.7206, 2.6811]]]
_NEAREST = [[[0, 3, 4], [0, 3, 4], [2, 1, 0], [1, 2, 0]]]
_ODD = np.arange(15.0).reshape(1, 5, 3)
_ODD[0, 0, 1], _ODD[0, 2, 0], _ODD[0, 3, 2] = np.nan, np.inf, 1e200


def interpolated(features, indices, weight):
    """One term after the other, by NumPy's indexing; those out of range are left out."""
    inside = (indices >= 0) & (indices < features.shape[2])
    index, weight = np.where(inside, indices, 0).astype(np.int64)[:, None], (weight * inside)[:, None]
    return sum(np.take_along_axis(features, index[..., k], 2) * weight[..., k] for k in range(3))


def _interpolation(channels, points, count, dtype=np.float64):
    features, weight = _RNG.standard_normal((2, channels, points), dtype), _RNG.random((2, count, 3), dtype)
    return dict(features=features, indices=_RNG.integers(0, points, (2, count, 3)), weight=weight)


CASES = (
    Case(
        "three_nn", "three_nn",
        dict(target=_RNG.permutation(150).reshape(2, 25, 3) / 4, source=_RNG.permutation(90).reshape(2, 15, 3) / 2),
        dict(target="B N 3", source="B M 3"),
        lambda target, source: clouds.nearest(target, source, 3),
        edges={
            "one source": dict(source=np.ones((2, 1, 3))),
            "two sources": dict(source=np.ones((2, 2, 3))),
            "not finite": dict(target=np.array([[[12, 13, 14], [np.nan, 0, 0], [0, 0, -np.inf]]]), source=_ODD),
            "blocks": dict(target=_RNG.random((1, 300, 3)), source=_RNG.random((1, 70, 3))),
        },
        known=((dict(target=np.array([_TARGET]), source=_SOURCE[None]), (_DISTANCES, _NEAREST)),),
    ),
    Case(
        "three_interpolate", "three_interpolate",
        _interpolation(9, 6, 5), dict(features="B C M", indices="B N 3", weight="B N 3"), interpolated,
        wrt=("features",), linear=True, indexed="M", indices=("indices",), edges={"blocks": _interpolation(19, 70, 300)},
    ),
)  # fmt: skip


def _search(search, target, source):
    found = [search(t, s, 3) for t, s in zip(target, source, strict=True)]
    return np.stack([distances for distances, _ in found]), np.stack([indices for _, indices in found])


def _gathered(torch, features, indices, weight):
    rows = features.gather(2, indices.flatten(1)[:, None].expand(-1, features.shape[1], -1))
    return (rows.reshape(*rows.shape[:2], -1, 3) * weight[:, None]).sum(-1)


def timed():
    for targets, sources in ((1000, 100), (16384, 1024)):
        inputs = {n: clouds.cloud(_RNG, size)[None] for n, size in (("target", targets), ("source", sources))}
        more = dict(peers=clouds.peers(_search), at_least=1.3, agree=clouds.alike)
        yield Timed(f"three_nn, {targets} of {sources}", "three_nn", inputs, **more)
    for channels, count in ((16, 256), (256, 16384)):
        inputs, name = (
            _interpolation(channels, 1024, count, np.float32),
            f"three_interpolate, 2x{channels}x1024 to {count}",
        )
        yield Timed(name, "three_interpolate", inputs, peers={"torch gather": ("torch", _gathered)})
