"""IoU of rotated boxes against shapely, its gradients against central differences; at kinks, where shapely sometimes finds
nothing shared by boxes that differ by a rounding, against a plain clipping of polygons."""

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings, strategies as st

import arrayvision
from arrayvision import ops
from tests.conftest import on

EPS = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-24, "float64": 2**-50}
FLAT = [0, 1, 3, 4, 6]  # the plane's part of a box in space


def corners(b):
    c, s = np.cos(b[..., 4]), np.sin(b[..., 4])
    w, h = b[..., 2] / 2, b[..., 3] / 2
    at = [
        (i * w * c - j * h * s + b[..., 0], i * w * s + j * h * c + b[..., 1])
        for i, j in ((1, 1), (-1, 1), (-1, -1), (1, -1))
    ]
    return np.stack([np.stack(xy, -1) for xy in at], -2)


def by_shapely(p, q):
    return shapely.area(shapely.intersection(shapely.polygons(p), shapely.polygons(q)))


def by_clipping(p, q):
    """I. Sutherland's and G. Hodgman's."""
    if p.ndim > 2:
        return np.array([by_clipping(*pair) for pair in zip(p, q, strict=True)])
    p = list(p)
    for c, d in zip(q, np.roll(q, -1, 0), strict=True):
        side = [(d[0] - c[0]) * (v[1] - c[1]) - (d[1] - c[1]) * (v[0] - c[0]) for v in p]
        out = []
        for k, v in enumerate(p):
            before = side[k - 1]
            if (before < 0) != (side[k] < 0):
                out.append(p[k - 1] + (v - p[k - 1]) * (before / (before - side[k])))
            if side[k] >= 0:
                out.append(v)
        p = out
    if len(p) < 3:
        return 0.0
    x, y = (np.array(p) - p[0]).T
    return 0.5 * (x * np.roll(y, -1) - y * np.roll(x, -1)).sum()


def exact(a, b, shared=by_shapely):
    """In float64."""
    flat = a.shape[-1] == 5
    p, q = (a, b) if flat else (a[..., FLAT], b[..., FLAT])
    inter = shared(corners(p), corners(q))
    sizes = p[..., 2] * p[..., 3], q[..., 2] * q[..., 3]
    if not flat:
        top = np.minimum(a[..., 2] + a[..., 5] / 2, b[..., 2] + b[..., 5] / 2)
        bottom = np.maximum(a[..., 2] - a[..., 5] / 2, b[..., 2] - b[..., 5] / 2)
        inter = inter * np.maximum(top - bottom, 0)
        sizes = sizes[0] * a[..., 5], sizes[1] * b[..., 5]
    return inter / (sizes[0] + sizes[1] - inter)


def differences(a, b, shared=by_shapely, step=1e-6):
    """The central differences of `exact` for both boxes."""
    out = np.zeros_like(a), np.zeros_like(b)
    for k in range(a.shape[-1]):
        h = np.zeros(a.shape[-1])
        h[k] = step
        out[0][..., k] = (exact(a + h, b, shared) - exact(a - h, b, shared)) / (2 * step)
        out[1][..., k] = (exact(a, b + h, shared) - exact(a, b - h, shared)) / (2 * step)
    return out


def make(shape, width, seed=0):
    rng = np.random.default_rng(seed)
    sizes = 2 if width == 5 else 3
    parts = [
        rng.uniform(-1.5, 1.5, (*shape, sizes)),
        rng.uniform(0.3, 3, (*shape, sizes)),
        rng.uniform(-4, 4, (*shape, 1)),
    ]
    return np.concatenate(parts, -1)


def functions(width):
    return {
        5: (ops.diff_iou_rotated_2d, ops.diff_iou_rotated_2d_backward),
        7: (ops.diff_iou_rotated_3d, ops.diff_iou_rotated_3d_backward),
    }[width]


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("width", [5, 7])
def test_exact(width, dtype, library):
    if not library.has(dtype):
        pytest.skip("the library has no such dtype")
    iou, backward = functions(width)
    a, b = (library.asarray(make((2, 30), width, seed), dtype) for seed in (0, 1))
    grad = library.asarray(np.random.default_rng(2).uniform(0.5, 2, (2, 30)), dtype)
    p, q, g = (library.numpy(x).astype(np.float64) for x in (a, b, grad))
    out, slopes = iou(a, b), backward(grad, a, b)
    assert all(library.owns(x) and str(x.dtype).rsplit(".", 1)[-1] == dtype for x in (out, *slopes))
    np.testing.assert_allclose(
        library.numpy(out).astype(np.float64), exact(p, q), rtol=EPS[dtype], atol=2**-24 * (dtype != "float64") + 1e-15
    )
    for found, expected in zip(slopes, differences(p, q), strict=True):
        assert tuple(found.shape) == expected.shape
        expected = expected * g[..., None]
        # the differences' own error: 1e-15 / 1e-6, and the second derivative's change
        np.testing.assert_allclose(
            library.numpy(found).astype(np.float64),
            expected,
            rtol=EPS[dtype],
            atol=1e-8 + 2**-24 * (dtype != "float64"),
        )


def kinks():
    """Pairs with edges on each other, touching and contained, at some angles; each both ways."""
    for angle in (0.0, 0.7, 2.0):
        first = np.array([1.3, -0.4, 2, 1.5, angle])
        c, s = np.cos(angle), np.sin(angle)
        for dx, dy, w, h, turn in (
            (0, 0, 2, 1.5, 0),  # equal
            (0, 0, 1.5, 2, np.pi / 2),
            (0, 0, 2, 1.5, np.pi),
            (0, 0, 1, 1, 0),  # contained
            (0.5, 0, 1, 1, 0),  # contained, an edge on an edge
            (0.5, 0.25, 1, 1, 0),  # two
            (0.5, 0, 1, 1.5, 0),  # three
            (1.5, 0.25, 1, 1, 0),  # touching from outside
            (2, 0, 2, 1.5, 0),
            (2, 0.3, 2, 1.5, 0),
            (2, 1.5, 2, 1.5, 0),  # by a corner
            (0.1, 0, 2, 1.5, 0),
            (0, 0.5, 6, 0.5, 0),
            (0, 0, 2, 1.5, 0.3),  # one centre
            (5, 5, 1, 1, 1),  # apart
        ):
            second = np.array([first[0] + dx * c - dy * s, first[1] + dx * s + dy * c, w, h, angle + turn])
            yield first, second
            yield second, first


def test_kinks(backend):
    p, q = (np.array(x) for x in zip(*kinks(), strict=True))
    ones = np.ones((1, len(p)))
    iou, backward = (on(backend, f) for f in functions(5))
    np.testing.assert_allclose(iou(p[None], q[None])[0], exact(p, q, by_clipping), rtol=1e-14, atol=1e-14)
    for found, expected in zip(backward(ones, p[None], q[None]), differences(p, q, by_clipping), strict=True):
        np.testing.assert_allclose(found[0], expected, rtol=0, atol=2e-6)  # the second derivative times the step
    iou, backward = (on(backend, f) for f in functions(7))
    p, q = p[30:60], q[30:60]
    for z, height in ((0, 2), (2, 2), (0.5, 1), (0.5, 3), (1, 1), (5, 1)):
        a, b = (np.insert(np.insert(x, 2, u, 1), 5, v, 1) for x, u, v in ((p, 0, 2), (q, z, height)))
        np.testing.assert_allclose(iou(a[None], b[None])[0], exact(a, b, by_clipping), rtol=1e-14, atol=1e-14)
        for found, expected in zip(
            backward(ones[:, :30], a[None], b[None]), differences(a, b, by_clipping), strict=True
        ):
            np.testing.assert_allclose(found[0], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("width", [5, 7])
def test_equal_boxes_are_at_the_top(width, backend):
    a = make((3, 40), width).astype(np.float32)
    iou, backward = (on(backend, f) for f in functions(width))
    np.testing.assert_array_equal(iou(a, a), np.ones((3, 40)))
    for slopes in backward(np.ones((3, 40), np.float32), a, a):
        np.testing.assert_allclose(slopes, 0, atol=1e-12)


def test_reference(backend):
    """Values of the established implementation."""
    first = np.tile(np.array([0.5, 0.5, 1, 1, 0], np.float32), (1, 5, 1))
    second = [
        [0.5, 0.5, 1, 1, 0],
        [0.5, 0.5, 1, 1, np.pi / 2],
        [0.5, 0.5, 1, 1, np.pi / 4],
        [1, 1, 1, 1, 0],
        [1.5, 1.5, 1, 1, 0],
    ]
    out = on(backend, ops.diff_iou_rotated_2d)(first, np.array([second], np.float32))
    np.testing.assert_allclose(out, [[1, 1, 0.5**0.5, 1 / 7, 0]], atol=1e-6)
    first = np.tile(np.array([0.5, 0.5, 0.5, 1, 1, 1, 0], np.float32), (1, 5, 1))
    second = [
        [0.5, 0.5, 0.5, 1, 1, 1, 0],
        [0.5, 0.5, 0.5, 1, 1, 2, np.pi / 2],
        [0.5, 0.5, 0.5, 1, 1, 1, np.pi / 4],
        [1, 1, 1, 1, 1, 1, 0],
        [-1.5, -1.5, -1.5, 2.5, 2.5, 2.5, 0],
    ]
    out = on(backend, ops.diff_iou_rotated_3d)(first, np.array([second], np.float32))
    np.testing.assert_allclose(out, [[1, 0.5, 0.5**0.5, 1 / 15, 0]], atol=1e-6)


box = st.tuples(*[st.integers(-8, 8)] * 2, *[st.integers(1, 12)] * 2, st.integers(-16, 16))


@settings(deadline=None, max_examples=100)
@given(box, box)
def test_symmetric_and_indifferent_to_place_and_size(first, second):
    """On a grid, where edges often lie on each other."""
    a, b = (np.array(x)[None, None] * [0.25, 0.25, 0.25, 0.25, np.pi / 8] for x in (first, second))
    one = np.ones((1, 1))
    value, (ga, gb) = ops.diff_iou_rotated_2d(a, b), ops.diff_iou_rotated_2d_backward(one, a, b)
    assert 0 <= value[0, 0] <= 1
    np.testing.assert_allclose(ops.diff_iou_rotated_2d(b, a), value, atol=1e-13)
    np.testing.assert_allclose(ops.diff_iou_rotated_2d_backward(one, b, a), (gb, ga), atol=1e-9)
    np.testing.assert_allclose(ga[..., :2], -gb[..., :2], atol=1e-12)  # both move: nothing changes
    scale = (a[..., :4] * ga[..., :4] + b[..., :4] * gb[..., :4]).sum()  # nor when both grow
    np.testing.assert_allclose(scale, 0, atol=1e-9)


@pytest.mark.parametrize("width", [5, 7])
def test_what_has_no_extent_and_what_is_no_number(width, backend):
    a = np.ones((1, 8, width))
    sizes = [2, 3] if width == 5 else [3, 4, 5]
    for i, size in enumerate(sizes):
        a[0, i, size] = -i
    a[0, 4, 0], a[0, 5, -1], a[0, 6, 1] = np.nan, np.inf, -np.inf
    b = np.ones((1, 8, width))
    fine = np.arange(8) >= 7
    fine[len(sizes) : 4] = True
    iou, backward = (on(backend, f) for f in functions(width))
    for p, q in ((a, b), (b, a)):
        out, slopes = iou(p, q)[0], np.concatenate(backward(np.ones((1, 8)), p, q), -1)[0]
        np.testing.assert_array_equal(out[fine], 1)
        np.testing.assert_array_equal(out[: len(sizes)], 0)
        np.testing.assert_array_equal(slopes[: len(sizes)], 0)
        assert np.isnan(out[4:7]).all() and np.isnan(slopes[4:7]).all()


@pytest.mark.parametrize("width", [5, 7])
def test_empty(width, library):
    iou, backward = functions(width)
    for shape in ((0, 3), (2, 0)):
        boxes = library.asarray(np.zeros((*shape, width), np.float32))
        assert tuple(iou(boxes, boxes).shape) == shape
        for slopes in backward(library.asarray(np.zeros(shape, np.float32)), boxes, boxes):
            assert tuple(slopes.shape) == (*shape, width) and library.owns(slopes)


def test_layouts_and_mixed_dtypes(backend):
    a, b = make((3, 7), 5).astype(np.float32), make((3, 7), 5, 1).astype(np.float32)
    iou, backward = (on(backend, f) for f in functions(5))
    plain, slopes = iou(a, b), backward(np.ones((3, 7), np.float32), a, b)
    wide = np.zeros((6, 7, 10), np.float32)
    wide[::-2, :, ::2] = a
    for other in (np.asfortranarray(a), wide[::-2, :, ::2]):
        np.testing.assert_array_equal(iou(other, b), plain)
        grad = np.broadcast_to(np.ones((), np.float32), (3, 7))
        for x, y in zip(backward(grad, other, np.asfortranarray(b)), slopes, strict=True):
            np.testing.assert_array_equal(x, y)
    assert iou(a, b.astype(np.float64)).dtype == np.float64
    assert [x.dtype for x in backward(np.ones((3, 7), np.float32), a, b.astype(np.float64))] == [np.float64] * 2


def test_threads_change_no_bit():
    a, b = make((4, 3000), 7).astype(np.float32), make((4, 3000), 7, 1).astype(np.float32)
    found, before = [], arrayvision.get_num_threads()
    try:
        for count in (1, 2, 5):
            arrayvision.set_num_threads(count)
            found.append(
                (ops.diff_iou_rotated_3d(a, b), *ops.diff_iou_rotated_3d_backward(np.ones((4, 3000), np.float32), a, b))
            )
    finally:
        arrayvision.set_num_threads(before)
    for other in found[1:]:
        for x, y in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("box1", "box2", "error", "text"),
    [
        (np.zeros((3, 5)), np.zeros((3, 5)), ValueError, "box1 must have shape (B, N, 5), got (3, 5)"),
        (np.zeros((1, 3, 7)), np.zeros((1, 3, 5)), ValueError, "box1 must have shape (B, N, 5), got (1, 3, 7)"),
        (np.zeros((1, 3, 5)), np.zeros((1, 4, 5)), ValueError, "box2 must have shape (1, 3, 5), got (1, 4, 5)"),
        (np.zeros((1, 3, 5)), torch.zeros(1, 3, 5), TypeError, "give both from one library"),
        (np.zeros((1, 3, 5), complex), np.zeros((1, 3, 5)), TypeError, "box1 must hold real numbers"),
        (None, np.zeros((1, 3, 5)), TypeError, "box1"),
    ],
)
def test_bad_arguments(box1, box2, error, text):
    with pytest.raises(error) as raised:
        ops.diff_iou_rotated_2d(box1, box2)
    assert "diff_iou_rotated_2d: " in str(raised.value) and text in str(raised.value)
    with pytest.raises(error):
        ops.diff_iou_rotated_2d_backward(np.zeros((1, 3)), box1, box2)


def test_gradient_of_a_wrong_shape():
    boxes = np.ones((2, 3, 7))
    with pytest.raises(ValueError, match=r"diff_iou_rotated_3d_backward: grad must have shape \(2, 3\), got \(6,\)"):
        ops.diff_iou_rotated_3d_backward(np.ones(6), boxes, boxes)
