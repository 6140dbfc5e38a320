"""Regions that CPU and CUDA kernels must treat alike: random ones that cross borders, are tiny, empty, huge or not finite."""

import numpy as np
import pytest

from arrayvision import array, ops
from arrayvision.cuda import emulator

SIZES = [(1, 1), (3, 2), (2, 5), (4, 3)]
MAPS = [(1, 3, 7, 9), (2, 5, 6, 4), (1, 1, 1, 1), (2, 4, 1, 8), (1, 2, 17, 13), (1, 3, 0, 4)]
DTYPES = ["float32", "float64", "float16", "int16", "uint8", "int64"]
SCALES = [1.0, 0.5, 0.25, 1 / 3, 2.0]


def exact(scale):
    """Whether positions are scaled without rounding. Where they aren't, samples that meet a border or a pixel just so can lie
    on either side of it, and are not asked for."""
    return np.log2(scale) % 1 == 0


def values(rng, shape, dtype, infinite):
    """Features or gradients; now and then with an infinite number or a NaN."""
    if dtype[:5] != "float":
        return rng.integers(0, 200, shape).astype(dtype)
    x = rng.normal(size=shape).astype(dtype)
    if x.size and infinite and rng.random() < 0.3:
        x.ravel()[rng.integers(x.size, size=2)] = rng.choice([np.inf, -np.inf, np.nan], 2)
    return x


def corners(rng, count, h, w, scale):
    """(count, 4): x1, y1, x2, y2 in the image's pixels."""
    side = np.array([w, h, w, h]) / scale
    a = rng.uniform(-0.5, 1.5, (count, 4)) * side
    for k in range(count):
        kind = rng.integers(8)
        if kind == 0 and exact(scale):  # whole numbers, on which samples meet pixels and borders
            a[k] = np.round(a[k])
        elif kind == 1:  # tiny
            a[k, 2:] = a[k, :2] + rng.uniform(0, 1e-3, 2)
        elif kind == 2:  # empty, or the wrong way round
            a[k, 2:] = a[k, :2] - rng.choice([0, 1, 3], 2)
        elif kind == 3:  # far away
            a[k] += rng.choice([-1e3, 1e3])
        elif kind == 4:  # huge
            a[k] *= rng.choice([30, 200])
        elif kind == 5 and exact(scale):
            a[k] = np.round(a[k] * 4) / 4
        elif kind == 6 and rng.random() < 0.5:
            a[k, rng.integers(4)] = rng.choice([np.nan, np.inf, -np.inf])
        else:
            a[k] = np.concatenate([np.minimum(a[k, :2], a[k, 2:]), np.maximum(a[k, :2], a[k, 2:])])
    return a


def upright(rng, shape, scale, count=8):
    return np.column_stack([rng.integers(0, shape[0], count), corners(rng, count, *shape[2:], scale)])


def rotated(rng, shape, scale, count=8):
    x1, y1, x2, y2 = corners(rng, count, *shape[2:], scale).T
    angle = np.where(
        rng.random(count) < 0.3, 0, rng.uniform(-7, 7, count)
    )  # no quarter turns: they round samples at borders
    with np.errstate(invalid="ignore"):
        box = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, angle]
    return np.column_stack([rng.integers(0, shape[0], count), *box])


def curves(rng, shape, scale, count=8):
    parts = [corners(rng, count, *shape[2:], scale) for _ in range(4)]
    return np.column_stack([rng.integers(0, shape[0], count), *parts])


def roi_align(rng, x, g, size, scale, real):
    rois, how = upright(rng, x.shape, scale).astype(real), (scale, int(rng.integers(4)), bool(rng.integers(2)))
    yield lambda _: ops.roi_align(x, rois, size, *how[:2], "avg", how[2])
    yield lambda _: ops.roi_align_backward(g(len(rois)), rois, x.shape, *how)


def roi_align_max(rng, x, g, size, scale, real):
    rois, how = upright(rng, x.shape, scale).astype(real), (scale, int(rng.integers(4)), bool(rng.integers(2)))
    yield lambda _: ops.roi_align_with_argmax(x, rois, size, *how)
    yield lambda first: ops.roi_align_max_backward(g(len(rois)), first[1], rois, x.shape, *how)


def roi_pool(rng, x, g, size, scale, real):
    rois = upright(rng, x.shape, scale).astype(real)
    yield lambda _: ops.roi_pool_with_argmax(x, rois, size, scale)
    yield lambda first: ops.roi_pool_backward(g(len(rois)), first[1], rois, x.shape)


def roi_align_rotated(rng, x, g, size, scale, real):
    rois = rotated(rng, x.shape, scale).astype(real)
    how = scale, int(rng.integers(4)), bool(rng.integers(2)), bool(rng.integers(2))
    yield lambda _: ops.roi_align_rotated(x, rois, size, *how)
    yield lambda _: ops.roi_align_rotated_backward(g(len(rois)), rois, x.shape, *how)


def riroi_align_rotated(rng, x, g, size, scale, real):
    rois, how = rotated(rng, x.shape, scale).astype(real), (scale, int(rng.integers(4)), x.shape[1], True)
    yield lambda _: ops.riroi_align_rotated(x, rois, size, *how)
    yield lambda _: ops.riroi_align_rotated_backward(g(len(rois)), rois, x.shape, *how)


def bezier_align(rng, x, g, size, scale, real):
    rows, how = curves(rng, x.shape, scale).astype(real), (scale, int(rng.integers(4)), bool(rng.integers(2)))
    yield lambda _: ops.bezier_align(x, rows, size, *how)
    yield lambda _: ops.bezier_align_backward(g(len(rows)), rows, x.shape, *how)


def prroi_pool(rng, x, g, size, scale, real):
    rois = upright(rng, x.shape, scale).astype(real)
    yield lambda _: ops.prroi_pool(x, rois, size, scale)
    yield lambda _: ops.prroi_pool_backward(g(len(rois)), x, rois, scale)


def deform_roi_pool(rng, x, g, size, scale, real):
    rois, offset = upright(rng, x.shape, scale).astype(real), None
    if rng.integers(2):
        offset = rng.normal(size=(len(rois), 2, *size)).astype(real)
    how = scale, int(rng.integers(4)), 0.5
    yield lambda _: ops.deform_roi_pool(x, rois, offset, size, *how)
    yield lambda _: ops.deform_roi_pool_backward(g(len(rois)), x, rois, offset, *how)


def border_align(rng, x, g, size, scale, real):
    x = np.concatenate([x] * 4, 1)
    boxes = np.stack([corners(rng, 8, *x.shape[2:], 1.0) for _ in x]).astype(real)
    steps = int(rng.integers(1, 6))
    yield lambda _: ops.border_align_with_argmax(x, boxes, steps)
    grad = np.stack([g(8, 4)[:, :, 0].transpose(1, 0, 2) for _ in x])
    yield lambda first: ops.border_align_backward(grad, first[1], boxes, x.shape, steps)


def rotated_feature_align(rng, x, g, size, scale, real):
    b, _, h, w = x.shape
    boxes = rotated(rng, x.shape, scale, b * h * w)[:, [2, 1, 3, 4, 5]].reshape(b, h, w, 5).astype(real)
    points = int(rng.choice([1, 5]))
    yield lambda _: ops.rotated_feature_align(x, boxes, scale, points)
    yield lambda _: ops.rotated_feature_align_backward(np.flip(x, 3), boxes, scale, points)


OPERATORS = [
    roi_align, roi_align_max, roi_pool, roi_align_rotated, riroi_align_rotated, bezier_align, prroi_pool, deform_roi_pool,
    border_align, rotated_feature_align,
]  # fmt: skip


def alike(a, b, dtype):
    """The same numbers, up to the rounding of positions and sums in the regions' type."""
    assert (a is None) == (b is None)
    if a is None:
        return
    assert a.dtype == b.dtype and a.shape == b.shape
    if a.dtype.kind == "i":  # which of some is the greatest: of whole numbers many are
        if dtype[:5] == "float":
            np.testing.assert_array_equal(a, b)
        return
    a, b = a.astype(np.float64), b.astype(np.float64)
    scale = np.max(np.abs(a), initial=1, where=np.isfinite(a))
    close = {"float64": 1e-9, "float16": 4e-3}.get(dtype, 1e-3)
    np.testing.assert_allclose(a, b, rtol=close, atol=close * scale)


def one(operator, seed, monkeypatch):
    rng = np.random.default_rng(seed)
    shape, size, dtype = (
        MAPS[rng.integers(len(MAPS))],
        SIZES[rng.integers(len(SIZES))],
        DTYPES[rng.integers(len(DTYPES))],
    )
    scale = SCALES[rng.integers(len(SCALES))]
    x = values(rng, shape, dtype, exact(scale))
    if rng.integers(2):
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    real = "float64" if dtype == "float64" else str(rng.choice(["float32", "float64"]))
    grads = {}

    def gradient(count, *last):
        key = count, *last
        if key not in grads:
            own = np.random.default_rng(seed)
            grads[key] = values(own, (count, shape[1], *((1, *last) if last else size)), dtype, exact(scale))
        return grads[key]

    first = None
    for direction, call in enumerate(operator(rng, x, gradient, size, scale, real)):
        results = []
        for emulated in (False, True):
            monkeypatch.setattr(array, "EMULATED", emulated)
            with np.errstate(all="ignore"):
                result = call(first)
            results.append(result if isinstance(result, tuple) else (result,))
        first = results[0]
        if (
            direction and operator is deform_roi_pool
        ):  # sums of infinite gradients: NaN in one order, infinite in another
            results = [
                [r if r is None else np.where(np.isfinite(r), r, r.dtype.type(np.nan)) for r in s] for s in results
            ]
        for number, (a, b) in enumerate(zip(*results, strict=True)):
            try:
                alike(a, b, dtype)
            except AssertionError as error:
                raise AssertionError(
                    f"{operator.__name__}, seed {seed}, {['forward', 'backward'][direction]} {number}, {dtype}, {real}, "
                    f"{shape} to {size} at {scale}: {error}"
                ) from None


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda f: f.__name__)
def test_random_regions(operator, monkeypatch):
    monkeypatch.setattr(emulator, "races", True)  # the build that other tests have
    for seed in range(300 if operator is roi_pool else 30):  # its rounded borders seldom differ
        one(operator, seed, monkeypatch)


@pytest.mark.parametrize("dtype", ("float16", "float32", "float64"))
def test_regions_of_more_bins_and_channels_than_a_block_has_at_once(dtype, monkeypatch):
    rng = np.random.default_rng(0)
    x, rois = rng.normal(size=(2, 80, 9, 8)).astype(dtype), rotated(rng, (2, 80, 9, 8), 0.5, 9)
    grad = rng.normal(size=(9, 80, 7, 9)).astype(dtype)
    with np.errstate(over="ignore"):
        rois = rois.astype("float64" if dtype == "float64" else "float32")
    for samples in (1, 2, 4, 5):
        for call in (
            lambda: ops.roi_align_rotated(x, rois, (7, 9), 0.5, samples),
            lambda: ops.roi_align_rotated_backward(grad, rois, x.shape, 0.5, samples),
            *(lambda n=n: ops.riroi_align_rotated(x, rois, (7, 9), 0.5, samples, n) for n in (1, 5, 8, 80)),
            lambda: ops.riroi_align_rotated_backward(grad, rois, x.shape, 0.5, samples, 8),
        ):
            results = []
            for emulated in (False, True):
                monkeypatch.setattr(array, "EMULATED", emulated)
                results.append(call())
            alike(*results, dtype)
