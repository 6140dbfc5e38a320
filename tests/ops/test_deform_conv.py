"""Deformable convolution beyond what `test_cases.py` tests of every operator."""

import numpy as np
import pytest

from arrayvision import array, get_num_threads, ops, set_num_threads
from arrayvision.cases.deform_conv import plain
from arrayvision.cpu import deform_conv as on_cpu
from arrayvision.cuda import deform_conv as on_cuda
from tests import golden
from tests.conftest import on

RNG = np.random.default_rng(0)


def close(got, wanted, ulps=64):
    np.testing.assert_allclose(got, wanted, rtol=0, atol=ulps * np.finfo(got.dtype).eps * max(1, np.abs(wanted).max()))


def order(case):
    return [n for n in ("input", "offset", "mask", "weight", "bias") if n in case.inputs]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["deform_conv2d", "modulated_deform_conv2d"])
def test_golden(name, dtype, backend):
    for case in golden.cases(name):
        given = [case.inputs[n].astype(dtype) for n in order(case)]
        close(on(backend, getattr(ops, name))(*given, **case.args), case.outputs["0"])
        found = on(backend, getattr(ops, f"{name}_backward"))(case.cots["0"].astype(dtype), *given, **case.args)
        for argument, gradient in zip(order(case), found, strict=True):
            close(gradient, case.grads[argument], 256)


# batch, input channels, output channels, groups, map, kernel, stride, padding, dilation
CONVOLUTIONS = (
    (2, 40, 70, 1, (9, 11), (3, 3), (1, 1), (1, 1), (1, 1)),
    (1, 6, 9, 3, (14, 13), (2, 5), (2, 1), (0, 3), (1, 2)),
    (3, 70, 35, 5, (7, 8), (1, 1), (1, 2), (0, 0), (1, 1)),
    (1, 8, 8, 8, (5, 5), (3, 3), (1, 1), (2, 2), (2, 2)),
    (2, 3, 1, 1, (2, 2), (4, 4), (1, 1), (2, 2), (1, 1)),  # a map smaller than the filter
    (17, 2, 3, 1, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1)),
)


@pytest.mark.parametrize("sizes", CONVOLUTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_offsets_of_zero_are_the_plain_convolution(sizes, dtype, backend):
    torch = pytest.importorskip("torch")
    batch, channels, made, groups, size, kernel, stride, padding, dilation = sizes
    x, w = torch.randn(batch, channels, *size), torch.randn(made, channels // groups, *kernel)
    x, w = (a.to(getattr(torch, dtype)).requires_grad_() for a in (x, w))
    bias = torch.randn(made, dtype=x.dtype)
    how = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    expected = torch.nn.functional.conv2d(x, w, bias, **how)
    offset = np.zeros((batch, 2 * w[0, 0].numel(), *expected.shape[2:]), dtype)
    mask = np.ones((batch, w[0, 0].numel(), *expected.shape[2:]), dtype)
    given = [a.detach().numpy() for a in (x, w)]
    arrays = [given[0], offset, mask, given[1], bias.numpy()]
    close(on(backend, ops.modulated_deform_conv2d)(*arrays, **how), expected.detach().numpy())
    grad = torch.randn(expected.shape, dtype=x.dtype)
    by_x, by_w = torch.autograd.grad(expected, (x, w), grad)
    found = on(backend, ops.modulated_deform_conv2d_backward)(grad.numpy(), *arrays, **how)
    close(found[0], by_x.numpy())
    close(found[3], by_w.numpy(), 256)
    close(found[4], grad.numpy().sum((0, 2, 3)), 256)


def many(channels=70, made=35, deform_groups=2, size=(8, 9), dtype="float64"):
    """A call whose channels fill no whole number of vectors, tiles and panels."""
    taps = 9
    given = dict(
        input=RNG.standard_normal((2, channels, *size)),
        offset=RNG.standard_normal((2, deform_groups * taps * 2, *size)) * 2,
        mask=RNG.uniform(-1, 1, (2, deform_groups * taps, *size)),
        weight=RNG.standard_normal((made, channels, 3, 3)) / 8,
    )
    return {n: x.astype(dtype) for n, x in given.items()}, dict(padding=1, deform_groups=deform_groups)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_channels(dtype, backend):
    given, how = many(dtype=dtype)
    wide = {n: x.astype(float) for n, x in given.items()}
    close(on(backend, ops.modulated_deform_conv2d)(*given.values(), **how), plain(**wide, **how), 256)


def gradients(backend, given, how, grad):
    call = on(backend, ops.modulated_deform_conv2d_backward)
    return call(grad, *given.values(), np.zeros(grad.shape[1], grad.dtype), **how)


def test_gradients_are_differences(backend):
    """Of many channels, in a random direction."""
    given, how = many()
    call = on(backend, ops.modulated_deform_conv2d)
    grad = RNG.standard_normal(call(*given.values(), **how).shape)
    found = gradients(backend, given, how, grad)
    step = 1e-6
    for k, name in enumerate(given):
        move = RNG.standard_normal(given[name].shape)
        ends = [call(*{**given, name: given[name] + sign * step * move}.values(), **how) for sign in (1, -1)]
        np.testing.assert_allclose((found[k] * move).sum(), ((ends[0] - ends[1]) * grad).sum() / (2 * step), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_channels_that_are_read_and_added_to_together(dtype, backend):
    """72 of each group, which are several vectors and no whole number of warps, beside what the CPU finds, in both layouts."""
    given, how = many(channels=144, made=3, dtype=dtype)
    if backend == "cpu":
        pytest.skip("what GPUs do is compared with the CPU")
    last = np.ascontiguousarray(given["input"].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    expected = ops.modulated_deform_conv2d(*given.values(), **how)
    grad = RNG.standard_normal(expected.shape).astype(dtype)
    gradients_expected = gradients("cpu", given, how, grad)
    for x in (given["input"], last):
        call = {**given, "input": x}
        close(on(backend, ops.modulated_deform_conv2d)(*call.values(), **how), expected)
        for a, b in zip(gradients(backend, call, how, grad), gradients_expected, strict=True):
            close(a, b, 256)


def test_parts_give_the_whole(backend, monkeypatch):
    """As when the columns of an image, or parts of gradients, are more than the memory that is set aside."""
    given, how = many(channels=8, made=3)
    call = on(backend, ops.modulated_deform_conv2d)
    out = call(*given.values(), **how)
    whole = out, *gradients(backend, given, how, np.ones_like(out))
    monkeypatch.setattr(on_cpu, "MEMORY", 1)
    for most in (8 * 9 * 72, 8 * 9 * 50):  # numbers: an image's, and fewer
        monkeypatch.setattr(on_cuda, "MOST", most)
        for a, b in zip(
            (call(*given.values(), **how), *gradients(backend, given, how, np.ones_like(out))), whole, strict=True
        ):
            close(a, b)


def test_the_same_bits_on_any_number_of_threads():
    given, how = many(dtype="float32")
    grad = RNG.standard_normal((2, 35, 8, 9)).astype(np.float32)
    before, found = get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            parts = (ops.modulated_deform_conv2d(**given, **how), *gradients("cpu", given, how, grad))
            found.append([x.tobytes() for x in parts])
    finally:
        set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_in_order(backend, monkeypatch):
    """Sums whose order is asked to be fixed, as torch.use_deterministic_algorithms does."""
    if backend == "cpu":
        pytest.skip("the CPU's always are")
    given, how = many(channels=8, made=3)
    grad = RNG.standard_normal((2, 3, 8, 9))
    expected = gradients(backend, given, how, grad)
    for library in (array.NumPy, array.CuPy):
        monkeypatch.setattr(library, "deterministic", lambda self: True)
    found = gradients(backend, given, how, grad)
    for a, b in zip(found, expected, strict=True):
        close(a, b)
    assert found[0].tobytes() == gradients(backend, given, how, grad)[0].tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -1e30])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sample_without_a_place_is_zero(bad, dtype, backend):
    given, how = many(channels=4, made=3, dtype=dtype)
    given["offset"][0, 0, 3, 4] = given["offset"][1, 5, 2] = bad  # along y, and along x
    none = {**given, "offset": given["offset"].copy()}
    none["offset"][0, 0, 3, 4] = none["offset"][1, 5, 2] = 1000
    call = on(backend, ops.modulated_deform_conv2d)
    out = call(*given.values(), **how)
    assert np.isfinite(out).all()
    np.testing.assert_array_equal(out, call(*none.values(), **how))
    found = gradients(backend, given, how, np.ones_like(out))
    for a, b in zip(found, gradients(backend, none, how, np.ones_like(out)), strict=True):
        close(a, b)
    assert (found[1][0, 0, 3, 4], found[2][0, 0, 3, 4]) == (0, 0)
    assert not found[1][1, 5, 2].any() and not found[2][1, 2, 2].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_pixel_without_a_share_does_not_count(bad, backend):
    x = np.ones((1, 2, 4, 4))
    x[:, :, 2, 2] = bad
    offset, weight = np.zeros((1, 2, 4, 4)), np.ones((1, 2, 1, 1))
    expected = np.where(np.isfinite(x[:, :1]), 2, bad)
    np.testing.assert_array_equal(on(backend, ops.deform_conv2d)(x, offset, weight), expected)
    found = on(backend, ops.modulated_deform_conv2d_backward)(
        np.ones((1, 1, 4, 4)), x, offset, np.ones((1, 1, 4, 4)), weight
    )
    np.testing.assert_array_equal(found[2], expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_mask_that_is_not_finite(bad, backend):
    """Its samples are NaN or infinite, but where they have no place; nothing is read or written outside."""
    given, how = many(channels=4, made=3, deform_groups=1)
    given["mask"][0] = bad
    out = on(backend, ops.modulated_deform_conv2d)(*given.values(), **how)
    assert not np.isfinite(out[0]).any() and np.isfinite(out[1]).all()
    found = gradients(backend, given, how, np.ones_like(out))
    assert np.isfinite(found[0][1]).all() and not np.isfinite(found[0][0]).all()
    given["offset"][0] = 1000
    assert not on(backend, ops.modulated_deform_conv2d)(*given.values(), **how)[0].any()
    found = gradients(backend, given, how, np.ones_like(out))
    assert not found[0][0].any() and not found[1][0].any() and not found[2][0].any()


def test_an_infinite_pixel_stays_in_its_group(backend):
    x = np.ones((1, 4, 3, 3))
    x[0, 0] = np.nan
    out = on(backend, ops.deform_conv2d)(x, np.zeros((1, 2, 3, 3)), np.ones((2, 2, 1, 1)), groups=2)
    assert np.isnan(out[0, 0]).all() and (out[0, 1] == 2).all()


def test_groups_are_inferred():
    given, how = many(channels=8, made=4)
    given["weight"] = given["weight"][:, :2]
    expected = ops.modulated_deform_conv2d(**given, **{**how, "groups": 4})
    np.testing.assert_array_equal(
        ops.modulated_deform_conv2d(**given, padding=1, groups=None, deform_groups=None), expected
    )


def test_channels_last_is_read_as_it_lies(backend):
    given, how = many(channels=8, made=4)
    last = {**given, "input": np.ascontiguousarray(given["input"].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)}
    for a, b in zip(
        (
            on(backend, ops.modulated_deform_conv2d)(*last.values(), **how),
            *gradients(backend, last, how, np.ones((2, 4, 8, 9))),
        ),
        (
            on(backend, ops.modulated_deform_conv2d)(*given.values(), **how),
            *gradients(backend, given, how, np.ones((2, 4, 8, 9))),
        ),
        strict=True,
    ):
        close = 1e-12 if backend == "cuda" else 0  # cuBLAS adds products of another layout in another order
        np.testing.assert_allclose(a, b, rtol=close, atol=close)


X, OFFSET, MASK, WEIGHT = np.ones((2, 4, 6, 7)), np.zeros((2, 18, 4, 5)), np.ones((2, 9, 4, 5)), np.ones((6, 4, 3, 3))
BAD = (
    (dict(offset=OFFSET[:, :17]), r"offset must have shape \(2, 18, 4, 5\), got \(2, 17, 4, 5\)"),
    (
        dict(offset=OFFSET[:, :, :3], mask=MASK[:, :, :3]),
        r"offset must have shape \(2, 18, 4, 5\), got \(2, 18, 3, 5\)",
    ),
    (dict(offset=OFFSET[:1]), "offset must have as many rows as input, got 1 and 2"),
    (dict(mask=MASK[:, :8]), r"mask must have shape \(2, 9, 4, 5\), got \(2, 8, 4, 5\)"),
    (dict(mask=MASK[:, :, :, :4]), r"mask must have shape"),
    (dict(mask=None), "mask must be an array, got None"),
    (dict(weight=WEIGHT[:, :3]), r"weight must have input's 4 channels / 1 groups, got shape \(6, 3, 3, 3\)"),
    (dict(weight=WEIGHT[:, :2]), r"weight must have input's 4 channels / 1 groups"),
    (dict(weight=WEIGHT[:5, :2], groups=2), "weight must have a multiple of 2 groups as rows, got 5"),
    (dict(weight=WEIGHT[:, :3], groups=None), "weight must fit a whole number of groups, got 4 channels for 3"),
    (dict(offset=OFFSET[:, :17], deform_groups=None), "offset must fit a whole number of deform_groups"),
    (dict(weight=WEIGHT[:, :, :0]), "weight must have a filter of at least 1 x 1, got 0 x 3"),
    (dict(deform_groups=3), "deform_groups must divide input's 4 channels, got 3"),
    (dict(groups=0), "groups must be at least 1, got 0"),
    (dict(stride=0), "stride must be at least 1, got 0"),
    (dict(padding=-1), "padding must be at least 0, got -1"),
    (dict(dilation=(1, 0)), "dilation must be at least 1, got 0"),
    (dict(dilation=3), r"input must be as large as the dilated filter.* would give \(0, 1\) positions"),
    (dict(bias=np.ones(5)), "bias must have as many rows as weight"),
    (dict(stride=(1, 1, 1)), "stride must be an int or two, got 3 numbers"),
)


@pytest.mark.parametrize(("changed", "message"), BAD)
def test_bad_arguments(changed, message, backend):
    given = dict(input=X, offset=OFFSET, mask=MASK, weight=WEIGHT) | changed
    with pytest.raises((ValueError, TypeError), match=rf"^modulated_deform_conv2d: {message}"):
        ops.modulated_deform_conv2d(**given)


def test_bad_arguments_of_the_plain_one():
    for wrong, message in ((True, "bias must be False, got True"), (np.ones(6), "bias must be False, got ndarray")):
        with pytest.raises(ValueError, match=rf"^deform_conv2d: {message}"):
            ops.deform_conv2d(X, OFFSET, WEIGHT, bias=wrong)
    with pytest.raises(ValueError, match="im2col_step must be at least 1, got 0"):
        ops.deform_conv2d(X, OFFSET, WEIGHT, im2col_step=0)
    with pytest.raises(ValueError, match=r"^deform_conv2d_backward: grad must have shape \(2, 6, 4, 5\)"):
        ops.deform_conv2d_backward(X, X, OFFSET, WEIGHT)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (12, 5, 32), (25, 33, 40), (7, 64, 100)])
def test_products(sizes, dtype):
    """Of matrices in panels, the left one by rows or by columns."""
    from numba import njit

    from arrayvision.cpu import products

    rows, count, width = sizes
    whole, most = products.rounded(rows), -(-width // products.lanes(dtype)) * products.lanes(dtype)
    a = np.zeros((whole, count), dtype)
    a[:rows] = RNG.standard_normal((rows, count))
    b, plus = RNG.standard_normal((count, width)).astype(dtype), RNG.standard_normal((whole, most)).astype(dtype)
    panels = products.panels(b)
    assert panels.shape == (most // products.lanes(dtype), count, products.lanes(dtype))
    multiply = njit(products.product.py_func)
    for lies, row, step in ((a, count, 1), (np.ascontiguousarray(a.T), 1, whole)):
        for add in (False, True):
            out = plus.copy()
            multiply(
                lies.reshape(-1), 0, row, step, panels.reshape(-1), 0, count * products.lanes(dtype), count, out.reshape(-1), 0,
                most, rows, width, add,
            )  # fmt: skip
            expected = a.astype(float) @ b + (plus[:, :width] if add else 0)
            np.testing.assert_allclose(
                out[:rows, :width], expected[:rows], rtol=0, atol=count * 8 * np.finfo(dtype).eps
            )
