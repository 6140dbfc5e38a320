"""bbox_overlaps against its formula in float64, and the golden data."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from arrayvision import ops
from arrayvision.torch_bridge import ops as torch_ops
from tests.conftest import on
from tests.golden import cases


def make(n, seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-50, 50, (n, 2))
    return np.concatenate([xy, xy + rng.uniform(-2, 40, (n, 2))], 1).astype(dtype)


def formula(a, b, mode="iou", aligned=False, offset=0):
    a, b = a.astype(np.float64), b.astype(np.float64)
    if not aligned:
        a, b = a[:, None], b[None]
    (w, h), (u, v) = (
        np.moveaxis(a[..., 2:] - a[..., :2] + offset, -1, 0),
        np.moveaxis(b[..., 2:] - b[..., :2] + offset, -1, 0),
    )
    iw = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]) + offset
    ih = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]) + offset
    with np.errstate(all="ignore"):
        inter = np.where((iw > 0) & (ih > 0), iw * ih, 0)
        out = inter / (w * h if mode == "iof" else w * h + u * v - inter)
        fine = (w > 0) & (h > 0) & (u > 0) & (v > 0) & np.isfinite(w * h) & np.isfinite(u * v)
    return np.where(fine, out, 0)


@pytest.mark.parametrize("case", cases("bbox_overlaps"), ids=lambda c: c.name)
def test_golden(case, library):
    out = ops.bbox_overlaps(*map(library.asarray, case.inputs.values()), **case.args)
    assert library.owns(out)
    np.testing.assert_allclose(library.numpy(out), case.outputs["0"], rtol=0, atol=2**-23)


@pytest.mark.parametrize("mode", ["iou", "iof"])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_formula(mode, aligned, offset, dtype, library):
    if not library.has(dtype):
        pytest.skip("the library has no such dtype")
    a, b = library.asarray(make(70, 0), dtype), library.asarray(make(70 if aligned else 33, 1), dtype)
    out = ops.bbox_overlaps(a, b, mode, aligned, offset)
    expected = formula(library.numpy(a), library.numpy(b), mode, aligned, offset)
    assert str(out.dtype).rsplit(".", 1)[-1] == dtype and tuple(out.shape) == expected.shape
    rounding = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-21, "float64": 2**-50}[dtype]
    np.testing.assert_allclose(library.numpy(out).astype(np.float64), expected, rtol=rounding, atol=rounding)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (17, 300), (300, 17), (5000, 3)])
def test_shapes_and_threads(m, n, backend):
    a, b = make(m, 2), make(n, 3)
    np.testing.assert_allclose(on(backend, ops.bbox_overlaps)(a, b), formula(a, b), rtol=2**-20, atol=2**-20)


@pytest.mark.parametrize(("m", "n"), [(0, 0), (0, 3), (3, 0)])
def test_empty(m, n, library):
    a, b = library.asarray(make(m, 0)), library.asarray(make(n, 1))
    out = ops.bbox_overlaps(a, b)
    assert tuple(out.shape) == (m, n) and library.owns(out)
    if m == n:
        assert tuple(ops.bbox_overlaps(a, b, aligned=True).shape) == (0,)


def test_what_has_no_area_overlaps_nothing(backend):
    bad = [
        [0, 0, 0, 5],
        [5, 5, 0, 0],
        [0, 0, np.nan, 5],
        [0, 0, np.inf, 5],
        [-np.inf, 0, np.inf, 5],
        [0, 0, 1e30, 1e30],
    ]
    boxes = np.array([[0, 0, 5, 5], *bad], np.float32)
    out = on(backend, ops.bbox_overlaps)(boxes, boxes)
    np.testing.assert_array_equal(out, np.diag([1, 0, 0, 0, 0, 0, 0]))
    assert on(backend, ops.bbox_overlaps)(boxes[1:2], boxes[1:2], offset=1)[0, 0] == 1


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1]))
def test_properties(seed, offset):
    """Symmetric to the bit, within [0, 1], and 1 with itself."""
    boxes = make(40, seed)
    iou = ops.bbox_overlaps(boxes, boxes, offset=offset)
    np.testing.assert_array_equal(iou, iou.T)
    assert iou.min() >= 0 and iou.max() <= 1
    sides = boxes[:, 2:] - boxes[:, :2] + offset
    np.testing.assert_array_equal(iou.diagonal(), (sides > 0).all(1))


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((make(3, 0)[:, :3], make(3, 0)), ValueError, r"bboxes1 must have shape \(M, 4\), got \(3, 3\)"),
        ((make(3, 0), make(3, 0)[0]), ValueError, r"bboxes2 must have shape \(N, 4\), got \(4,\)"),
        ((make(3, 0), make(4, 0), "iou", True), ValueError, "bboxes2 must have as many rows as bboxes1, got 4 and 3"),
        ((make(3, 0), make(3, 0), "giou"), ValueError, "mode must be 'iou' or 'iof', got 'giou'"),
        ((make(3, 0), make(3, 0), "iou", False, 2), ValueError, "offset must be 0 or 1, got 2"),
        ((make(3, 0), make(3, 0), "iou", "no"), TypeError, "aligned must be True or False"),
        ((make(3, 0).astype(complex), make(3, 0)), TypeError, "bboxes1 must hold real numbers"),
        ((make(3, 0).tolist(), make(3, 0)), TypeError, "bboxes1 must be an array"),
    ],
)
def test_bad_input(args, error, message, backend):
    with pytest.raises(error, match=f"bbox_overlaps: {message}"):
        on(backend, ops.bbox_overlaps)(*args)


def test_no_boxes_of_one_dimension():
    """`torch.FloatTensor([])` has the shape (0,)."""
    none, some = torch.FloatTensor([]), torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8]])
    for function in (ops.bbox_overlaps, torch_ops.bbox_overlaps):
        for first, second, shape in ((none, some, (0, 2)), (some, none, (2, 0)), (none, none, (0, 0))):
            got = function(first, second)
            assert tuple(got.shape) == shape and got.dtype == torch.float32
        assert function(none, torch.zeros(0, 4), aligned=True).shape == (0,)
        with pytest.raises(ValueError, match="bboxes2 must have as many rows as bboxes1"):
            function(none, some, aligned=True)
        for wrong in (torch.zeros(4), torch.zeros(0, 5)):
            with pytest.raises(ValueError, match=r"bboxes1 must have shape \(M, 4\)"):
                function(wrong, some)
