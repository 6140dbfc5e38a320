"""Multi-scale deformable attention beyond what `test_cases.py` tests of every operator."""

import numpy as np
import pytest

from arrayvision import array, ops
from arrayvision.cases.multi_scale_deformable_attn import inputs, plain
from arrayvision.cuda import multi_scale_deformable_attn as on_cuda
from tests import golden
from tests.conftest import Library, on, use

NAMES = ("value", "value_spatial_shapes", "sampling_locations", "attention_weights")


def close(got, wanted, ulps=64):
    np.testing.assert_allclose(got, wanted, rtol=0, atol=ulps * np.finfo(got.dtype).eps * max(1, np.abs(wanted).max()))


def in_dtype(given, dtype):
    return [given[n].astype(dtype) if given[n].dtype.kind == "f" else given[n] for n in NAMES]


def call(backend, given, *more):
    return on(backend, ops.multi_scale_deformable_attn)(*given, *more)


def gradients(backend, grad, given, *more):
    return on(backend, ops.multi_scale_deformable_attn_backward)(grad, *given, *more)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_golden(dtype, backend):
    for case in golden.cases("multi_scale_deformable_attn"):
        given = in_dtype(case.inputs, dtype)
        close(call(backend, given), case.outputs["0"])
        found = gradients(backend, case.cots["0"].astype(dtype), given)
        for name, gradient in zip(("value", "sampling_locations", "attention_weights"), found, strict=True):
            close(gradient, case.grads[name], 256)


@pytest.mark.parametrize("channels", [1, 4, 8, 30, 32, 51, 64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_channels(channels, dtype, backend):
    """Whole vectors of them, and what is left."""
    given = inputs(2, 4, 3, channels, ((4, 5), (1, 2), (3, 1)), 2)
    out = call(backend, in_dtype(given, dtype))
    close(out, plain(*in_dtype({n: x.astype(dtype) if x.dtype.kind == "f" else x for n, x in given.items()}, float)))
    grad = np.random.default_rng(1).standard_normal(out.shape)
    found, step = gradients(backend, grad.astype(dtype), in_dtype(given, dtype)), 1e-6
    for gradient, name in zip(found, ("value", "sampling_locations", "attention_weights"), strict=True):
        move = np.random.default_rng(2).standard_normal(given[name].shape)
        ends = [plain(**{**given, name: given[name] + sign * step * move}) for sign in (1, -1)]
        expected = ((ends[0] - ends[1]) * grad).sum() / (2 * step)
        np.testing.assert_allclose(
            (gradient * move).sum(), expected, rtol=1e-5 if dtype == "float64" else 1e-3, atol=1e-3
        )


def test_sixteen_bytes_at_a_time(monkeypatch):
    """A head that begins at no multiple of 16 bytes is read number by number, with the same result."""
    use("emulated", monkeypatch)
    given = in_dtype(inputs(1, 3, 2, 8, ((3, 4), (2, 2)), 2), np.float32)
    launched = []
    launch = on_cuda.KERNELS.launch
    monkeypatch.setattr(
        on_cuda.KERNELS, "launch", lambda name, *args, **how: (launched.append(name), launch(name, *args, **how))
    )
    aligned = np.empty(given[0].nbytes + 16, np.uint8)
    aligned = aligned[-aligned.ctypes.data % 16 :]
    results = []
    for begin in (0, 4):
        value = aligned[begin : begin + given[0].nbytes].view(np.float32).reshape(given[0].shape)
        value[:] = given[0]
        results.append(ops.multi_scale_deformable_attn(value, *given[1:]))
    np.testing.assert_array_equal(*results)
    assert launched == ["attend<float, 4>", "attend<float, 1>"]


@pytest.mark.parametrize(
    "dtypes", [("bfloat16", "float32", "float32"), ("float16", "float64", "float16"), ("float32", "float64", "int64")]
)
def test_dtypes_may_differ(dtypes, backend):
    """The result has the value's; locations are not rounded to 16 bits."""
    library = Library("torch", backend)
    given = inputs(1, 5, 2, 8, ((9, 40),), 2)
    value, locations, weights = (
        given[n].astype(array.numpy_dtype(d)) if d != "int64" else np.rint(given[n]).astype(d)
        for n, d in zip(("value", "sampling_locations", "attention_weights"), dtypes, strict=True)
    )
    out = ops.multi_scale_deformable_attn(
        *map(library.asarray, (value, given["value_spatial_shapes"], locations, weights))
    )
    assert str(out.dtype) == f"torch.{dtypes[0]}"
    expected = plain(value.astype(float), given["value_spatial_shapes"], locations.astype(float), weights.astype(float))
    ulps = {"bfloat16": 2**-7, "float16": 2**-10, "float32": 2**-18}[dtypes[0]]
    np.testing.assert_allclose(
        library.numpy(out).astype(float), expected, rtol=ulps, atol=ulps * np.abs(expected).max()
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_a_sample_without_a_place_is_zero(bad, backend):
    given = in_dtype(inputs(2, 3, 2, 8, ((3, 4), (2, 3)), 2), float)
    none = [x.copy() for x in given]
    for x, place in ((given, bad), (none, 1000)):
        x[2][0, 1, 0, 1, 0, 0] = x[2][1, 2, 1, 0, 1, 1] = place
    out = call(backend, given)
    np.testing.assert_array_equal(out, call(backend, none))
    found, expected = (gradients(backend, np.ones_like(out), x) for x in (given, none))
    for a, b in zip(found, expected, strict=True):
        close(a, b)
    assert not found[1][0, 1, 0, 1, 0].any() and found[2][1, 2, 1, 0, 1] == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(bad, backend):
    """Their samples are NaN or infinite, but where they have no place; nothing is read or written outside."""
    given = in_dtype(inputs(2, 6, 2, 8, ((3, 4), (2, 3)), 2, reach=0.0), float)
    given[3][0] = bad
    out = call(backend, given)
    assert not np.isfinite(out[0]).any() and np.isfinite(out[1]).all()
    assert np.isfinite(gradients(backend, np.ones_like(out), given)[0][1]).all()
    given[2][0] = 1000
    assert not call(backend, given)[0].any()
    assert not gradients(backend, np.ones_like(out), given)[0][0].any()


def test_a_pixel_without_a_share_does_not_count(backend):
    value = np.ones((1, 4, 1, 1))
    value[0, 3] = np.nan
    at = np.array([0.25, 0.75])  # the pixels' centres
    locations = np.stack(np.meshgrid(at, at), -1).reshape(1, 4, 1, 1, 1, 2)
    given = value, np.array([[2, 2]]), locations, np.ones((1, 4, 1, 1, 1))
    np.testing.assert_array_equal(call(backend, given)[0, :, 0], [1, 1, 1, np.nan])
    found = gradients(backend, np.ones((1, 4, 1)), given)
    np.testing.assert_array_equal(found[2].reshape(-1), [1, 1, 1, np.nan])


def test_levels_may_lie_in_any_order(backend):
    given = in_dtype(inputs(1, 4, 2, 3, ((3, 4), (2, 5)), 2), float)
    turned = [np.roll(given[0], 10, 1), *given[1:]]  # the second level first
    starts = np.array([10, 0])
    np.testing.assert_array_equal(call(backend, turned, starts), call(backend, given))
    grad = np.ones((1, 4, 6))
    a, b = gradients(backend, grad, turned, starts), gradients(backend, grad, given)
    np.testing.assert_allclose(np.roll(a[0], -10, 1), b[0], rtol=1e-14, atol=1e-14)
    np.testing.assert_array_equal(a[1], b[1])


def test_in_order(backend, monkeypatch):
    """Sums whose order is asked to be fixed, as torch.use_deterministic_algorithms does."""
    if backend == "cpu":
        pytest.skip("the CPU's always are")
    given = in_dtype(inputs(2, 9, 2, 8, ((3, 4), (2, 3)), 2), np.float32)
    grad = np.random.default_rng(0).standard_normal((2, 9, 16)).astype(np.float32)
    expected = gradients(backend, grad, given)
    for library in (array.NumPy, array.CuPy):
        monkeypatch.setattr(library, "deterministic", lambda self: True)
    found = gradients(backend, grad, given)
    for a, b in zip(found, expected, strict=True):
        close(a, b)
    assert found[0].tobytes() == gradients(backend, grad, given)[0].tobytes()


GIVEN = inputs(2, 3, 2, 4, ((3, 4), (2, 3)), 2)
BAD = (
    (dict(value_spatial_shapes=[[3, 4], [2, 4]]), "value_spatial_shapes must have as many pixels as value, 18, got 20"),
    (dict(value_spatial_shapes=[[3, 4], [-2, -3]]), "value_spatial_shapes must hold numbers at least 0, got -3 to 4"),
    (dict(value_spatial_shapes=[[2**40, 2**40], [2, 3]]), "value_spatial_shapes must have as many pixels as value, 18"),
    (dict(value_spatial_shapes=[[3, 4.5], [2, 3]]), "value_spatial_shapes must hold whole numbers"),
    (dict(value_spatial_shapes=[[3, 4]]), "as many|must have shape"),
    (
        dict(value_level_start_index=[0, 13]),
        "value_level_start_index must leave each level within value's 18 pixels, got 13 for level 1 of 6",
    ),
    (dict(value_level_start_index=[-1, 12]), "value_level_start_index must hold numbers at least 0, got -1"),
    (dict(value_level_start_index=[0]), "value_level_start_index must have"),
    (dict(attention_weights=GIVEN["attention_weights"][..., :1]), "attention_weights must have shape"),
    (dict(sampling_locations=GIVEN["sampling_locations"][..., :1]), "sampling_locations must have shape"),
    (dict(value=GIVEN["value"][:, :, :1]), "must have shape"),
)


@pytest.mark.parametrize(("changed", "message"), BAD)
def test_bad_arguments(changed, message):
    given = GIVEN | {n: np.array(x) for n, x in changed.items()}
    with pytest.raises(ValueError, match=rf"^multi_scale_deformable_attn: .*({message})"):
        ops.multi_scale_deformable_attn(**given)


@pytest.mark.parametrize(
    ("shapes", "starts"),
    [
        ([[3, 4], [2**40, 2**40]], None),
        ([[3, 4], [-2, -3]], None),
        ([[3, 4], [2, 4]], None),
        ([[3, 4], [2, 3]], [0, 13]),
        ([[3, 4], [2, 3]], [0, -1]),
        ([[3, 4], [2, 3]], [0, 2**62]),
    ],
)
def test_on_a_gpu_a_level_out_of_range_is_zero(shapes, starts, monkeypatch):
    """Which its kernels find out: they read nothing there."""
    given = in_dtype(GIVEN, np.float32)
    alone = [*given[:3], given[3].copy()]
    alone[3][:, :, :, 1] = 0
    expected = ops.multi_scale_deformable_attn(*alone)
    shapes, starts = np.array(shapes), None if starts is None else np.array(starts)
    out, by_locations, by_weights = np.empty_like(expected), np.empty_like(given[2]), np.empty_like(given[3])
    on_cuda.forward(given[0], shapes, starts, given[2], given[3], out)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    by_value = np.empty_like(given[0])
    on_cuda.backward(
        np.ones_like(out), given[0], shapes, starts, given[2], given[3], by_value, by_locations, by_weights
    )
    assert not by_value[:, 12:].any() and not by_locations[:, :, :, 1].any() and not by_weights[:, :, :, 1].any()
