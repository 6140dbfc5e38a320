"""carafe on maps of all sizes, next to infinite numbers, and with windows that don't fit; its modules."""

import numpy as np
import pytest

from arrayvision import ops
from arrayvision.cases.carafe import plain
from tests.conftest import Library

SIZES = [  # n, c, h, w, kernel_size, group_size, scale_factor
    (1, 9, 3, 150, 3, 1, 1),
    (1, 26, 11, 70, 5, 2, 2),
    (1, 2, 9, 2, 1, 2, 5),
    (2, 1, 1, 1, 9, 1, 4),
    (1, 3, 2, 5, 3, 3, 40),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_more_than_is_worked_on_together(sizes, backend):
    """And less; gradients are the transposes."""
    n, c, h, w, k, groups, s = sizes
    library, rng = Library("numpy", backend), np.random.default_rng(0)
    features, moved = rng.standard_normal((2, n, c, h, w))
    masks, other = rng.standard_normal((2, n, groups * k * k, h * s, w * s))
    how = dict(kernel_size=k, group_size=groups, scale_factor=s)
    expected = plain(features, masks, **how)
    grad = rng.standard_normal(expected.shape)
    x, m, g = map(library.asarray, (features, masks, grad))
    np.testing.assert_allclose(library.numpy(ops.carafe(x, m, **how)), expected, rtol=1e-12, atol=1e-12)
    found = library.numpy(ops.carafe_features_backward(g, m, features.shape, **how))
    assert np.vdot(found, features) == pytest.approx(np.vdot(grad, expected), rel=1e-10)
    assert np.vdot(found, moved) == pytest.approx(np.vdot(grad, plain(moved, masks, **how)), rel=1e-10)
    found = library.numpy(ops.carafe_masks_backward(g, x, masks.shape, **how))
    assert np.vdot(found, masks) == pytest.approx(np.vdot(grad, expected), rel=1e-10)
    assert np.vdot(found, other) == pytest.approx(np.vdot(grad, plain(features, other, **how)), rel=1e-10)


def test_weights_of_one_pixel_move_the_map(library):
    """The tap (i, j) is the pixel that many rows below and columns right of the window's corner, in each group."""
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    masks = np.zeros((1, 18, 6, 8))
    masks[:, 2] = masks[:, 9 + 3] = 1  # up and right; left
    up, left = library.numpy(ops.carafe(library.asarray(x), library.asarray(masks), 3, 2, 2))[0]
    np.testing.assert_array_equal(up[2:, :6], x[0, 0, :2, 1:].repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(left[:, 2:], x[0, 1, :, :3].repeat(2, 0).repeat(2, 1))
    assert not up[:2].any() and not up[:, 6:].any() and not left[:, :2].any()


def test_even_weights_are_a_mean(backend):
    """Of what is nearest: torch's unfold has other zeros round the map."""
    torch = pytest.importorskip("torch")
    library, x = Library("numpy", backend), np.random.default_rng(0).standard_normal((2, 3, 5, 4))
    found = ops.carafe(library.asarray(x), library.asarray(np.full((2, 9, 10, 8), 1 / 9)), 3, 1, 2)
    mean = torch.nn.functional.avg_pool2d(torch.from_numpy(x), 3, 1, 1)
    expected = torch.nn.functional.interpolate(mean, scale_factor=2.0)
    np.testing.assert_allclose(library.numpy(found), expected.numpy(), rtol=1e-13, atol=1e-13)


def test_pixels_outside_do_not_count(backend):
    """Whatever their weights are, and whatever gradients are elsewhere."""
    library, rng = Library("numpy", backend), np.random.default_rng(0)
    x, masks = rng.standard_normal((1, 2, 3, 20)), rng.standard_normal((1, 9, 6, 40))
    masks[:, :3, :2], masks[:, 2::3, :, 38:] = np.nan, np.inf
    out = library.numpy(ops.carafe(library.asarray(x), library.asarray(masks), 3, 1, 2))
    np.testing.assert_allclose(out, plain(x, masks, 3, 1, 2), rtol=1e-13, atol=1e-13)
    assert np.isfinite(out).all()
    grad = np.ones(out.shape)
    found = library.numpy(ops.carafe_features_backward(library.asarray(grad), library.asarray(masks), x.shape, 3, 1, 2))
    assert np.isfinite(found).all()
    grad[:, :, 0], grad[:, :, :, 39] = np.inf, np.nan
    found = library.numpy(ops.carafe_masks_backward(library.asarray(grad), library.asarray(x), masks.shape, 3, 1, 2))
    assert not found[:, :3, 0].any() and not found[:, 2::3, :, 38:].any()
    assert np.isnan(found[:, 3:6, 3, 39][:, :2]).all() and np.isfinite(found[:, :, 1:, :39]).all()


def test_no_pixels(library):
    for shape in ((1, 4, 0, 3), (1, 4, 3, 0), (0, 4, 2, 2)):
        x, masks = np.zeros(shape), np.zeros((shape[0], 9, shape[2] * 2, shape[3] * 2))
        out = ops.carafe(library.asarray(x), library.asarray(masks), 3, 1, 2)
        assert tuple(out.shape) == (shape[0], 4, shape[2] * 2, shape[3] * 2)
        assert tuple(ops.carafe_features_backward(out, library.asarray(masks), shape, 3, 1, 2).shape) == shape
        found = ops.carafe_masks_backward(out, library.asarray(x), masks.shape, 3, 1, 2)
        assert tuple(found.shape) == masks.shape


def test_wrong_arguments():
    x, masks = np.ones((1, 4, 3, 5)), np.ones((1, 18, 6, 10))
    for arguments, error, text in (
        (dict(kernel_size=2), ValueError, "kernel_size must be odd, got 2"),
        (dict(kernel_size=0), ValueError, "kernel_size must be at least 1, got 0"),
        (dict(kernel_size=3.0), TypeError, "kernel_size must be an int, got float"),
        (dict(kernel_size=5), ValueError, r"masks must have shape \(1, 50, 6, 10\), got \(1, 18, 6, 10\)"),
        (dict(kernel_size=1025), ValueError, "kernel_size must be at most 1024, got 1025"),
        (dict(kernel_size=513), ValueError, "kernel_size times scale_factor must be at most 1024, got 513 times 2"),
        (dict(group_size=1), ValueError, r"masks must have shape \(1, 9, 6, 10\), got"),
        (dict(group_size=3), ValueError, "group_size must divide the 4 channels, got 3"),
        (dict(group_size=0), ValueError, "group_size must be at least 1, got 0"),
        (dict(scale_factor=0), ValueError, "scale_factor must be at least 1, got 0"),
        (dict(scale_factor=3), ValueError, r"masks must have shape \(1, 18, 9, 15\), got"),
        (dict(scale_factor=None), TypeError, "scale_factor must be an int, got NoneType"),
    ):
        with pytest.raises(error, match=rf"^carafe: {text}"):
            ops.carafe(x, masks, **{**dict(kernel_size=3, group_size=2, scale_factor=2), **arguments})
    with pytest.raises(ValueError, match=r"^carafe_features_backward: grad must have shape \(1, 4, 6, 10\), got"):
        ops.carafe_features_backward(np.ones((1, 4, 6, 9)), masks, x.shape, 3, 2, 2)
    with pytest.raises(ValueError, match=r"^carafe_masks_backward: masks_shape must be \(1, 18, 6, 10\), got"):
        ops.carafe_masks_backward(np.ones((1, 4, 6, 10)), x, (1, 18, 6, 9), 3, 2, 2)


def test_modules():
    torch = pytest.importorskip("torch")
    from arrayvision.torch_bridge import ops as torch_ops

    x, masks = torch.rand(1, 4, 3, 5), torch.rand(1, 18, 6, 10)
    for kind, function in ((torch_ops.CARAFE, "carafe"), (torch_ops.CARAFENaive, "carafe_naive")):
        module = kind(3, 2, 2)
        assert repr(module) == f"{kind.__name__}(kernel_size=3, group_size=2, scale_factor=2)"
        assert torch.equal(module(x, masks), torch_ops.carafe(x, masks, 3, 2, 2))
        with pytest.raises(ValueError, match=rf"^{function}: masks must"):
            module(x, masks[:, 1:])


def test_pack():
    torch = pytest.importorskip("torch")
    from arrayvision.torch_bridge import ops as torch_ops
    from arrayvision.torch_bridge.cnn import build_upsample_layer

    pack = build_upsample_layer(dict(type="carafe", channels=16, scale_factor=2))
    assert type(pack) is torch_ops.CARAFEPack
    assert {name: tuple(x.shape) for name, x in pack.state_dict().items()} == {
        "channel_compressor.weight": (64, 16, 1, 1),
        "channel_compressor.bias": (64,),
        "content_encoder.weight": (100, 64, 3, 3),
        "content_encoder.bias": (100,),
    }
    assert not pack.content_encoder.bias.any() and pack.content_encoder.weight.std() < 0.0015
    torch.manual_seed(0)
    pack = torch_ops.CARAFEPack(
        4, 3, up_kernel=3, up_group=2, encoder_kernel=5, encoder_dilation=2, compressed_channels=7
    )
    torch.nn.init.normal_(pack.content_encoder.weight, std=0.3)
    pack, x = pack.double(), torch.randn(2, 4, 3, 5, dtype=torch.double, requires_grad=True)
    mask = pack.content_encoder(pack.channel_compressor(x))
    weights = pack.kernel_normalizer(mask)
    assert weights.shape == (2, 18, 9, 15) and (weights > 0).all()
    parts = torch.nn.functional.pixel_shuffle(mask, 3).view(2, 2, 9, 9, 15).softmax(2).view(2, 18, 9, 15)
    torch.testing.assert_close(weights, parts)
    out = pack(x)
    expected = plain(x.detach().numpy(), weights.detach().numpy(), 3, 2, 3)
    np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    out.sum().backward()
    assert all(p.grad is not None for p in pack.parameters()) and x.grad.abs().sum() > 0
    empty = torch.zeros(0, 4, 2, 2, dtype=torch.double, requires_grad=True)
    out = pack(empty)
    assert out.shape == (0, 4, 6, 6) and torch.autograd.grad(out.sum(), empty)[0].shape == empty.shape
    assert pack(torch.zeros(1, 4, 0, 2).double()).shape == (1, 4, 0, 6)
    with pytest.raises(ValueError, match=r"^CARAFEPack: x must have shape \(N, 4, H, W\), got"):
        pack(x[0])
    with pytest.raises(ValueError, match=r"^CARAFEPack: up_group must divide the 4 channels, got 3"):
        torch_ops.CARAFEPack(4, 2, up_group=3)
    with pytest.raises(ValueError, match=r"^CARAFEPack: encoder_kernel must be odd, got 2"):
        torch_ops.CARAFEPack(4, 2, encoder_kernel=2)
