"""Sparse convolution: against dense convolutions in float64 over kernels, strides, paddings and dilations; maxima; bad input."""

import tracemalloc

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from arrayvision import get_num_threads, ops, set_num_threads  # noqa: E402
from tests.conftest import on  # noqa: E402

DENSE = {False: (F.conv1d, F.conv2d, F.conv3d), True: (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)}
GRIDS = [  # the grid, and what the convolution is
    ((5, 6, 7), dict(kernel_size=3, subm=True)),
    ((5, 6, 7), dict(kernel_size=3, dilation=2, subm=True)),
    ((9, 8), dict(kernel_size=(5, 3), dilation=(1, 2), subm=True)),
    ((9, 8), dict(kernel_size=(2, 4), subm=True)),
    ((5, 6, 7), dict(kernel_size=3, stride=2, padding=1)),
    ((8, 6, 7), dict(kernel_size=(3, 1, 2), stride=(2, 1, 3), padding=(0, 0, 1))),
    ((6, 6, 6), dict(kernel_size=2, stride=2)),
    ((9, 8), dict(kernel_size=3, dilation=2)),
    ((9,), dict(kernel_size=3, stride=2, padding=4, dilation=2)),
    ((5, 6), dict(kernel_size=1, stride=2)),
    ((5, 6), dict(kernel_size=1, padding=1)),
    ((4, 3, 5), dict(kernel_size=3, stride=2, padding=1, output_padding=1, transposed=True)),
    ((4, 3), dict(kernel_size=2, stride=3, dilation=2, transposed=True)),
]


def sites(shape, batch, share, rng, order):
    found = np.stack(np.nonzero(rng.random((batch, *shape)) < share), 1).astype(np.int32)
    return found if order == "sorted" else rng.permutation(found)


def dense_result(indices, shape, batch, features, weight, how):
    """The dense convolution of all cells."""
    cells = features.new_zeros(batch, *shape, features.shape[1])
    cells = cells.index_put(tuple(torch.from_numpy(indices).long().T), features).movedim(-1, 1)
    d, subm, transposed = len(shape), how.get("subm", False), how.get("transposed", False)
    how = {n: [v] * d if type(v) is int else list(v) for n, v in how.items() if type(v) is not bool}
    kernel = how.pop("kernel_size")
    if subm:
        far = how.get("dilation", [1] * d)
        pads = [(k // 2 * f, (k - 1 - k // 2) * f) for k, f in zip(kernel, far, strict=True)]
        cells = F.pad(cells, [p for pair in reversed(pads) for p in pair])
    weight = weight.movedim((-2, -1), (0, 1) if transposed else (1, 0))
    return DENSE[transposed][d - 1](cells, weight, **how).movedim(1, -1)


@pytest.mark.parametrize(
    ("grid", "order"),
    [(grid, ("sorted", "shuffled")[k % 2]) for k, grid in enumerate(GRIDS)] + [(GRIDS[0], "shuffled"), (GRIDS[4], "shuffled")],
    ids=str,
)  # fmt: skip
def test_as_a_dense_convolution(grid, order, backend):
    """Values and gradients, where there are sites; and elsewhere there is nothing."""
    (shape, how), rng = grid, np.random.default_rng(0)
    indices = sites(shape, 2, 0.25, rng, order)
    kernel = how["kernel_size"] if type(how["kernel_size"]) is tuple else (how["kernel_size"],) * len(shape)
    features, weight = rng.standard_normal((len(indices), 5)), rng.standard_normal((*kernel, 5, 7))
    outs, pairs, counts = on(backend, ops.sparse_conv_pairs)(indices, shape, 2, **how)
    got = on(backend, ops.sparse_conv)(features, weight, None, pairs, counts, len(outs))
    given = torch.from_numpy(features).requires_grad_(), torch.from_numpy(weight).requires_grad_()
    dense = dense_result(indices, shape, 2, *given, how)
    place = tuple(torch.from_numpy(outs).long().T)
    expected = dense[place]
    np.testing.assert_allclose(got, expected.detach(), rtol=1e-12, atol=1e-12)
    if not how.get("subm"):
        elsewhere = torch.ones(dense.shape[:-1], dtype=torch.bool)
        elsewhere[place] = False
        assert not dense[elsewhere].any()
        np.testing.assert_array_equal(outs, np.unique(outs, axis=0))  # rising
    else:
        np.testing.assert_array_equal(outs, indices)
    grad = rng.standard_normal(got.shape)
    by_features, by_weight, _ = on(backend, ops.sparse_conv_backward)(grad, features, weight, None, pairs, counts)
    first, second = torch.autograd.grad(expected, given, torch.from_numpy(grad))
    np.testing.assert_allclose(by_features, first, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(by_weight, second, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("how", [dict(kernel_size=3, stride=2, padding=1), dict(kernel_size=3, subm=True)], ids=str)
def test_pairs_rise_by_outputs_on_every_back_end(how, backend):
    indices = sites((20, 30, 40), 2, 0.1, np.random.default_rng(0), "shuffled")  # 4,800 and more: several segments
    outs, pairs, counts = on(backend, ops.sparse_conv_pairs)(indices, (20, 30, 40), 2, **how)
    for one in np.split(pairs, np.cumsum(counts)[:-1], 1):
        assert (np.diff(one[1]) > 0).all()
    for found, expected in zip(
        (outs, pairs, counts), ops.sparse_conv_pairs(indices, (20, 30, 40), 2, **how), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_grids_of_2_to_the_60_cells(backend):
    shape = (2**20, 2**20, 2**19)
    corners = np.array(np.meshgrid([0], [0, 2**20 - 1], [0, 2**20 - 1], [0, 2**19 - 1], indexing="ij")).reshape(4, -1).T
    outs, _, counts = on(backend, ops.sparse_conv_pairs)(corners, shape, 1, 3, 2, 1)
    assert len(outs) == 8 and counts.sum() == 8  # a step over the edge leads nowhere
    with pytest.raises(ValueError, match="62 bits at most, got 63"):
        on(backend, ops.sparse_conv_pairs)(corners, shape, 12, 3)


def test_a_neighbour_beyond_the_edge_is_none(backend):
    """The last site of a row and the first of the next have keys that lie next to each other."""
    indices = np.array([[0, 0, 7], [0, 1, 0], [0, 3, 7], [1, 0, 0]])
    _, _, counts = on(backend, ops.sparse_conv_pairs)(indices, (4, 8), 2, 3, subm=True)
    np.testing.assert_array_equal(counts, [0, 0, 0, 0, 4, 0, 0, 0, 0])


def test_bits_on_any_number_of_threads():
    rng = np.random.default_rng(0)
    indices = sites((30, 40, 50), 2, 0.1, rng, "shuffled")
    x, weight = rng.standard_normal((len(indices), 24), np.float32), rng.standard_normal((27, 24, 40), np.float32)
    before, found = get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            for how in (dict(kernel_size=3, subm=True), dict(kernel_size=3, stride=2, padding=1)):
                outs, pairs, counts = ops.sparse_conv_pairs(indices, (30, 40, 50), 2, **how)
                out = ops.sparse_conv(x, weight, weight[0, 0], pairs, counts, len(outs))
                results = outs, pairs, counts, out, *ops.sparse_conv_backward(out, x, weight, out[0], pairs, counts)
                pooled, argmax = ops.sparse_max_pool_with_argmax(x, pairs, counts, len(outs))
                results += ops.sparse_max_pool(x, pairs, counts, len(outs)), pooled, argmax
                results += (ops.sparse_max_pool_backward(pooled, argmax, pairs, counts, len(x)),)
                found.append([a.tobytes() for a in results])
    finally:
        set_num_threads(before)
    assert found[:2] == found[2:4] == found[4:]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_16_bits_are_summed_in_32(dtype, backend):
    """A thousand ones and a small number: in float16 the sum would stay at 2048."""
    taps = 27
    indices = np.stack(np.nonzero(np.ones((1, 3, 3, 3))), 1)
    outs, pairs, counts = on(backend, ops.sparse_conv_pairs)(indices, (3, 3, 3), 1, 3)
    assert len(outs) == 1 and counts.sum() == taps
    x, weight = np.ones((27, 160), dtype), np.ones((27, 160, 1), dtype)
    out = on(backend, ops.sparse_conv)(x, weight, None, pairs, counts, 1)
    assert out.dtype == dtype and out[0, 0] == 27 * 160


def test_pairs_in_any_order_and_outputs_more_than_once():
    """On the CPU, as a plain loop: the pairs of a caller need not be those that were found here."""
    rng = np.random.default_rng(0)
    x, weight, bias = rng.standard_normal((50, 3)), rng.standard_normal((4, 3, 5)), rng.standard_normal(5)
    pairs, counts = np.stack([rng.integers(0, 50, 300), rng.integers(0, 40, 300)]), np.array([100, 0, 150, 50])
    expected = np.zeros((40, 5)) + bias
    for (given, to), tap in zip(pairs.T, np.repeat(np.arange(4), counts), strict=True):
        expected[to] += x[given] @ weight[tap]
    np.testing.assert_allclose(ops.sparse_conv(x, weight, bias, pairs, counts, 40), expected, rtol=1e-12)


def test_memory_of_a_rulebook_follows_from_the_sites():
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(np.arange(250), np.arange(250), indexing="ij")
    z = (40 + 15 * np.sin(y / 15) + 15 * np.cos(x / 11) + rng.random((250, 250))).astype(int)
    indices = np.stack([np.zeros(z.size, int), z.ravel(), y.ravel(), x.ravel()], 1)
    ops.sparse_conv_pairs(indices, (2**19,) * 3, 1, 3, subm=True)
    tracemalloc.start()
    try:
        ops.sparse_conv_pairs(indices, (2**19,) * 3, 1, 3, subm=True)
        assert tracemalloc.get_traced_memory()[1] < 30 * 8 * len(indices)
    finally:
        tracemalloc.stop()


# ---- maxima ------------------------------------------------------------------------------------------------------------
def test_the_maximum_of_negative_features_is_negative(backend):
    indices = sites((7, 8, 9), 2, 0.2, np.random.default_rng(0), "shuffled")
    x = -np.random.default_rng(1).random((len(indices), 3)) - 1
    outs, pairs, counts = on(backend, ops.sparse_conv_pairs)(indices, (7, 8, 9), 2, 3, 2, 1)
    out = on(backend, ops.sparse_max_pool)(x, pairs, counts, len(outs))
    cells = torch.full((2, 3, 7, 8, 9), -torch.inf, dtype=torch.float64)
    cells.movedim(1, -1)[tuple(indices.astype(np.int64).T)] = torch.from_numpy(x)
    expected = F.max_pool3d(cells, 3, 2, 1).movedim(1, -1)[tuple(outs.astype(np.int64).T)]
    np.testing.assert_array_equal(out, expected)
    assert (out < 0).all()


def test_the_gradient_of_a_maximum_goes_to_the_first_of_equals_and_nan_is_above_all(backend):
    indices = np.array([[0, 1, 1], [0, 0, 0], [0, 0, 1]])
    x = np.array([[5, np.nan, -1], [5, 0, -1], [4, np.nan, -1.0]], np.float32)
    outs, pairs, counts = on(backend, ops.sparse_conv_pairs)(indices, (2, 2), 1, 2, 2)
    out, argmax = on(backend, ops.sparse_max_pool_with_argmax)(x, pairs, counts, 1)
    np.testing.assert_array_equal(outs, [[0, 0, 0]])
    np.testing.assert_array_equal(out, [[5, np.nan, -1]])
    np.testing.assert_array_equal(argmax, [[1, 2, 1]])
    for low in (x, np.where(x == -1, -np.inf, x).astype(np.float32)):  # a path of its own
        expected = on(backend, ops.sparse_max_pool_with_argmax)(low, pairs, counts, 1)[0]
        np.testing.assert_array_equal(on(backend, ops.sparse_max_pool)(low, pairs, counts, 1), expected)
    grad = np.array([[1, 2, 3]], np.float32)
    back = on(backend, ops.sparse_max_pool_backward)(grad, argmax, pairs, counts, 3)
    np.testing.assert_array_equal(back, [[0, 0, 0], [1, 0, 3], [0, 2, 0]])


def test_what_has_no_pair(backend):
    none, zeros = np.zeros((2, 0), np.int32), np.zeros(4, np.int64)
    x = np.ones((3, 2), np.float32)
    out, argmax = on(backend, ops.sparse_max_pool_with_argmax)(x, none, zeros, 2)
    np.testing.assert_array_equal(out, np.zeros((2, 2)))
    np.testing.assert_array_equal(argmax, np.full((2, 2), -1))
    np.testing.assert_array_equal(on(backend, ops.sparse_max_pool)(x, none, zeros, 2), np.zeros((2, 2)))
    bias = np.array([1, 2, 3], np.float32)
    out = on(backend, ops.sparse_conv)(x, np.ones((4, 2, 3), np.float32), bias, none, zeros, 2)
    np.testing.assert_array_equal(out, [bias, bias])
    grads = on(backend, ops.sparse_conv_backward)(out, x, np.ones((4, 2, 3), np.float32), bias, none, zeros)
    assert not grads[0].any() and not grads[1].any()
    np.testing.assert_array_equal(grads[2], 2 * bias)


# ---- bad input ---------------------------------------------------------------------------------------------------------
SITES = np.array([[0, 0, 0], [0, 3, 4], [1, 2, 2]])
BAD = {
    "outside the shape": (dict(indices=SITES + [0, 1, 0]), "coordinates within \\(4, 5\\), which 1 rows don't"),
    "negative": (dict(indices=SITES - [0, 0, 1]), "which 1 rows don't"),
    "batch index": (dict(batch_size=1), "a batch index below 1 .*, which 1 rows don't"),
    "floats": (dict(indices=SITES * 1.0), "indices must hold integers, got dtype float64"),
    "duplicates": (dict(indices=SITES[[0, 1, 0, 2, 0]]), "each site once, 2 rows repeat another"),
    "kernel of three axes": (dict(kernel_size=(3, 3, 3)), "kernel_size must be 2 ints, got 3"),
    "stride of three axes": (dict(stride=(1, 1, 1)), "stride must be 2 ints, got 3"),
    "stride 0": (dict(stride=0), "stride must be at least 1"),
    "shape of one axis": (dict(spatial_shape=(4,)), "spatial_shape must be 2 ints"),
    "shape beyond 2^63": (dict(spatial_shape=(2**40, 2**40)), "62 bits at most, got 81"),
    "no result": (dict(spatial_shape=(4, 5), kernel_size=6), "must leave a result"),
    "both": (dict(subm=True, transposed=True), "subm and transposed must not both be True"),
    "no column": (dict(indices=SITES[:, :1], spatial_shape=()), "at least 2 columns"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_sites(kind, backend):
    changed, message = BAD[kind]
    given = dict(
        indices=SITES, spatial_shape=(4, 5), batch_size=2, kernel_size=3, padding=1 if kind != "no result" else 0
    )
    with pytest.raises((ValueError, TypeError), match=f"^sparse_conv_pairs: .*{message}"):
        on(backend, ops.sparse_conv_pairs)(**{**given, **changed})


_PAIRS = dict(pairs=np.array([[0, 1], [1, 0]]), counts=np.array([1, 1]), size=2)
BAD_PAIRS = {
    "features of another length": (dict(features=np.ones((1, 2))), "pairs must hold rows of 1 inputs, got 1"),
    "channels": (
        dict(features=np.ones((2, 3))),
        r"weight must have shape \(..., 3, O\), whose first sizes make 2 taps",
    ),
    "taps": (dict(weight=np.ones((3, 2, 4))), r".*make 2 taps, got \(3, 2, 4\)"),
    "bias": (dict(bias=np.ones(3)), r"bias must have shape \(4,\), got \(3,\)"),
    "counts": (dict(counts=np.array([1, 2])), "counts must add up to the pairs, got 3 and 2"),
    "negative counts": (dict(counts=np.array([3, -1])), "counts must be of pairs: at least 0"),
    "negative pairs": (dict(pairs=np.array([[0, -1], [1, 0]])), "pairs must hold rows of 2 inputs, got -1"),
    "size": (dict(size=1), "pairs must hold rows of 1 outputs, got 1"),
}


@pytest.mark.parametrize("kind", BAD_PAIRS)
def test_bad_pairs(kind):
    changed, message = BAD_PAIRS[kind]
    given = dict(features=np.ones((2, 2)), weight=np.ones((2, 2, 4)), bias=None, **_PAIRS)
    with pytest.raises(ValueError, match=f"^sparse_conv: {message}"):
        ops.sparse_conv(**{**given, **changed})


def test_pairs_of_nowhere_are_left_out_on_a_gpu(backend):
    """There they are not looked at before."""
    if backend == "cpu":
        pytest.skip("an error there: test_bad_pairs")
    pairs, counts = np.array([[0, 9, -2, 1, 1], [1, 0, 0, 7, -1]], np.int32), np.array([5, 0])
    x = np.array([[1.0, 2], [3, 4]], np.float32)
    out = on(backend, ops.sparse_conv)(x, np.ones((2, 2, 1), np.float32), None, pairs, counts, 2)
    np.testing.assert_array_equal(out, [[0], [3]])
    out, argmax = on(backend, ops.sparse_max_pool_with_argmax)(x, pairs, counts, 2)
    np.testing.assert_array_equal(out, [[0, 0], [1, 2]])
    back = on(backend, ops.sparse_max_pool_backward)(out, argmax, pairs, counts, 2)
    np.testing.assert_array_equal(back, [[1, 2], [0, 0]])
