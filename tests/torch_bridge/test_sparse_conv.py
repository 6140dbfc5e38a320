"""Sparse layers: against dense ones, keys that layers share, whole networks, checkpoints, bad input."""

from collections import OrderedDict

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from arrayvision.older import ops as older  # noqa: E402
from arrayvision.registry import MODELS  # noqa: E402
from arrayvision.torch_bridge import cnn, ops  # noqa: E402


def sparse(shape=(6, 7, 8), batch=2, channels=4, share=0.2, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    indices = rng.permutation(np.stack(np.nonzero(rng.random((batch, *shape)) < share), 1)).astype(np.int32)
    features = torch.from_numpy(rng.standard_normal((len(indices), channels))).to(dtype)
    return ops.SparseConvTensor(features, torch.from_numpy(indices), list(shape), batch)


def at_sites(dense, x):
    return dense.movedim(1, -1)[tuple(x.indices.long().T)]


def filter_of(layer):
    return layer.weight.movedim((-1, -2), (0, 1))


@pytest.mark.parametrize("d", [2, 3])
def test_layers_as_dense_ones(d):
    x = sparse((6, 7, 8)[:d])
    conv, turned = (F.conv2d, F.conv_transpose2d) if d == 2 else (F.conv3d, F.conv_transpose3d)
    subm = getattr(ops, f"SubMConv{d}d")(4, 6, 3, indice_key="a").double()
    out = subm(x)
    assert out.indices is x.indices and out.spatial_shape == x.spatial_shape
    torch.testing.assert_close(out.features, at_sites(conv(x.dense(), filter_of(subm), subm.bias, 1, 1), x))
    down = getattr(ops, f"SparseConv{d}d")(4, 5, 3, 2, 1, bias=False, indice_key="b").double()
    low = down(x)
    torch.testing.assert_close(low.dense(), conv(x.dense(), filter_of(down), None, 2, 1))
    up = getattr(ops, f"SparseConvTranspose{d}d")(5, 4, 3, 2, 1, bias=False).double()
    torch.testing.assert_close(up(low).dense(), turned(low.dense(), up.weight.movedim((-2, -1), (0, 1)), None, 2, 1))
    inverse = getattr(ops, f"SparseInverseConv{d}d")(5, 4, 3, "b", bias=False).double()
    back = inverse(low)
    assert back.indices is x.indices and back.spatial_shape == x.spatial_shape
    size = [s - n for s, n in zip(x.spatial_shape, [2 * n - 1 for n in low.spatial_shape], strict=True)]
    dense = turned(low.dense(), inverse.weight.movedim((-2, -1), (0, 1)), None, 2, 1, size)
    torch.testing.assert_close(back.features, at_sites(dense, back))
    pool = getattr(ops, f"SparseMaxPool{d}d")(2, 2)(x)
    empty = torch.full_like(x.dense(), -torch.inf).movedim(1, -1)
    empty[tuple(x.indices.long().T)] = x.features
    expected = (F.max_pool2d if d == 2 else F.max_pool3d)(empty.movedim(-1, 1), 2, 2)
    torch.testing.assert_close(pool.features, at_sites(expected, pool))


@pytest.mark.parametrize("how", [dict(stride=2), dict(padding=1), dict()], ids=str)
def test_a_kernel_of_one_tap_is_no_shortcut(how):
    x = sparse()
    layer = ops.SparseConv3d(4, 6, 1, bias=False, **how).double()
    torch.testing.assert_close(layer(x).dense(), F.conv3d(x.dense(), filter_of(layer), **how))


def test_4d():
    x = sparse((4, 3, 5, 4), 1, share=0.1)
    layer = ops.SubMConv4d(4, 2, 3, bias=False).double()
    out = layer(x).features
    expected = torch.zeros_like(out)
    place = {tuple(row): k for k, row in enumerate(x.indices.tolist())}
    for (b, *c), k in place.items():
        for tap in np.ndindex(3, 3, 3, 3):
            other = place.get((b, *(p + t - 1 for p, t in zip(c, tap, strict=True))))
            if other is not None:
                expected[k] += x.features[other] @ layer.weight[tap]
    torch.testing.assert_close(out, expected)
    assert ops.SparseConv4d(4, 2, 3, 2, 1).double()(x).spatial_shape == [2, 2, 3, 2]


def unet(channels=4, norm=nn.BatchNorm1d):
    def block(layer, out):
        return ops.SparseSequential(layer, norm(out), nn.ReLU())

    return ops.SparseSequential(
        block(ops.SubMConv3d(channels, 8, 3, bias=False, indice_key="s1"), 8),
        block(ops.SparseConv3d(8, 16, 3, 2, 1, bias=False, indice_key="d1"), 16),
        block(ops.SubMConv3d(16, 16, 3, bias=False, indice_key="s2"), 16),
        block(ops.SparseInverseConv3d(16, 8, 3, "d1", bias=False), 8),
        ops.SubMConv3d(8, 2, 3, indice_key="s1"),
    )


def test_a_network_has_gradients_and_shares_what_it_found():
    net, x = unet().double(), sparse()
    x.features.requires_grad_()
    out = net(x)
    assert sorted(out.indice_dict) == ["d1", "s1", "s2"] and out.indices is x.indices
    out.features.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    assert torch.autograd.gradcheck(
        lambda f: net.eval()(ops.SparseConvTensor(f, x.indices, x.spatial_shape, 2)).features,
        (x.features.detach()[:].requires_grad_(),),
        fast_mode=True,
    )


@pytest.mark.parametrize("train", [True, False])
def test_empty_tensors_through_whole_networks(train):
    x = ops.SparseConvTensor(torch.zeros(0, 4), torch.zeros(0, 4, dtype=torch.int32), [6, 7, 8], 2)
    net = ops.SparseSequential(unet(), ops.SparseMaxPool3d(2, 2), nn.Linear(2, 5), ops.ToDense()).train(train)
    out = net(x)
    assert out.shape == (2, 5, 3, 3, 4) and not out.any()
    out.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bits_and_autocast(dtype):
    x = sparse(dtype=torch.float32)
    net = unet().eval()
    expected = net(x).features
    half = ops.SparseConvTensor(x.features.to(dtype), x.indices, x.spatial_shape, 2)
    assert (net.to(dtype)(half).features - expected).abs().max() < 0.1
    net.float()
    with torch.autocast("cpu", dtype):
        assert (net(x).features - expected).abs().max() < 0.1
        assert net(half).features.dtype is torch.float32  # the weights' own


@pytest.mark.filterwarnings("ignore:Dynamo does not know")  # torch's, at a break
@pytest.mark.parametrize("normalized", [False, True])
def test_compiled(normalized):
    """Sizes that depend on data are sizes of their own in one graph; torch's batch normalization asks for them, and breaks it."""
    net, x = unet(norm=nn.BatchNorm1d if normalized else nn.Identity), sparse(dtype=torch.float32)

    def call(features, indices):
        return net(ops.SparseConvTensor(features, indices, [6, 7, 8], 2)).features

    torch._dynamo.reset()
    compiled = torch.compile(call, fullgraph=not normalized, backend="aot_eager", dynamic=True)
    out, expected = compiled(x.features, x.indices), call(x.features, x.indices)
    torch.testing.assert_close(out, expected, rtol=0, atol=0)
    for a, b in zip(
        *(torch.autograd.grad(y.square().sum(), [*net.parameters()]) for y in (out, expected)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_sequential():
    x = sparse(dtype=torch.float32)
    net = ops.SparseSequential(OrderedDict(a=ops.SubMConv3d(4, 6, 3), b=nn.BatchNorm1d(6)), c=nn.ReLU())
    net.add(ops.RemoveGrid())
    net.add(ops.ToDense(), "last")
    assert list(net._modules) == ["a", "b", "c", "3", "last"] and len(net) == 5
    assert isinstance(net[1], nn.BatchNorm1d) and net[-1] is net.last
    before = x.features.clone()
    x.grid = torch.zeros(1)
    dense = net(x)
    assert dense.shape == (2, 6, 6, 7, 8) and torch.equal(x.features, before) and x.grid is not None
    assert net.sparity_dict["a"] == x.sparity == len(before) / (2 * 6 * 7 * 8)
    net(sparse(seed=1, dtype=torch.float32))
    net.eval()
    fused = net.fused()
    assert [type(m).__name__ for m in fused] == ["SparseConvolution", "ReLU", "RemoveGrid", "ToDense"]
    torch.testing.assert_close(fused(x), net(x))


def test_tensor():
    x = sparse()
    assert x.spatial_size == 6 * 7 * 8 and x.find_indice_pair("a") is None and x.find_indice_pair(None) is None
    assert torch.equal(x.dense(channels_first=False).movedim(-1, 1), x.dense())
    assert x.dense().is_contiguous() and torch.equal(at_sites(x.dense(), x), x.features)
    ops.SubMConv3d(4, 4, 3, indice_key="a").double()(x)
    outids, indices, pairs, counts, shape = x.find_indice_pair("a")
    assert outids is indices is x.indices and pairs.shape[1] == counts.sum() and shape == x.spatial_shape


def test_state_dicts_and_initial_weights():
    layers = {
        "SparseConv3d(4, 6, 3)": [(3, 3, 3, 4, 6), (6,)],
        "SparseConvTranspose3d(4, 6, 3)": [(3, 3, 3, 4, 6), (6,)],
        "SparseInverseConv3d(4, 6, 3, 'k')": [(3, 3, 3, 4, 6), (6,)],
        "SubMConv2d(4, 6, 3, bias=False)": [(3, 3, 4, 6)],
    }
    for made, shapes in layers.items():
        state = eval(f"ops.{made}").state_dict()
        assert list(state) == ["weight", "bias"][: len(shapes)] and [tuple(v.shape) for v in state.values()] == shapes
    torch.manual_seed(0)
    layer = ops.SubMConv3d(4, 6, 3)
    torch.manual_seed(0)
    weight = nn.init.kaiming_uniform_(torch.empty(3, 3, 3, 4, 6), a=5**0.5)
    bias = nn.init.uniform_(torch.empty(6), -((27 * 4) ** -0.5), (27 * 4) ** -0.5)
    assert torch.equal(layer.weight, weight) and torch.equal(layer.bias, bias)


@pytest.mark.parametrize("order", [(4, 0, 1, 2, 3), (0, 1, 2, 4, 3), (4, 3, 0, 1, 2)])
def test_weights_of_other_versions_are_refused_and_how_to_convert_them(order):
    layer = ops.SubMConv3d(4, 6, 3, bias=False)
    other = layer.weight.detach().permute(order)
    with pytest.raises(RuntimeError, match="lies as another version writes it") as error:
        layer.load_state_dict({"weight": other})
    convert = str(error.value).split("give ")[1].split(")")[0] + ")"
    assert torch.equal(eval(convert, {"weight": other}), layer.weight)


def test_names_of_configs():
    for name in (
        "SparseConv2d", "SparseConv3d", "SparseConvTranspose2d", "SparseConvTranspose3d", "SubMConv2d", "SubMConv3d",
    ):  # fmt: skip
        layer = cnn.build_conv_layer(dict(type=name, indice_key="a"), 4, 6, 3, stride=1, padding=1, bias=False)
        assert type(layer) is getattr(ops, name) is MODELS.get(name) and layer.indice_key == "a"
        assert older.is_sparse_conv(layer) and older.is_spconv_module(layer)
    assert type(cnn.build_conv_layer(dict(type="SparseInverseConv3d"), 4, 6, 3, bias=False)) is ops.SparseInverseConv3d
    assert not older.is_spconv_module(nn.ReLU())


# ---- the functions below -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", [dict(subm=True), dict(stride=2, padding=1), dict(stride=2, transpose=True)], ids=str)
def test_older_functions(how):
    x = sparse()
    outids, pairs, counts = older.get_indice_pairs(x.indices, 2, x.spatial_shape, 3, **how)
    ours = {"transposed" if n == "transpose" else n: v for n, v in how.items()}
    expected = ops.sparse_conv_pairs(x.indices, x.spatial_shape, 2, 3, **ours)
    assert torch.equal(outids, expected[0]) and torch.equal(counts, expected[2].int())
    assert pairs.shape == (27, 2, len(x.indices)) and (pairs >= 0).sum() == 2 * counts.sum()
    torch.manual_seed(0)
    weight = torch.randn(3, 3, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    size = len(outids)
    out = older.SparseConvFunction.apply(x.features, weight, pairs, counts, size)
    assert torch.equal(out, ops.sparse_conv(x.features, weight, None, *expected[1:], size))
    grads = older.indice_conv_backward(x.features, weight, out, pairs, counts)
    assert torch.equal(grads[1], torch.autograd.grad(out, weight, out.detach())[0])
    back = older.SparseInverseConvFunction.apply(out, weight.transpose(-1, -2), pairs, counts, len(x.features))
    torch.testing.assert_close(back, grads[0])
    assert torch.equal(older.SubMConvFunction.apply(x.features, weight, pairs, counts, size), out)
    bias = torch.arange(6.0).double()
    assert torch.equal(older.fused_indice_conv(x.features, weight, bias, pairs, counts, size, False, False), out + bias)
    pooled = older.SparseMaxPoolFunction.apply(x.features, pairs, counts, size)
    assert torch.equal(pooled, ops.sparse_max_pool(x.features, *expected[1:], size))
    back = older.indice_maxpool_backward(x.features, pooled, torch.ones_like(pooled), pairs, counts)
    assert back.sum() == pooled.numel()


def test_sizes_of_results():
    for n, k, s, p, d in [(9, 3, 2, 1, 1), (8, 2, 2, 0, 1), (7, 3, 1, 0, 2)]:
        (size,) = older.get_conv_output_size([n], [k], [s], [p], [d])
        assert size == F.conv1d(torch.zeros(1, 1, n), torch.zeros(1, 1, k), None, s, p, d).shape[-1]
        (size,) = older.get_deconv_output_size([n], [k], [s], [p], [d], [0])
        assert size == F.conv_transpose1d(torch.zeros(1, 1, n), torch.zeros(1, 1, k), None, s, p, 0, 1, d).shape[-1]
    assert older.get_conv_output_size([9], [-1], [1], [0], [1]) == [1]
    with pytest.raises(ValueError, match="get_deconv_output_size: kernel_size must be"):
        older.get_deconv_output_size([9], [-1], [1], [0], [1], [0])


# ---- bad input ---------------------------------------------------------------------------------------------------------
def _after(first, second):
    """Two layers, one after the other."""

    def call(x):
        first(x)
        second(x)

    return call


BAD = {
    "key not found": (ops.SparseInverseConv3d(4, 2, 3, "a"), "indice_key must be that of a convolution before this one, got 'a'"),
    "key of another kernel": (
        ops.SparseSequential(ops.SparseConv3d(4, 4, 3, 2, 1, indice_key="a"), ops.SparseInverseConv3d(4, 2, 2, "a")),
        r"kernel_size must be that of the convolution with indice_key 'a', \(3, 3, 3\), got \(2, 2, 2\)",
    ),
    "key of another stride": (
        _after(ops.SparseConv3d(4, 4, 3, 2, indice_key="a"), ops.SparseConv3d(4, 4, 3, indice_key="a")),
        r"layers with indice_key 'a' must be alike, got stride \(1, 1, 1\) after stride \(2, 2, 2\)",
    ),
    "key of another kind": (
        _after(ops.SubMConv3d(4, 4, 3, indice_key="a"), ops.SparseConv3d(4, 4, 3, indice_key="a")), "must be alike, got subm False",
    ),
    "key of other sites": (
        ops.SparseSequential(
            ops.SubMConv3d(4, 4, 3, indice_key="a"), ops.SparseConv3d(4, 4, 3, 2), ops.SubMConv3d(4, 4, 3, indice_key="a")
        ), "must have the sites of the layer that had indice_key 'a' first",
    ),
    "inverse of other sites": (
        ops.SparseSequential(
            ops.SparseConv3d(4, 4, 3, 2, indice_key="a"), ops.SparseConv3d(4, 4, 2), ops.SparseInverseConv3d(4, 4, 3, "a")
        ), "must have the sites that the convolution with indice_key 'a' gave",
    ),
    "channels": (ops.SubMConv3d(5, 4, 3), "input must have 5 channels, got 4"),
    "axes": (ops.SubMConv2d(4, 4, 3), "input must have 2 spatial axes, got 3"),
    "a tensor": (lambda x: ops.SubMConv3d(4, 4, 3)(x.features), "input must be a SparseConvTensor, got Tensor"),
    "dtype": (ops.SubMConv3d(4, 4, 3).double(), "must have the module's dtype torch.float64"),
    "a kernel that is too large": (ops.SparseMaxPool3d(9), "must leave a result"),
    "groups": (lambda x: ops.SparseConv3d(4, 4, 3, groups=2), "groups must be 1, got 2"),
    "kernel": (lambda x: ops.SparseConv3d(4, 4, (3, 3)), "kernel_size must be 3 ints, got 2"),
    "features": (
        lambda x: ops.SparseConvTensor(x.features[1:], x.indices, [6, 7, 8], 2), "features must have as many rows as indices",
    ),
    "float sites": (
        lambda x: ops.SparseConvTensor(x.features, x.indices.float(), [6, 7, 8], 2), "indices must hold integers",
    ),
    "sites outside": (
        lambda x: ops.SparseConvTensor(x.features, x.indices, [6, 7, 7], 2).dense(), "indices must lie within",
    ),
    "sites twice": (
        lambda x: ops.SubMConv3d(4, 4, 3)(
            ops.SparseConvTensor(x.features[[0, 0, 1]], x.indices[[0, 0, 1]], [6, 7, 8], 2)
        ), "each site once, 1 rows repeat another",
    ),
    "a name": (lambda x: ops.SparseSequential(nn.ReLU(), **{"0": nn.ReLU()}), "name must be new, and '0' is a layer's"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_input(kind):
    call, message = BAD[kind]
    with pytest.raises((ValueError, TypeError), match=message):
        call(sparse(dtype=torch.float32))
