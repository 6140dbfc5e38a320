"""Focal losses against their formulas in float64 by torch, and reference values of the established implementation."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import arrayvision
from arrayvision import ops
from tests.conftest import on

EPS = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-23, "float64": 2**-52}
LOSSES = {
    "sigmoid": (ops.sigmoid_focal_loss, ops.sigmoid_focal_loss_backward),
    "softmax": (ops.softmax_focal_loss, ops.softmax_focal_loss_backward),
}
REFERENCE = [
    ([[1.0, 0], [0, 1]], [0, 1]),
    ([[1.0, 0, -1], [0, 1, 2]], [2, 1]),
    ([[1e-6, 2e-6, 3e-6], [4e-6, 5e-5, 6e-4], [7e-3, 8e-2, 9e-1]], [1, 2, 0]),
]
EXPECTED = {
    "softmax": [
        (0.00566451, [[-0.00657264, 0.00657264], [0.00657264, -0.00657264]]),
        (0.34956908, [[0.10165970, 0.03739851, -0.13905823], [0.01227554, -0.10298023, 0.09070466]]),
        (
            0.15754992,
            [
                [0.02590877, -0.05181759, 0.02590882],
                [0.02589641, 0.02589760, -0.05179400],
                [-0.07307514, 0.02234372, 0.05073142],
            ],
        ),
    ],
    "sigmoid": [
        (0.13562961, [[-0.00657264, 0.11185755], [0.11185755, -0.00657264]]),
        (1.10251057, [[0.28808805, 0.11185755, -0.09602935], [0.11185755, -0.00657264, 0.40376765]]),
        (
            0.42287254,
            [
                [0.07457182, -0.02485716, 0.07457201],
                [0.07457211, 0.07457669, -0.02483728],
                [-0.02462499, 0.08277918, 0.18050370],
            ],
        ),
    ],
}


def formula(kind, x, target, gamma, alpha, weight, reduction, grad=None):
    """The loss in float64, and the gradient for x of its product with grad."""
    x = torch.from_numpy(np.array(x, np.float64)).requires_grad_()
    target = torch.from_numpy(np.array(target, np.int64))
    n, classes = x.shape
    known = (target >= 0) & (target < classes)
    own = F.one_hot(torch.where(known, target, 0), classes).double() * known[:, None]
    w = torch.ones(n, dtype=torch.double)
    if weight is not None:
        w = torch.where(known, torch.from_numpy(np.array(weight, np.float64))[torch.where(known, target, 0)], w)
    if kind == "sigmoid":
        log_p, log_q = F.logsigmoid(x), F.logsigmoid(-x)
        loss = -alpha * own * (gamma * log_q).exp() * log_p - (1 - alpha) * (1 - own) * (gamma * log_p).exp() * log_q
        loss = loss * w[:, None]
    else:
        log_p = (F.log_softmax(x, 1) * own).sum(1)
        rest = (F.softmax(x, 1) * (1 - own)).sum(1)
        loss = torch.where(known, -alpha * rest**gamma * log_p * w, 0.0)
    loss = {"none": loss, "mean": loss.sum() / n, "sum": loss.sum()}[reduction]
    if grad is None:
        return loss.detach().numpy()
    (loss * torch.from_numpy(np.array(grad, np.float64))).sum().backward()
    return loss.detach().numpy(), x.grad.numpy()


def make(n, classes, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 4, (n, classes)), rng.integers(-1, classes, n), rng.uniform(0.2, 2, classes)


@pytest.mark.parametrize("kind", LOSSES)
def test_reference(kind, backend):
    loss, backward = (on(backend, f) for f in LOSSES[kind])
    for (x, target), (value, grad) in zip(REFERENCE, EXPECTED[kind], strict=True):
        x, target = np.array(x, np.float32), np.array(target)
        np.testing.assert_allclose(loss(x, target), value, rtol=2e-6)  # theirs are in float32
        np.testing.assert_allclose(backward(np.ones((), np.float32), x, target), grad, rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("kind", LOSSES)
def test_formula(kind, dtype, library):
    if not library.has(dtype):
        pytest.skip("the library has no such dtype")
    loss, backward = LOSSES[kind]
    rng = np.random.default_rng(1)
    for n, classes in ((23, 5), (4, 70), (40, 1 if kind == "sigmoid" else 2)):
        x, target, weight = make(n, classes)
        x, weight, target = library.asarray(x, dtype), library.asarray(weight, dtype), library.asarray(target)
        values = [library.numpy(a).astype(np.float64) for a in (x, target, weight)]
        # exponentials of numbers up to 60, each rounded; the result, rounded once, may be subnormal
        close = dict(rtol=64 * EPS["float32" if dtype != "float64" else dtype] + EPS[dtype], atol=2**-24)
        for gamma, alpha, weighted, reduction in (
            (2, 0.25, False, "none"),
            (1.5, 0.6, True, "none"),
            (0, 0.25, True, "mean"),
            (0.5, 0.25, False, "sum"),
        ):
            shape = (n, classes)[: 2 if kind == "sigmoid" else 1] if reduction == "none" else ()
            grad = library.asarray(rng.uniform(0.5, 2, shape), dtype)
            expected = formula(
                kind, *values[:2], gamma, alpha, values[2] if weighted else None, reduction, library.numpy(grad)
            )
            arguments = x, target, gamma, alpha, weight if weighted else None, reduction
            found = loss(*arguments), backward(grad, *arguments)
            for a, b in zip(found, expected, strict=True):
                assert library.owns(a) and str(a.dtype).rsplit(".", 1)[-1] == dtype and tuple(a.shape) == b.shape
                np.testing.assert_allclose(library.numpy(a).astype(np.float64), b, **close)


@pytest.mark.parametrize("kind", LOSSES)
def test_layouts(kind, backend):
    x, target, _ = make(12, 6)
    x = x.astype(np.float32)
    wide = np.zeros((24, 12), np.float32)
    wide[::-2, 1::2] = x
    loss, backward = (on(backend, f) for f in LOSSES[kind])
    grad = np.float32(2).reshape(1)[0:1].reshape(())
    plain = loss(x, target, reduction="none"), backward(np.asarray(grad), x, target)
    read_only = x.copy()
    read_only.flags.writeable = False
    others = [np.asfortranarray(x), wide[::-2, 1::2], read_only]
    if backend != "cuda":
        others += [x.astype(">f4"), np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)]
    for other in others:
        np.testing.assert_array_equal(loss(other, target.astype(np.int32), reduction="none"), plain[0])
        np.testing.assert_array_equal(backward(np.asarray(grad), other, target), plain[1])


def test_logits_of_any_size(backend):
    x = np.array([[-np.inf, -1e30, -200, 0, 200, 1e30, np.inf]], np.float32).T
    each = dict(reduction="none", alpha=0.5)
    loss, backward = (on(backend, f) for f in LOSSES["sigmoid"])
    ones = np.ones_like(x)
    for gamma in (0, 0.5, 2, 3):
        for label, far in ((0, x.T[0][:3]), (1, x.T[0][:3:-1])):
            target = np.full(7, label)
            value, slope = loss(x, target, gamma, **each).T[0], backward(ones, x, target, gamma, **each).T[0]
            if label:
                value, slope = value[::-1], -slope[::-1]
            np.testing.assert_allclose(value[:3], 0.5 * np.abs(far), rtol=1e-6)
            np.testing.assert_allclose(slope[:3], -0.5, rtol=1e-6)
            np.testing.assert_allclose(value[4:], 0, atol=1e-37)
            np.testing.assert_allclose(slope[4:], 0, atol=1e-37)
    loss, backward = (on(backend, f) for f in LOSSES["softmax"])
    x = np.array([[0, 1000], [1000, 0], [-np.inf, 0], [0, -np.inf]], np.float32)
    target = np.zeros(4, np.int64)
    np.testing.assert_array_equal(loss(x, target, **each), [500, 0, np.inf, 0])
    slopes = backward(np.ones(4, np.float32), x, target, **each)
    np.testing.assert_allclose(slopes, [[-0.5, 0.5], [0, 0], [-0.5, 0.5], [0, 0]], atol=1e-37)


@pytest.mark.parametrize("kind", LOSSES)
def test_nan_stays_in_its_row(kind, backend):
    x, target, _ = make(9, 4)
    x[3, 1] = np.nan
    loss, backward = (on(backend, f) for f in LOSSES[kind])
    target = np.abs(target)
    value = loss(x, target, reduction="none")
    assert np.isnan(value[3]).any() and np.isfinite(np.delete(value, 3, 0)).all()
    slopes = backward(np.ones_like(value), x, target, reduction="none")
    assert np.isnan(slopes[3]).any() and np.isfinite(np.delete(slopes, 3, 0)).all()


def test_one_class_has_no_rival(backend):
    x, target = np.array([[3.0], [-5]]), np.zeros(2, np.int64)
    for gamma in (0, 0.5, 2):
        np.testing.assert_array_equal(on(backend, ops.softmax_focal_loss)(x, target, gamma, reduction="none"), [0, 0])
        slopes = on(backend, ops.softmax_focal_loss_backward)(np.ones(()), x, target, gamma)
        np.testing.assert_array_equal(slopes, [[0], [0]])


def test_background(backend):
    x = np.array([[0.5, -1]])
    loss = on(backend, ops.sigmoid_focal_loss)
    weight = np.array([3.0, 4])
    negatives = formula("sigmoid", x, [2], 2, 0.25, None, "none")
    for label in (2, -1, -100):
        np.testing.assert_allclose(loss(x, np.array([label]), weight=weight, reduction="none"), negatives, rtol=1e-12)
    assert on(backend, ops.softmax_focal_loss)(x, np.array([-1]), weight=weight, reduction="sum") == 0
    slopes = on(backend, ops.softmax_focal_loss_backward)(np.ones(()), x, np.array([-7]))
    np.testing.assert_array_equal(slopes, np.zeros((1, 2)))


@pytest.mark.parametrize("kind", LOSSES)
def test_labels_beyond_the_classes(kind, backend):
    loss, backward = (on(backend, f) for f in LOSSES[kind])
    x = np.zeros((3, 2), np.float32)
    target = np.array([0, 2 + (kind == "sigmoid"), 1])
    for f in (lambda: loss(x, target, reduction="none"), lambda: backward(np.ones((), np.float32), x, target)):
        if backend == "cpu":
            with pytest.raises(ValueError, match=rf"{kind}_focal_loss\w*: target must be at most {target[1] - 1}"):
                f()
        else:
            out = f()
            assert np.isnan(out[1]).all() and np.isfinite(out[[0, 2]]).all()


@pytest.mark.parametrize("kind", LOSSES)
def test_empty(kind, library):
    loss, backward = LOSSES[kind]
    rows = library.asarray(np.zeros((0, 3), np.float32))
    columns = library.asarray(np.zeros((3, 0), np.float32))
    none, background = library.asarray(np.zeros(0, np.int64)), library.asarray(np.full(3, -1))
    one = library.asarray(np.ones((), np.float32))
    assert tuple(loss(rows, none, reduction="none").shape) == ((0, 3) if kind == "sigmoid" else (0,))
    assert float(loss(rows, none, reduction="sum")) == 0 and np.isnan(float(loss(rows, none)))
    assert tuple(backward(one, rows, none).shape) == (0, 3)
    assert float(loss(columns, background)) == 0
    assert tuple(backward(one, columns, background).shape) == (3, 0)


@pytest.mark.parametrize("kind", LOSSES)
def test_threads_change_no_bit(kind):
    loss, backward = LOSSES[kind]
    x, target, weight = make(3000, 33)
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    found, before = [], arrayvision.get_num_threads()
    try:
        for count in (1, 2, 5):
            arrayvision.set_num_threads(count)
            found.append((loss(x, target, weight=weight), backward(np.ones((), np.float32), x, target, 1.5, 0.3)))
    finally:
        arrayvision.set_num_threads(before)
    for value, slopes in found[1:]:
        assert value == found[0][0]
        np.testing.assert_array_equal(slopes, found[0][1])


@pytest.mark.parametrize("kind", LOSSES)
def test_numbers_of_numpy_as_gradients_and_integer_logits(kind):
    loss, backward = LOSSES[kind]
    x, target = np.array([[3, -2], [0, 1]]), np.array([1, 0])
    assert loss(x, target).dtype == np.float32
    np.testing.assert_allclose(
        backward(np.float64(3), x, target), formula(kind, x, target, 2, 0.25, None, "mean", 3)[1], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (dict(input=np.zeros(3)), ValueError, "input must have shape (N, C), got (3,)"),
        (dict(input=[[0.0]]), TypeError, "input must be an array"),
        (dict(input=np.zeros((3, 2), complex)), TypeError, "input must hold real numbers"),
        (dict(target=np.zeros(4, int)), ValueError, "target must have as many rows as input, got 4 and 3"),
        (dict(target=np.zeros((3, 1), int)), ValueError, "target must have shape (N,), got (3, 1)"),
        (dict(target=np.full(3, 0.5)), ValueError, "target must hold whole numbers"),
        (dict(weight=np.ones(3)), ValueError, "weight must have shape (2,), got (3,)"),
        (dict(weight=np.array(["a", "b"])), TypeError, "weight must hold real numbers"),
        (dict(gamma=-1), ValueError, "gamma must be at least 0, got -1"),
        (dict(gamma=float("nan")), ValueError, "gamma must be at least 0, got nan"),
        (dict(alpha="a"), TypeError, "alpha must be a number, got str"),
        (dict(reduction="max"), ValueError, "reduction must be 'none', 'mean' or 'sum', got 'max'"),
        (dict(target=torch.zeros(3, dtype=torch.long)), TypeError, "give both from one library"),
    ],
)
@pytest.mark.parametrize("kind", LOSSES)
def test_bad_arguments(kind, change, error, text):
    arguments = dict(input=np.zeros((3, 2)), target=np.zeros(3, int), gamma=2.0, alpha=0.25, weight=None) | change
    loss, backward = LOSSES[kind]
    with pytest.raises(error) as raised:
        loss(**arguments)
    assert str(raised.value).startswith(f"{kind}_focal_loss: ") and text in str(raised.value)
    with pytest.raises(error):
        backward(grad=np.ones(()), **arguments)


def test_gradient_of_a_wrong_shape():
    x, target = np.zeros((3, 2)), np.zeros(3, int)
    with pytest.raises(ValueError, match=r"grad must have shape \(\), got \(3,\)"):
        ops.sigmoid_focal_loss_backward(np.ones(3), x, target)
    with pytest.raises(ValueError, match=r"grad must have shape \(3,\), got \(3, 2\)"):
        ops.softmax_focal_loss_backward(np.ones((3, 2)), x, target, reduction="none")


def test_sums_of_floats_are_those_of_doubles(backend):
    """Of many, of which each is far below the sum; and of some that are too large for floats together."""
    rng = np.random.default_rng(0)
    x, target = rng.normal(-3, 2, (3000, 80)).astype(np.float32), rng.integers(0, 81, 3000)
    loss = on(backend, ops.sigmoid_focal_loss)
    each = loss(x, target, reduction="none").astype(np.float64)
    assert loss(x, target, reduction="sum") == np.float32(each.sum())
    x, target = np.array([[3e38], [3e38], [1]] * 40, np.float32), np.ones(120, int)
    np.testing.assert_allclose(loss(x, target, reduction="mean"), 1.5e38, rtol=1e-6)
    x[1] = np.inf
    assert loss(x, target, reduction="mean") == np.inf
    x[2] = np.nan
    assert np.isnan(loss(x, target, reduction="mean"))
