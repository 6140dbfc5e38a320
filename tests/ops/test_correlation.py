"""correlation on wide maps, with NaN, and given windows that don't fit."""

import numpy as np
import pytest

from arrayvision import ops
from arrayvision.cases.correlation import plain
from tests.conftest import Library

HOWS = [
    dict(max_displacement=0),
    dict(max_displacement=7, dilation_patch=(1, 3)),
    dict(kernel_size=(1, 4), stride=(1, 3), padding=(0, 5), dilation=(1, 40), max_displacement=2),
]


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_wide_maps(how, backend):
    """Wider than what is worked on together; gradients are the transposes."""
    library, rng = Library("numpy", backend), np.random.default_rng(0)
    a, b = rng.standard_normal((2, 2, 3, 2, 150))
    expected = plain(a, b, **how)
    grad = rng.standard_normal(expected.shape)
    first, second, g = map(library.asarray, (a, b, grad))
    np.testing.assert_allclose(library.numpy(ops.correlation(first, second, **how)), expected, rtol=0, atol=1e-13)
    for other, is_first, x in ((second, True, a), (first, False, b)):
        found = library.numpy(ops.correlation_backward(g, other, is_first, a.shape, **how))
        assert np.vdot(found, x) == pytest.approx(np.vdot(expected, grad), rel=1e-12)
        moved = rng.standard_normal(a.shape)
        along = plain(moved, b, **how) if is_first else plain(a, moved, **how)
        assert np.vdot(found, moved) == pytest.approx(np.vdot(along, grad), rel=1e-12)


def test_one_place(library):
    """Without displacements: products of pixels."""
    a = np.array([[1.0, 2, 3], [0, 1, 2], [3, 5, 2]])[None, None]
    b = np.array([[1.0, 2, 3], [3, 1, 2], [8, 5, 2]])[None, None]
    out = ops.correlation(library.asarray(a), library.asarray(b), max_displacement=0)
    np.testing.assert_array_equal(library.numpy(out), [[[[[1, 4, 9], [0, 1, 4], [24, 25, 4]]]]])


def test_pixels_outside_do_not_count(backend):
    """Whatever those are that they would be multiplied with."""
    library = Library("numpy", backend)
    a, b = np.ones((1, 2, 3, 20)), np.ones((1, 2, 3, 20))
    a[0, 1, 0, 19], b[0, 0, 2, 0] = np.nan, np.inf
    for how in (dict(padding=2), dict(padding=(1, 3), stride=2, max_displacement=3), dict(max_displacement=30)):
        out = library.numpy(ops.correlation(library.asarray(a), library.asarray(b), **how))
        np.testing.assert_array_equal(out, plain(a, b, **how))


def test_wrong_arguments():
    x = np.ones((1, 2, 3, 4))
    for arguments, error, text in (
        (
            dict(kernel_size=4),
            ValueError,
            "kernel_size must be such that its 4 pixels fit the padded maps, whose length is 3",
        ),
        (dict(kernel_size=2, dilation=9), ValueError, "kernel_size must be such that its 10 pixels fit"),
        (dict(kernel_size=0), ValueError, "kernel_size must be at least 1, got 0"),
        (dict(stride=(1, 0)), ValueError, "stride must be at least 1, got 0"),
        (dict(padding=-1), ValueError, "padding must be at least 0, got -1"),
        (dict(dilation=(1, 1, 1)), ValueError, "dilation must be an int or two, got 3"),
        (dict(max_displacement=-1), ValueError, "max_displacement must be at least 0, got -1"),
        (dict(max_displacement=1.5), TypeError, "max_displacement must be an int, got float"),
        (dict(dilation_patch=2**40), ValueError, "dilation_patch must be at most"),
    ):
        with pytest.raises(error, match=rf"^correlation: {text}"):
            ops.correlation(x, x, **arguments)
    with pytest.raises(ValueError, match=r"^correlation: input2 must"):
        ops.correlation(x, x[:, :1])
    with pytest.raises(ValueError, match=r"^correlation_backward: grad must have shape \(1, 3, 3, 3, 4\), got"):
        ops.correlation_backward(np.ones((1, 3, 3, 3, 5)), x, True, x.shape)


def test_module():
    torch = pytest.importorskip("torch")
    from arrayvision.torch_bridge import ops as torch_ops

    module = torch_ops.Correlation(max_displacement=2, stride=2, padding=1)
    assert repr(module) == (
        "Correlation(kernel_size=1, max_displacement=2, stride=2, padding=1, dilation=1, dilation_patch=1)"
    )
    a, b = torch.randn(2, 1, 3, 5, 6, dtype=torch.float64)
    expected = plain(a.numpy(), b.numpy(), max_displacement=2, stride=2, padding=1)
    np.testing.assert_allclose(module(a, b).numpy(), expected, rtol=1e-13, atol=1e-13)
