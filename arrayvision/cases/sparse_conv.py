"""Calls of sparse convolution and pooling."""

import itertools

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed


def plain_pairs(
    indices, spatial_shape, batch_size, kernel_size, stride=1, padding=0, dilation=1, output_padding=0, subm=False,
    transposed=False,
):  # fmt: skip
    """A dictionary of sites, tap by tap."""
    d = indices.shape[1] - 1
    kernel = [kernel_size] * d if isinstance(kernel_size, int) else kernel_size
    shape = spatial_shape
    if subm:
        stride, padding = 1, [k // 2 * dilation for k in kernel]
    else:
        padding = [padding] * d
        if transposed:
            shape = [
                (n - 1) * stride - 2 * p + dilation * (k - 1) + output_padding + 1
                for n, k, p in zip(shape, kernel, padding, strict=True)
            ]
        else:
            shape = [
                (n + 2 * p - dilation * (k - 1) - 1) // stride + 1
                for n, k, p in zip(shape, kernel, padding, strict=True)
            ]
    found = []
    for tap in itertools.product(*map(range, kernel)):
        found.append([])
        for row, (batch, *place) in enumerate(indices.tolist()):
            if transposed:
                to = [c * stride - p + t * dilation for c, p, t in zip(place, padding, tap, strict=True)]
            else:
                to = [c + p - t * dilation for c, p, t in zip(place, padding, tap, strict=True)]
                if any(c % stride for c in to):
                    continue
                to = [c // stride for c in to]
            if all(0 <= c < n for c, n in zip(to, shape, strict=True)):
                found[-1].append((row, (batch, *to)))
    given = [tuple(row) for row in indices.tolist()]
    sites = given if subm else sorted({site for pairs in found for _, site in pairs})
    number = {site: k for k, site in enumerate(sites)}
    found = [sorted((number[site], row) for row, site in pairs if site in number) for pairs in found]
    pairs = np.array([(row, out) for pairs in found for out, row in pairs], np.int32).reshape(-1, 2).T
    return np.array(sites, np.int64).reshape(-1, d + 1), pairs, np.array([len(pairs) for pairs in found])


def plain_conv(features, weight, bias, pairs, counts, size):
    """Pair by pair."""
    out = np.zeros((size, weight.shape[-1]))
    taps = np.repeat(np.arange(len(counts)), counts)
    for (given, to), tap in zip(pairs.T, taps, strict=True):
        out[to] += features[given] @ weight[tap]
    return out + bias


def plain_pool(features, pairs, counts, size):
    out = np.full((size, features.shape[1]), -np.inf)
    for given, to in pairs.T:
        out[to] = np.maximum(out[to], features[given])
    return np.where(np.isinf(out), 0, out)


_RNG = np.random.default_rng(0)
_SITES = np.stack(np.nonzero(_RNG.random((2, 6, 5)) < 0.4), 1)
_RNG.shuffle(_SITES)
_N = len(_SITES)
_, _PAIRS, _COUNTS = plain_pairs(_SITES, (6, 5), 2, 3, subm=True)
_GRIDS: dict[str, dict] = {
    "subm": dict(kernel_size=3, dilation=2, subm=True),
    "strided": dict(kernel_size=(3, 2), stride=2, padding=1),
    "transposed": dict(kernel_size=3, stride=2, padding=1, output_padding=1, transposed=True),
}
_FEATURES = _RNG.standard_normal((_N, 4))


def _conv_backward(grad, features, weight, bias, pairs, counts, size):
    by_features, by_weight, by_bias = ops.sparse_conv_backward(grad, features, weight, bias, pairs, counts)
    return by_bias, by_features, by_weight


def _pool_backward(grad, features, pairs, counts, size):
    _, argmax = ops.sparse_max_pool_with_argmax(features, pairs, counts, size)
    return (ops.sparse_max_pool_backward(grad, argmax, pairs, counts, len(features)),)


CASES = (
    Case(
        "sparse_conv",
        "sparse_conv",
        dict(
            features=_FEATURES,
            weight=_RNG.standard_normal((9, 4, 3)),
            bias=_RNG.standard_normal(3),
            pairs=_PAIRS,
            counts=_COUNTS,
        ),
        dict(features="N C", weight="K C O", bias="O", pairs="2 P", counts="K"),
        plain_conv,
        dict(size=_N),
        wrt=("features", "weight", "bias"),
        backward=_conv_backward,
        never_empty="KP",
        indexed="N",
        any_axes=("weight",),
    ),
    *(
        Case(
            f"sparse_conv_pairs-{name}",
            "sparse_conv_pairs",
            dict(indices=_SITES),
            dict(indices="N A"),
            plain_pairs,
            dict(spatial_shape=(6, 5), batch_size=2, **how),
            never_empty="A",
        )
        for name, how in _GRIDS.items()
    ),
    Case(
        "sparse_max_pool",
        "sparse_max_pool",
        dict(features=_FEATURES, pairs=_PAIRS, counts=_COUNTS),
        dict(features="N C", pairs="2 P", counts="K"),
        plain_pool,
        dict(size=_N),
        wrt=("features",),
        backward=_pool_backward,
        never_empty="KP",
        indexed="N",
    ),
)


def surface(rng, side=245):
    """Sites of a folded surface, as a scene's voxels lie: side * side of them, in a grid of 48 x 256 x 256."""
    y, x = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    z = (20 + 8 * np.sin(y / 15) + 8 * np.cos(x / 11) + rng.random((side, side))).astype(int)
    sites = np.stack([np.zeros(z.size, int), z.ravel(), y.ravel(), x.ravel()], 1)
    return sites[np.argsort(z, axis=None, kind="stable")].astype(np.int32)


def _tap_by_tap(torch, features, weight, bias, pairs, counts):
    """As torch's own operations do it."""
    out = bias.expand(len(features), -1).clone()
    for (given, to), matrix in zip(pairs.long().split(counts.tolist(), 1), weight, strict=True):
        out.index_add_(0, to, features[given] @ matrix)
    return out


def _close(a, b):
    return np.abs(np.asarray(a) - np.asarray(b)).max() < 1e-4 * np.abs(np.asarray(b)).max()


def _largest(torch, features, pairs, counts):
    to = pairs[1].long()[:, None].expand(-1, features.shape[1])
    return torch.zeros_like(features).scatter_reduce_(0, to, features[pairs[0].long()], "amax", include_self=False)


def _unique(np, indices):
    """Keys of all neighbours looked up among sorted ones."""
    keys = (indices[:, 1].astype(np.int64) * 258 + indices[:, 2] + 1) * 258 + indices[:, 3] + 1
    steps = [(z * 258 + y) * 258 + x for z, y, x in itertools.product((-1, 0, 1), repeat=3)]
    order = np.argsort(keys, kind="stable")
    ordered, pairs = keys[order], []
    for step in steps:
        at = np.minimum(np.searchsorted(ordered, keys + step), len(keys) - 1)
        (to,) = np.nonzero(ordered[at] == keys + step)
        pairs.append(np.stack([order[at[to]], to]))
    return np.concatenate(pairs, 1).astype(np.int32)


def timed():
    rng = np.random.default_rng(0)
    for side in (40, 245):
        sites = surface(rng, side)
        n = len(sites)
        _, pairs, counts = ops.sparse_conv_pairs(sites, (48, 256, 256), 1, 3, subm=True)
        x = rng.standard_normal((n, 64), np.float32)
        yield Timed(
            f"sparse_conv_pairs, submanifold, {n:,} sites",
            "sparse_conv_pairs",
            dict(indices=sites),
            dict(spatial_shape=(48, 256, 256), batch_size=1, kernel_size=3, subm=True),
            {"NumPy's searchsorted": ("numpy", _unique)},
            at_least=2,
            agree=lambda ours, theirs: np.array_equal(ours[1], theirs),
        )
        weight, bias = rng.standard_normal((27, 64, 64), np.float32), rng.standard_normal(64, np.float32)
        yield Timed(
            f"sparse_conv, 64 -> 64 channels, {n:,} sites",
            "sparse_conv",
            dict(features=x, weight=weight, bias=bias, pairs=pairs, counts=counts),
            dict(size=n),
            {"torch, tap by tap": ("torch", _tap_by_tap)},
            at_least=2,
            agree=_close,
        )
        yield Timed(
            f"sparse_max_pool, 64 channels, {n:,} sites",
            "sparse_max_pool",
            dict(features=x, pairs=pairs, counts=counts),
            dict(size=n),
            {"torch's scatter_reduce": ("torch", _largest)},
            at_least=2,
        )
