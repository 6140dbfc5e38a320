"""The modules of deformable convolution."""

import copy
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from arrayvision.registry import MODELS  # noqa: E402
from arrayvision.torch_bridge import cnn, ops  # noqa: E402

SHAPES = {  # of published checkpoints: those of a convolution, and what is beside it
    "DeformConv2d": {"weight": (6, 4, 3, 3)},
    "DeformConv2dPack": {"weight": (6, 4, 3, 3), "conv_offset.weight": (36, 4, 3, 3), "conv_offset.bias": (36,)},
    "ModulatedDeformConv2d": {"weight": (6, 4, 3, 3), "bias": (6,)},
    "ModulatedDeformConv2dPack": {
        "weight": (6, 4, 3, 3), "bias": (6,), "conv_offset.weight": (54, 4, 3, 3), "conv_offset.bias": (54,),
    },
}  # fmt: skip
CONTEXT = {
    "weight": (6, 4, 3, 3), "bias": (6,), "weight_diff": (6, 4, 3, 3), "weight_gamma": (6, 1, 1, 1), "weight_beta": (6, 1, 1, 1),
    "switch.weight": (1, 4, 1, 1), "switch.bias": (1,), "pre_context.weight": (4, 4, 1, 1), "pre_context.bias": (4,),
    "post_context.weight": (6, 6, 1, 1), "post_context.bias": (6,),
}  # fmt: skip
OFFSETS = {f"offset_{k}.{part}": size for k in "sl" for part, size in (("weight", (18, 4, 3, 3)), ("bias", (18,)))}
PACKS = ("DeformConv2dPack", "ModulatedDeformConv2dPack")


def shapes(module):
    return {name: tuple(x.shape) for name, x in module.state_dict().items()}


def moved(module):
    """All its numbers drawn anew."""
    with torch.no_grad():
        for x in module.parameters():
            x.uniform_(-0.5, 0.5)
    return module


@pytest.mark.parametrize("name", SHAPES)
def test_parameters(name):
    module = getattr(ops, name)(4, 6, 3, deform_groups=2)
    assert shapes(module) == SHAPES[name]
    assert "kernel_size=(3, 3)" in repr(module) and "deform_groups=2" in repr(module)


def test_parameters_of_switchable_convolution():
    assert shapes(ops.SAConv2d(4, 6, 3)) == CONTEXT
    assert shapes(ops.SAConv2d(4, 6, 3, use_deform=True)) == CONTEXT | OFFSETS


@pytest.mark.parametrize(
    ("name", "kind"), [("DCN", "DeformConv2dPack"), ("DCNv2", "ModulatedDeformConv2dPack"), ("SAC", "SAConv2d")]
)
def test_names_in_configs(name, kind):
    layer = cnn.build_conv_layer(dict(type=name), 4, 6, 3, padding=1)
    assert type(layer) is getattr(ops, kind) is MODELS.get(name)
    block = cnn.ConvModule(4, 6, 3, padding=1, conv_cfg=dict(type=name), norm_cfg=dict(type="BN"))
    assert block(torch.randn(1, 4, 5, 5)).shape == (1, 6, 5, 5)


@pytest.mark.parametrize("name", PACKS)
def test_a_new_layer_is_the_plain_convolution(name):
    """Offsets begin as zeros, and a mask as a half."""
    layer, x = getattr(ops, name)(4, 6, 3, stride=2, padding=1, groups=2, deform_groups=2), torch.randn(2, 4, 7, 6)
    expected = F.conv2d(x, layer.weight, None, 2, 1, 1, 2)
    torch.testing.assert_close(layer(x), expected / (2 if "Modulated" in name else 1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PACKS)
def test_a_layer_is_its_parts(name):
    layer = moved(getattr(ops, name)(4, 6, (3, 2), padding=1, deform_groups=2))
    x = torch.randn(2, 4, 5, 6)
    made = layer.conv_offset(x)
    if name == "DeformConv2dPack":
        expected = ops.deform_conv2d(x, made, layer.weight, 1, 1, deform_groups=2)
    else:
        expected = ops.modulated_deform_conv2d(
            x, made[:, :24], made[:, 24:].sigmoid(), layer.weight, layer.bias, 1, 1, 1, 1, 2
        )
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=0)
    layer(x).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in layer.parameters())
    compiled = torch.compile(copy.deepcopy(layer), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", PACKS)
def test_early_checkpoints(name):
    """Their layer of offsets lies beside the convolution."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv2 = getattr(ops, name)(4, 6, 3)
            self.more = torch.nn.Sequential(torch.nn.ReLU(), getattr(ops, name)(6, 4, 3))

    new, old = Block(), moved(Block())
    state = {key.replace("conv2.conv_", "conv2_").replace("1.conv_", "1_"): x for key, x in old.state_dict().items()}
    assert {"conv2_offset.weight", "more.1_offset.bias"} < set(state)
    for model in (new, copy.deepcopy(Block())):
        model.load_state_dict(state)
        for key, x in old.state_dict().items():
            assert torch.equal(model.state_dict()[key], x)
    new.load_state_dict(old.state_dict())  # today's
    new.conv2_offset = torch.nn.Conv2d(4, 18, 3)  # another layer, whose numbers are its own
    with pytest.raises(RuntimeError, match=re.escape("conv2.conv_offset.weight")):
        new.load_state_dict(state)


def test_initial_weights_are_those_of_the_first_draws():
    """With one seed, the numbers that the published recipes begin with."""
    torch.manual_seed(0)
    expected = torch.nn.init.kaiming_uniform_(torch.empty(6, 4, 3, 3), nonlinearity="relu")
    torch.manual_seed(0)
    assert torch.equal(ops.DeformConv2dPack(4, 6, 3).weight, expected)
    torch.manual_seed(0)
    torch.empty(6, 4, 3, 3).uniform_(-1, 1)
    torch.nn.Conv2d(4, 27, 3)
    expected = torch.empty(6, 4, 3, 3).uniform_(-1 / 6, 1 / 6)
    torch.manual_seed(0)
    assert torch.equal(ops.ModulatedDeformConv2dPack(4, 6, 3).weight, expected)


def test_a_map_smaller_than_the_filter():
    layer = ops.DeformConv2d(2, 3, 5, padding=2)
    x = torch.randn(1, 2, 3, 2)
    torch.testing.assert_close(layer(x, torch.zeros(1, 50, 3, 2)), F.conv2d(x, layer.weight, None, 1, 2))


@pytest.mark.parametrize("use_deform", [False, True])
def test_switchable_convolution(use_deform):
    layer = ops.SAConv2d(4, 6, 3, stride=2, padding=1, groups=2, use_deform=use_deform).double()
    x = torch.randn(2, 4, 8, 7, dtype=torch.float64)

    def standardised():
        weight = layer.weight
        mean, variance = weight.mean((1, 2, 3), keepdim=True), weight.var((1, 2, 3), keepdim=True)
        return layer.weight_gamma * (weight - mean) / (variance + 1e-5).sqrt() + layer.weight_beta

    torch.testing.assert_close(layer(x), F.conv2d(x, standardised(), None, 2, 1, 1, 2))  # as it begins
    moved(layer)
    if use_deform:
        with torch.no_grad():
            for offsets in (layer.offset_s, layer.offset_l):
                offsets.weight.zero_()
                offsets.bias[:] = torch.tensor([1.0, 2] * 9)  # whole pixels: a shifted map, convolved
    shifted = F.pad(x + layer.pre_context(x.mean((2, 3), keepdim=True)), (0, 2, 0, 1)) if use_deform else None
    y = x + layer.pre_context(x.mean((2, 3), keepdim=True))
    near = F.pad(y, (2, 2, 2, 2), mode="reflect").unfold(2, 5, 1).unfold(3, 5, 1).mean((4, 5))
    switch = layer.switch(near)
    parts = []
    for times, weight in ((1, standardised()), (3, standardised() + layer.weight_diff)):
        if use_deform:
            padded = F.pad(shifted, (times, times, times, times))[:, :, 1:, 2:]
            parts.append(F.conv2d(padded, weight, None, 2, 0, times, 2))
        else:
            parts.append(F.conv2d(y, weight, None, 2, times, times, 2))
    out = switch * parts[0] + (1 - switch) * parts[1]
    out = out + layer.post_context(out.mean((2, 3), keepdim=True))
    torch.testing.assert_close(layer(x), out)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), out)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ops.DeformConv2d(4, 6, 3, bias=True), "DeformConv2d: bias must be False, got True"),
        (
            lambda: ops.DeformConv2d(4, 6, 3, groups=3),
            r"DeformConv2d: groups must divide in_channels and out_channels, \[4, 6\], got 3",
        ),
        (
            lambda: ops.DeformConv2dPack(4, 6, 3, deform_groups=3),
            "DeformConv2dPack: deform_groups must divide in_channels 4, got 3",
        ),
        (
            lambda: ops.DeformConv2dPack(4, 6, 3)(torch.ones(1, 3, 5, 5)),
            r"DeformConv2dPack: x must have shape \(B, 4, H, W\)",
        ),
        (
            lambda: ops.ModulatedDeformConv2dPack(4, 6, 3)(torch.ones(1, 4, 2, 5)),
            "ModulatedDeformConv2dPack: input must be as large",
        ),
        (
            lambda: ops.ModulatedDeformConv2dPack(4, 6, 3)(torch.ones(1, 4, 5, 5).half()),
            "x must have the weights' dtype",
        ),
        (lambda: ops.SAConv2d(4, 6, 5, use_deform=True), "SAConv2d: kernel_size must be 3 with use_deform"),
        (lambda: ops.SAConv2d(4, 6, 1)(torch.ones(1, 4, 2, 5)), "SAConv2d: x must have at least 3 x 3 positions"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_mixed_precision():
    """A layer under autocast, whose offsets come in 16 bits and its weights in 32."""
    layer, x = moved(ops.ModulatedDeformConv2dPack(4, 6, 3, padding=1)), torch.randn(1, 4, 5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
        half = layer(x.bfloat16())
    assert out.dtype is torch.float32 and half.dtype is torch.bfloat16
    torch.testing.assert_close(half.float(), out, rtol=0.05, atol=0.2)
    half.float().sum().backward()
    assert {p.grad.dtype for p in layer.parameters()} == {torch.float32}


def test_older_code():
    x, offset, weight = torch.randn(2, 4, 5, 5), torch.randn(2, 18, 5, 5), torch.randn(6, 4, 3, 3)
    out = ops.DeformConv2dFunction.apply(x, offset, weight, 1, 1, 1, 1, 1, False, 32)
    assert torch.equal(out, ops.deform_conv2d(x, offset, weight, padding=1))
    mask = torch.rand(2, 9, 5, 5)
    out = ops.ModulatedDeformConv2dFunction.apply(x, offset, mask, weight, None, 1, 1, 1, 1, 1)
    assert torch.equal(out, ops.modulated_deform_conv2d(x, offset, mask, weight, None, 1, 1))
    for step in (1, 3, 7):
        np.testing.assert_array_equal(
            ops.deform_conv2d(x, offset, weight, padding=1, im2col_step=step),
            ops.deform_conv2d(x, offset, weight, padding=1),
        )


def test_offsets_of_a_larger_map():
    """As DyHead gives them: each image's first numbers, as they lie in memory."""
    torch.manual_seed(0)
    layer = ops.ModulatedDeformConv2d(4, 6, 3, padding=1).double()
    x = torch.randn(2, 4, 4, 5, dtype=torch.double)
    both = torch.randn(2, 27, 8, 10, dtype=torch.double, requires_grad=True)
    offset, mask = both[:, :18], both[:, 18:]
    found = layer(x, offset, mask)
    parts = [torch.stack([t[k].reshape(-1)[: len(t[k]) * 20].view(-1, 4, 5) for k in range(2)]) for t in (offset, mask)]
    assert torch.equal(found, layer(x, *parts))
    (grad,) = torch.autograd.grad(found.sum(), both)
    assert grad[:, 18:].abs().sum() > 0 and grad[:, 5:18].abs().sum() == 0
    for wrong in (torch.zeros(2, 18, 3, 10), torch.zeros(2, 18, 8, 4)):
        with pytest.raises(ValueError, match=r"offset must have shape \(2, 18, 4, 5\)"):
            layer(x, wrong.double(), torch.zeros(2, 9, *wrong.shape[2:]).double())
    with pytest.raises(ValueError, match="mask must have shape"):
        layer(x, parts[0], mask)
