"""Layers against torch's own operators and short formulas; published parameter names; bad arguments."""

import json
import math
import pathlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import arrayvision.torch_bridge.cnn as cnn
from arrayvision.registry import MODELS
from arrayvision.torch_bridge.cnn import bricks
from arrayvision.torch_bridge.cnn.bricks import merge
from arrayvision.torch_bridge.cnn.bricks.conv_module import ConvModule
from arrayvision.torch_bridge.cnn.bricks.init import BaseModule
from arrayvision.torch_bridge.cnn.bricks.norm import infer_abbr as norm_abbreviation
from arrayvision.torch_bridge.cnn.bricks.plugin import infer_abbr as plugin_abbreviation
from arrayvision.torch_bridge.cnn.bricks.transformer import (
    FFN,
    AdaptivePadding,
    BaseTransformerLayer,
    MultiheadAttention,
    PatchEmbed,
    PatchMerging,
    TransformerLayerSequence,
)
from arrayvision.torch_bridge.cnn.bricks.upsample import PixelShufflePack

STATE_DICTS = json.loads((pathlib.Path(__file__).parent.parent / "data" / "cnn_state_dicts.json").read_text())
NAMES = {
    **{name: getattr(cnn, name) for name in cnn.__all__},
    "torch": torch,
    "AdaptivePadding": AdaptivePadding,
    "BaseTransformerLayer": BaseTransformerLayer,
    "FFN": FFN,
    "MultiheadAttention": MultiheadAttention,
    "PatchEmbed": PatchEmbed,
    "PatchMerging": PatchMerging,
    "PixelShufflePack": PixelShufflePack,
}


def close(actual, wanted, ulps=64):
    """Within a number of float32 roundings of the largest value."""
    tolerance = ulps * torch.finfo(torch.float32).eps * float(wanted.detach().abs().max())
    torch.testing.assert_close(actual, wanted, rtol=0, atol=tolerance)


def randomised(module, seed=0):
    """All numbers of a module drawn anew, variances positive."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            drawn = torch.rand(value.shape, generator=generator)
            value.copy_(drawn + 0.5 if "var" in name else drawn - 0.5)
    return module


@pytest.mark.parametrize("expression", STATE_DICTS)
def test_parameter_names_and_shapes_are_the_published_ones(expression):
    module = eval(expression, dict(NAMES))
    assert {name: list(value.shape) for name, value in module.state_dict().items()} == STATE_DICTS[expression]


# ---- convolutions ----------------------------------------------------------------------------------------------------
def test_conv_ws_standardises_each_filter():
    x, layer = torch.randn(2, 3, 7, 8), randomised(bricks.ConvWS2d(3, 4, 3, padding=1, stride=2))
    w = layer.weight.detach().double().numpy().reshape(4, -1)
    w = (w - w.mean(1, keepdims=True)) / (w.std(1, ddof=1, keepdims=True) + 1e-5)
    w = torch.from_numpy(w.reshape(4, 3, 3, 3)).float()
    close(layer(x), F.conv2d(x, w, layer.bias, 2, 1))


def test_conv_aws_that_loads_plain_weights_computes_what_the_plain_one_did():
    plain, x = nn.Conv2d(4, 8, 3, padding=1, groups=2), torch.randn(2, 4, 5, 6)
    layer = bricks.ConvAWS2d(4, 8, 3, padding=1, groups=2)
    missing, unexpected = layer.load_state_dict(plain.state_dict(), strict=True)
    assert not missing and not unexpected
    close(layer(x), plain(x), 256)  # (w - mean) / std and back loses a few bits
    again = bricks.ConvAWS2d(4, 8, 3, padding=1, groups=2)
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), layer(x))
    with pytest.raises(RuntimeError, match="bias"):
        layer.load_state_dict({"weight": plain.weight}, strict=True)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation"), [(11, 3, 2, 1), (10, 2, 3, 2), (7, 1, 4, 1), (8, 4, 1, 3)]
)
def test_adaptive_padding_gives_ceil_of_size_over_stride(size, kernel, stride, dilation):
    conv = bricks.Conv2dAdaptivePadding(1, 1, kernel, stride, dilation=dilation)
    x = torch.randn(1, 1, size, size + 1)
    assert conv(x).shape[2:] == (math.ceil(size / stride), math.ceil((size + 1) / stride))
    span = [max((math.ceil(n / stride) - 1) * stride + (kernel - 1) * dilation + 1 - n, 0) for n in (size, size + 1)]
    corner = AdaptivePadding(kernel, stride, dilation)(x)
    assert corner.shape[2:] == (size + span[0], size + 1 + span[1])
    assert torch.equal(corner[..., :size, : size + 1], x)
    assert not corner[..., size:, :].any() and not corner[..., size + 1 :].any()
    same = AdaptivePadding(kernel, stride, dilation, "same")(x)
    assert torch.equal(same[..., span[0] // 2 :, span[1] // 2 :][..., :size, : size + 1], x)
    close(conv(x), F.conv2d(same, conv.weight, conv.bias, stride, 0, dilation))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (bricks.Conv2d(3, 4, 3, 2), (0, 3, 8, 8)),
        (bricks.Conv3d(3, 4, 3), (0, 3, 5, 8, 8)),
        (bricks.ConvTranspose2d(3, 4, 3, 2), (0, 3, 8, 8)),
        (bricks.ConvTranspose3d(3, 4, 3), (0, 3, 5, 8, 8)),
        (bricks.MaxPool2d(2), (0, 3, 8, 8)),
        (bricks.MaxPool3d(2), (0, 3, 4, 8, 8)),
        (bricks.Linear(3, 4), (0, 3)),
    ],
)
def test_wrappers_accept_empty_batches(layer, shape):
    x = torch.zeros(shape, requires_grad=True)
    y = layer(x)
    assert y.shape == (0, *layer(torch.zeros(1, *shape[1:])).shape[1:])
    y.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


# ---- ConvModule ------------------------------------------------------------------------------------------------------
def test_conv_module_bias_follows_the_norm():
    assert ConvModule(3, 4, 1).conv.bias is not None
    assert ConvModule(3, 4, 1, norm_cfg={"type": "BN"}).conv.bias is None
    assert ConvModule(3, 4, 1, bias=False).conv.bias is None
    with pytest.warns(UserWarning, match="^Unnecessary conv bias before batch/instance norm$"):
        ConvModule(3, 4, 1, bias=True, norm_cfg={"type": "IN"})


@pytest.mark.parametrize("order", [("conv", "norm", "act"), ("norm", "conv", "act"), ("act", "norm", "conv")])
def test_conv_module_applies_in_order_and_leaves_out_on_request(order):
    layer = randomised(ConvModule(3, 5, 3, norm_cfg={"type": "BN"}, act_cfg={"type": "Tanh"}, order=order)).eval()
    x = torch.randn(2, 3, 6, 6)
    steps = {"conv": layer.conv, "norm": layer.norm, "act": torch.tanh}
    for activate in (True, False):
        for norm in (True, False):
            wanted = x
            for step in order:
                if (step != "act" or activate) and (step != "norm" or norm):
                    wanted = steps[step](wanted)
            assert torch.equal(layer(x, activate=activate, norm=norm), wanted)


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
def test_conv_module_padding_modes(mode):
    layer, x = ConvModule(2, 3, 3, padding=1, padding_mode=mode, act_cfg=None), torch.randn(1, 2, 5, 6)
    padded = F.pad(x, (1, 1, 1, 1)) if mode == "zeros" else F.pad(x, (1, 1, 1, 1), mode=mode)
    close(layer(x), F.conv2d(padded, layer.conv.weight, layer.conv.bias))


def test_conv_module_spectral_norm():
    layer, x = ConvModule(3, 4, 3, with_spectral_norm=True, act_cfg=None).train(), torch.randn(1, 3, 5, 5)
    layer.conv.weight_orig.data[0] *= 3  # the largest singular value lies apart from the next, so few steps suffice
    for _ in range(50):  # each call is a step of the power iteration
        layer(x)
    largest = torch.linalg.matrix_norm(layer.conv.weight_orig.detach().reshape(4, -1), 2)
    close(layer.eval()(x), F.conv2d(x, layer.conv.weight_orig / largest, layer.conv.bias), 4096)


def test_fused_evaluation_runs_hooks_and_spectral_norm_among_them():
    def make(fuse):
        return ConvModule(
            3, 4, 3, with_spectral_norm=True, norm_cfg={"type": "BN"}, act_cfg=None, efficient_conv_bn_eval=fuse
        ).eval()

    fused, plain, x = make(True), make(False), torch.randn(1, 3, 5, 5)
    fused(x)
    fused.load_state_dict(randomised(plain).state_dict())  # the weight is computed anew from what is loaded
    close(fused(x), plain(x), 256)
    seen = []
    handle = fused.conv.register_forward_hook(lambda module, args, output: seen.append(output))
    assert torch.equal(fused(x), seen[0]) and len(seen) == 1
    handle.remove()
    assert "forward" not in vars(fused.conv)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("norm", [{"type": "BN"}, {"type": "BN", "affine": False}])
@pytest.mark.filterwarnings("ignore:Unnecessary conv bias")
def test_fused_evaluation_equals_convolution_and_norm_gradients_too(bias, norm):
    if norm.get("affine") is False:  # init_weights sets norms that have weights
        layer = ConvModule.create_from_conv_bn(nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4, affine=False))
    else:
        layer = ConvModule(3, 4, 3, bias=bias, norm_cfg=norm, act_cfg=None, efficient_conv_bn_eval=True)
    randomised(layer).eval()
    assert layer.efficient_conv_bn_eval_forward is not None
    x = torch.randn(2, 3, 6, 6, requires_grad=True)
    fused = layer(x)
    plain = layer.norm(layer.conv(x))
    close(fused, plain)
    weight = torch.randn_like(plain)
    inputs = [x, *layer.parameters()]
    for ours, wanted in zip(
        torch.autograd.grad((fused * weight).sum(), inputs),
        torch.autograd.grad((plain * weight).sum(), inputs),
        strict=True,
    ):
        close(ours, wanted, 256)
    wrapped = ConvModule.create_from_conv_bn(bricks.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    assert wrapped.efficient_conv_bn_eval_forward is not None
    close(wrapped(x), wrapped.norm(wrapped.conv(x)))
    layer.train()
    close(layer(x), layer.norm(layer.conv(x)))
    layer.turn_on_efficient_conv_bn_eval(False)
    assert layer.efficient_conv_bn_eval_forward is None


def test_convolutions_that_change_their_weights_are_not_fused():
    layer = ConvModule(
        3, 4, 3, conv_cfg={"type": "ConvWS"}, norm_cfg={"type": "BN"}, act_cfg=None, efficient_conv_bn_eval=True
    )
    randomised(layer).eval()
    x = torch.randn(1, 3, 5, 5)
    assert torch.equal(layer(x), layer.norm(layer.conv(x)))


def test_fuse_conv_bn():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = ConvModule(3, 4, 3, norm_cfg={"type": "BN"})
            self.inner = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), nn.ReLU(), nn.BatchNorm2d(6))
            self.ws = ConvModule(6, 6, 1, conv_cfg={"type": "ConvWS"}, norm_cfg={"type": "BN"})

        def forward(self, x):
            return self.ws(self.inner(self.first(x)))

    model, x = randomised(Model()).eval(), torch.randn(2, 3, 8, 8)
    wanted = model(x)
    fused = cnn.fuse_conv_bn(model)
    assert fused is model
    assert [type(m) for m in model.modules()].count(nn.Identity) == 2
    assert isinstance(model.inner[3], nn.BatchNorm2d) and isinstance(model.ws.bn, nn.BatchNorm2d)
    close(model(x), wanted, 256)


SHARED = nn.Conv2d(4, 4, 1)
SHARED_NORM = nn.BatchNorm2d(4)
APART = {
    "an activation": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)),
    "pooling": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4)),
    "a block": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.GELU()), nn.BatchNorm2d(4)),
    "padding": lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.ZeroPad2d(1), nn.BatchNorm2d(4)),
    "an order with the activation between": lambda: ConvModule(
        3, 4, 3, norm_cfg={"type": "BN"}, act_cfg={"type": "Tanh"}, order=("conv", "act", "norm")
    ),
    "an order with the norm first": lambda: ConvModule(3, 3, 3, norm_cfg={"type": "BN"}, order=("norm", "conv", "act")),
    "a spectral norm": lambda: nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)
    ),
    "a weight norm": lambda: nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)
    ),
    "a shared convolution": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.Sequential(SHARED, nn.BatchNorm2d(4)),
        nn.Tanh(),
        nn.Sequential(SHARED, nn.BatchNorm2d(4)),
    ),
    "a shared norm": lambda: nn.Sequential(nn.Conv2d(3, 4, 1), SHARED_NORM, nn.Tanh(), nn.Conv2d(4, 4, 1), SHARED_NORM),
}


@pytest.mark.parametrize("between", APART)
def test_fuse_conv_bn_takes_only_what_follows_directly(between):
    model, x = randomised(APART[between]()).eval(), torch.randn(2, 3, 8, 8)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    wanted = model(x)
    close(cnn.fuse_conv_bn(model)(x), wanted, 256)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == norms


def test_fuse_conv_bn_passes_over_identities():
    model, x = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Identity(), nn.BatchNorm2d(4))), torch.randn(2, 3, 8, 8)
    wanted = model.eval()(x)
    close(cnn.fuse_conv_bn(model)(x), wanted, 256)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


class Pair(nn.Module):
    """A convolution and a norm, listed one after the other, and a way to use them."""

    def __init__(self, way):
        super().__init__()
        self.conv, self.nothing, self.norm, self.way, self.seen = (
            nn.Conv2d(3, 3, 1),
            nn.Identity(),
            nn.BatchNorm2d(3),
            way,
            0,
        )

    def forward(self, x):
        self.seen += 1
        return self.way(self, x)


@pytest.mark.parametrize(
    "way",
    [
        lambda m, x: m.norm(torch.relu(m.conv(x))),
        lambda m, x: m.norm(m.conv(x).tanh()),
        lambda m, x: m.conv(m.norm(x)),
        lambda m, x: m.norm(m.conv(x)) + m.conv(x),
        lambda m, x: m.norm(m.conv(m.norm(x))),
        lambda m, x: (lambda y: m.norm(y) + y)(m.conv(x)),
        lambda m, x: m.norm(m.conv(x) + x),
        lambda m, x: m.conv(x),
    ],
)
def test_fuse_conv_bn_looks_at_forward(way):
    model, x = randomised(Pair(way)).eval(), torch.randn(2, 3, 8, 8)
    wanted = model(x)
    assert cnn.fuse_conv_bn(model).seen == 1
    assert torch.equal(model(x), wanted) and isinstance(model.norm, nn.BatchNorm2d)


@pytest.mark.parametrize(
    "way",
    [
        lambda m, x: m.norm(m.conv(x)),
        lambda m, x: x + m.norm(m.nothing(m.conv(x))).relu(),
        lambda m, x: m.norm(m.conv(x)) if x.sum() > -1e9 else x,  # torch.fx can't follow it
        lambda m, x: m.norm(m.conv(x)) * int(x.shape[0]),
    ],
)
def test_fuse_conv_bn_fuses_what_forward_joins(way):
    model, x = randomised(Pair(way)).eval(), torch.randn(2, 3, 8, 8)
    wanted = model(x)
    close(cnn.fuse_conv_bn(model)(x), wanted, 256)
    assert isinstance(model.norm, nn.Identity)


# ---- builders --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "kind", "abbreviation"),
    [
        ("BN", nn.BatchNorm2d, "bn"),
        ("BN1d", nn.BatchNorm1d, "bn"),
        ("BN2d", nn.BatchNorm2d, "bn"),
        ("BN3d", nn.BatchNorm3d, "bn"),
        ("SyncBN", nn.SyncBatchNorm, "bn"),
        ("GN", nn.GroupNorm, "gn"),
        ("LN", nn.LayerNorm, "ln"),
        ("IN", nn.InstanceNorm2d, "in"),
        ("IN1d", nn.InstanceNorm1d, "in"),
        ("IN3d", nn.InstanceNorm3d, "in"),
    ],
)
def test_norms_by_name(name, kind, abbreviation):
    cfg = {"type": name, "requires_grad": False, **({"num_groups": 2} if name == "GN" else {})}
    if name.startswith("IN"):
        cfg["affine"] = True
    given, layer = cnn.build_norm_layer(cfg, 4, postfix=7)
    assert given == f"{abbreviation}7" and type(layer) is kind
    assert layer.eps == 1e-5
    assert not any(p.requires_grad for p in layer.parameters()) and list(layer.parameters())
    assert cnn.is_norm(layer) and not cnn.is_norm(layer, exclude=kind)


def test_abbreviations():
    class Odd:
        _abbr_ = "odd"

    names = {"MyBatchThing": "bn", "GroupX": "gn", "ALayer": "ln", "InstanceY": "in", "Other": "norm_layer"}
    assert norm_abbreviation(Odd) == plugin_abbreviation(Odd) == "odd"
    assert {name: norm_abbreviation(type(name, (), {})) for name in names} == names
    assert plugin_abbreviation(type("FancyHTTPBlock2d", (), {})) == "fancy_http_block2d"
    for infer in (norm_abbreviation, plugin_abbreviation):
        with pytest.raises(TypeError, match="must be a class"):
            infer(3)


@pytest.mark.parametrize(
    ("cfg", "kind"),
    [
        ({"type": "HSwish"}, nn.Hardswish),
        ({"type": "GELU"}, nn.GELU),
        ({"type": "SiLU", "inplace": True}, nn.SiLU),
        ({"type": nn.ELU, "alpha": 2}, nn.ELU),
        ({"type": "Clip", "max": 0.5}, MODELS.get("Clamp")),
    ],
)
def test_activations_by_name(cfg, kind):
    assert type(cnn.build_activation_layer(cfg)) is kind


def test_own_activations():
    x = torch.linspace(-9, 9, 37)
    close(bricks.HSigmoid()(x), F.hardsigmoid(x))
    close(bricks.HSwish()(x), F.hardswish(x))
    assert torch.equal(bricks.Swish()(x), x * torch.sigmoid(x))  # to the bit: other projects compare so
    assert torch.equal(MODELS.build({"type": "Clamp", "min": -2, "max": 1})(x), x.clamp(-2, 1))


def test_activations_get_inplace_where_they_take_it():
    class Own(nn.Module):
        def __init__(self, **options):
            super().__init__()
            self.options = options

    assert ConvModule(2, 2, 1, act_cfg={"type": Own}, inplace=False).activate.options == {"inplace": False}
    assert ConvModule(2, 2, 1, act_cfg={"type": "ReLU"}).activate.inplace
    assert isinstance(ConvModule(2, 2, 1, act_cfg={"type": nn.Tanh}).activate, nn.Tanh)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_adaptive_convolution_can_be_scripted():
    conv, x = bricks.Conv2dAdaptivePadding(2, 3, 3, (2, 3)), torch.randn(1, 2, 9, 10)
    assert torch.equal(torch.jit.script(conv)(x), conv(x))


def test_upsampling_by_name():
    x = torch.randn(1, 2, 3, 4)
    assert cnn.build_upsample_layer({"type": "bilinear", "scale_factor": 2}).mode == "bilinear"
    assert cnn.build_upsample_layer({"type": "nearest", "scale_factor": 2})(x).shape == (1, 2, 6, 8)
    assert cnn.build_upsample_layer({"type": "deconv"}, 2, 5, 2, stride=2)(x).shape == (1, 5, 6, 8)
    assert cnn.build_upsample_layer({"type": "deconv3d"}, 2, 5, 1)(x[:, :, None]).shape == (1, 5, 1, 3, 4)
    shuffle = {"type": "pixel_shuffle", "in_channels": 2, "out_channels": 3, "scale_factor": 2, "upsample_kernel": 3}
    assert cnn.build_upsample_layer(shuffle)(x).shape == (1, 3, 6, 8)


@pytest.mark.parametrize(
    "build",
    [
        cnn.build_conv_layer,
        lambda cfg: cnn.build_norm_layer(cfg, 3),
        cnn.build_padding_layer,
        cnn.build_upsample_layer,
        cnn.build_plugin_layer,
        cnn.build_activation_layer,
    ],
)
def test_builders_refuse_nonsense(build):
    with pytest.raises(TypeError, match="cfg must be a dict, got str"):
        build("Conv2d")
    with pytest.raises(KeyError, match="must have the key 'type'"):
        build({"inplace": True})
    with pytest.raises(KeyError, match="'FancyThing' is not registered"):
        build({"type": "FancyThing"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvModule(3, 8, 2, conv_cfg="conv"), "conv_cfg must be a dict or None, got str"),
        (lambda: ConvModule(3, 8, 2, order=("conv", "norm", "norm")), "order must be a tuple of"),
        (lambda: ConvModule(3, 8, 2, order=["conv", "norm", "act"]), "order must be a tuple of"),
        (lambda: cnn.DepthwiseSeparableConvModule(4, 8, 2, groups=2), "groups must not be given"),
        (lambda: cnn.build_norm_layer({"type": "GN"}, 4), "must have num_groups for GN"),
        (lambda: cnn.build_norm_layer({"type": "BN"}, 4, postfix=[1]), "postfix must be an int or str, got list"),
        (lambda: cnn.ContextBlock(16, 0.25, pooling_type="max"), "pooling_type must be 'avg' or 'att', got 'max'"),
        (lambda: cnn.ContextBlock(16, 0.25, fusion_types=()), "fusion_types must be of"),
        (lambda: cnn.GeneralizedAttention(16, attention_type="12"), "attention_type must be four digits"),
        (lambda: cnn.GeneralizedAttention(8), "num_heads must be 1 to in_channels = 8, got 9"),
        (lambda: cnn.NonLocal2d(8, mode="nearest"), "mode must be 'gaussian'"),
        (lambda: bricks.LayerScale(4, data_format="nhwc"), "data_format must be 'channels_last' or 'channels_first'"),
        (lambda: cnn.HSigmoid(divisor=0), "divisor must not be 0"),
        (lambda: FFN(num_fcs=1), "num_fcs must be at least 2, got 1"),
        (lambda: cnn.ResNet(18, num_stages=5), "num_stages must be 1 to 4, got 5"),
        (lambda: BaseTransformerLayer(operation_order=("attn",)), "operation_order must be of"),
        (lambda: TransformerLayerSequence([], 2), "transformerlayers must be a dict or a list of num_layers = 2"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_operators_elsewhere_are_looked_up_when_used():
    """Each name resolves to the class it stands for, or says which operator is missing."""
    names = {"DCN": "DeformConv2dPack", "DCNv2": "ModulatedDeformConv2dPack", "SAC": "SAConv2d", "carafe": "CARAFEPack"}
    names |= {"MMSyncBN": "SyncBatchNorm", "SubMConv3d": "SubMConv3d", "CrissCrossAttention": "CrissCrossAttention"}
    for name, operator in names.items():
        try:
            found = MODELS.get(name)
        except ImportError as error:
            assert f"'{name}' needs the operator {operator} of arrayvision.torch_bridge.ops" in str(error)
        else:
            assert found.__name__ == operator and found.__module__.startswith("arrayvision.torch_bridge.ops")


# ---- attention blocks ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["gaussian", "embedded_gaussian", "dot_product", "concatenation"])
@pytest.mark.parametrize("sub_sample", [False, True])
def test_non_local_is_a_weighted_sum_over_positions(mode, sub_sample):
    block = randomised(cnn.NonLocal2d(4, sub_sample=sub_sample, mode=mode))
    x = torch.randn(2, 4, 6, 4, requires_grad=True)
    pool = nn.MaxPool2d(2) if sub_sample else nn.Identity()

    def project(name):
        layer = getattr(block, name)
        conv = next(m for m in layer.modules() if isinstance(m, nn.Conv2d))
        return conv(x)

    g = pool(project("g")).flatten(2)
    theta = x.flatten(2) if mode == "gaussian" else project("theta").flatten(2)
    phi = pool(x if mode == "gaussian" else project("phi")).flatten(2)
    if mode == "concatenation":
        w = block.concat_project.conv.weight.flatten()
        a, b = torch.einsum("c,bcn->bn", w[:2], theta), torch.einsum("c,bcm->bm", w[2:], phi)
        weights = F.relu(a[:, :, None] + b[:, None]) / phi.shape[2]
    else:
        weights = torch.einsum("bcn,bcm->bnm", theta, phi)
        if mode == "dot_product":
            weights = weights / phi.shape[2]
        else:
            weights = (weights / (math.sqrt(2) if mode == "embedded_gaussian" else 1)).softmax(2)
    y = torch.einsum("bnm,bcm->bcn", weights, g).reshape(2, 2, 6, 4)
    wanted = x + block.conv_out.conv(y)
    close(block(x), wanted, 256)
    block(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_blocks_begin_as_the_identity():
    x = torch.randn(2, 16, 5, 7)
    for block in (
        cnn.NonLocal2d(16),
        cnn.NonLocal2d(16, norm_cfg={"type": "BN"}).eval(),
        cnn.ContextBlock(16, 0.25),
        cnn.GeneralizedAttention(16, num_heads=4),
    ):
        assert torch.equal(block(x), x)


@pytest.mark.parametrize("pooling", ["att", "avg"])
def test_context_block(pooling):
    block = randomised(cnn.ContextBlock(4, 0.5, pooling, ("channel_mul", "channel_add")))
    x = torch.randn(2, 4, 3, 5)
    if pooling == "att":
        mask = torch.einsum("c,bchw->bhw", block.conv_mask.weight.flatten(), x) + block.conv_mask.bias
        mask = mask.flatten(1).softmax(1).reshape(2, 3, 5)
    else:
        mask = torch.full((2, 3, 5), 1 / 15)
    context = torch.einsum("bchw,bhw->bc", x, mask)[..., None, None]
    wanted = x * torch.sigmoid(block.channel_mul_conv(context)) + block.channel_add_conv(context)
    close(block(x), wanted)


@pytest.mark.parametrize("attention_type", ["1111", "0010", "1000", "0100", "0001", "1010", "0101", "0110", "0000"])
@pytest.mark.parametrize(("q_stride", "kv_stride"), [(1, 2), (2, 1)])
def test_generalized_attention_sums_its_terms(attention_type, q_stride, kv_stride):
    """Against loops over positions, in float64."""
    heads, dim = 2, 4
    block = cnn.GeneralizedAttention(
        8, num_heads=heads, q_stride=q_stride, kv_stride=kv_stride, attention_type=attention_type
    ).double()
    randomised(block)
    x = torch.randn(1, 8, 4, 6, dtype=torch.float64)
    query_map, key_map = x[..., ::q_stride, ::q_stride], x[..., ::kv_stride, ::kv_stride]
    qc, qp, c, p = (digit == "1" for digit in attention_type)
    (h, w), (hk, wk) = query_map.shape[2:], key_map.shape[2:]
    steps = torch.arange(0, 8 / 4, dtype=torch.float64)

    def embed(difference):
        phase = difference / 1000 ** (4 / 8 * steps)
        return torch.cat([phase.sin(), phase.cos()])

    out = torch.zeros(8, h, w, dtype=torch.float64)
    values = F.conv2d(key_map, block.value_conv.weight)[0].reshape(heads, dim, hk, wk)
    for head in range(heads):
        for y in range(h):
            for i in range(w):
                energies = torch.zeros(hk, wk, dtype=torch.float64)
                part = slice(head * dim, head * dim + dim)
                for yk in range(hk):
                    for ik in range(wk):
                        if qc or qp:
                            q = block.query_conv.weight[part, :, 0, 0] @ query_map[0, :, y, i]
                        if qc or c:
                            k = block.key_conv.weight[part, :, 0, 0] @ key_map[0, :, yk, ik]
                        if qp or p:
                            position = (
                                block.appr_geom_fc_x.weight[part] @ embed(i * q_stride - ik * kv_stride)
                                + block.appr_geom_fc_y.weight[part] @ embed(y * q_stride - yk * kv_stride)
                            ) / math.sqrt(2)
                        terms = []
                        if qc:
                            terms.append(q @ k)
                        if qp:
                            terms.append(q @ position)
                        if c:
                            terms.append(block.appr_bias[part] @ k)
                        if p:
                            terms.append(block.geom_bias[part] @ position)
                        energies[yk, ik] = sum(float(term.detach()) for term in terms)
                attention = energies.flatten().softmax(0)
                out[part, y, i] = values[head].reshape(dim, -1) @ attention
    result = block.proj_conv(out[None].detach())
    if q_stride > 1:
        result = F.interpolate(result, size=(4, 6), mode="bilinear", align_corners=False)
    torch.testing.assert_close(block(x), block.gamma * result + x, rtol=1e-9, atol=1e-9)


def test_generalized_attention_in_a_range_looks_no_further():
    block = randomised(cnn.GeneralizedAttention(256, spatial_range=1, num_heads=8, kv_stride=1))
    x = torch.randn(1, 256, 6, 7)
    moved = x.clone()
    moved[..., 5, 6] += 1
    changed = (block(moved) - block(x)).abs().sum(1)[0] > 0
    reach = torch.zeros(6, 7, dtype=torch.bool)
    reach[3:, 4:] = True  # a key within [y - 1, y + 2] of a query: the window is one longer below and to the right
    assert changed[5, 6] and not changed[~reach].any()
    with pytest.raises(ValueError, match="in_channels must be 256 or 512 with a spatial_range, got 8"):
        cnn.GeneralizedAttention(8, spatial_range=1, num_heads=2)


@pytest.mark.parametrize(
    ("first", "second", "size"), [((4, 6), (9, 14), None), ((9, 14), (4, 6), (4, 6)), ((5, 7), (5, 7), (10, 14))]
)
def test_merge_cells(first, second, size):
    a, b = torch.randn(2, 3, *first), torch.randn(2, 3, *second)
    target = size or max(first, second)

    def fit(x):
        if tuple(x.shape[2:]) < target:
            return F.interpolate(x, size=target)
        step = [math.ceil(n / t) for n, t in zip(x.shape[2:], target, strict=True)]
        extra = [s * t - n for n, t, s in zip(x.shape[2:], target, step, strict=True)]
        sides = [(e // 2, e - e // 2) for e in extra]
        return F.max_pool2d(F.pad(x, (*sides[1], *sides[0])), step)

    x, y = fit(a), fit(b)
    plain = {"with_out_conv": False}
    assert torch.equal(merge.SumCell(3, 4, **plain)(a, b, size), x + y)
    assert torch.equal(merge.ConcatCell(3, 4, **plain)(a, b, size), torch.cat([x, y], 1))
    close(merge.GlobalPoolingCell(**plain)(a, b, size), y + torch.sigmoid(y.mean((2, 3), keepdim=True)) * x)
    cell = randomised(merge.ConcatCell(3, 4, with_input1_conv=False))
    close(cell(a, b, size), cell.out_conv.conv(F.relu(torch.cat([x, y], 1))))
    assert merge.SumCell(3, 3, with_input1_conv=True)(a, b, size).shape == (2, 3, *target)
    with pytest.raises(ValueError, match="x1 and x2 must have as many samples and channels"):
        merge.SumCell(3, 3)(a, b[:, :2])


# ---- transformers ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("batch_first", [False, True])
def test_attention_adds_positions_and_identity(batch_first):
    layer = randomised(MultiheadAttention(8, 2, batch_first=batch_first)).eval()
    query, key = torch.randn(5, 2, 8), torch.randn(7, 2, 8)
    query_pos, key_pos = torch.randn_like(query), torch.randn_like(key)
    wanted = query + layer.attn(query + query_pos, key + key_pos, key)[0]
    turn = (lambda t: t.transpose(0, 1)) if batch_first else (lambda t: t)
    result = layer(turn(query), turn(key), query_pos=turn(query_pos), key_pos=turn(key_pos))
    close(turn(result), wanted)
    other = torch.randn_like(query)
    with pytest.warns(DeprecationWarning, match='"residual" is deprecated'):
        close(turn(layer(turn(query), residual=turn(other))), other + layer.attn(query, query, query)[0])


def test_ffn():
    layer, x, identity = (
        randomised(FFN(8, 16, 3, layer_scale_init_value=0.5)),
        torch.randn(3, 4, 8),
        torch.randn(3, 4, 8),
    )
    hidden = F.relu(layer.layers[1][0](F.relu(layer.layers[0][0](x))))
    inner = layer.layers[2](hidden) * layer.gamma2.weight
    close(layer(x), x + inner)
    close(layer(x, identity), identity + inner)
    with pytest.warns(DeprecationWarning, match='"add_residual" is deprecated'):
        assert FFN(8, 16, add_residual=False).add_identity is False


@pytest.mark.parametrize(
    "order", [("self_attn", "norm", "cross_attn", "norm", "ffn", "norm"), ("norm", "self_attn", "norm", "ffn")]
)
def test_transformer_layer_runs_its_operations(order):
    layer = BaseTransformerLayer(
        attn_cfgs={"type": "MultiheadAttention", "embed_dims": 8, "num_heads": 2},
        ffn_cfgs={"type": "FFN", "feedforward_channels": 16},
        operation_order=order,
    )
    randomised(layer).eval()
    query, key, mask = torch.randn(5, 2, 8), torch.randn(6, 2, 8), torch.triu(torch.full((5, 5), float("-inf")), 1)
    masks = [mask, None][: order.count("self_attn") + order.count("cross_attn")]
    result = layer(query, key, key, attn_masks=masks)
    attentions, norms = iter(layer.attentions), iter(layer.norms)
    x = query
    for step in order:
        if step == "norm":
            normed = next(norms)(x)
            x, kept = (normed, x) if order[0] == "norm" else (normed, None)
        elif step == "self_attn":
            base = kept if order[0] == "norm" else x
            x = base + next(attentions).attn(x, x, x, attn_mask=mask)[0]
        elif step == "cross_attn":
            x = x + next(attentions).attn(x, key, key)[0]
        else:
            base = kept if order[0] == "norm" else x
            x = base + layer.ffns[0].layers(x)
    close(result, x)
    assert layer.pre_norm == (order[0] == "norm")


def test_transformer_layers_in_a_row():
    cfg = {
        "type": "BaseTransformerLayer",
        "attn_cfgs": [{"type": "MultiheadAttention", "embed_dims": 8, "num_heads": 2}],
        "ffn_cfgs": {"type": "FFN", "embed_dims": 8, "feedforward_channels": 16},
        "operation_order": ("self_attn", "norm", "ffn", "norm"),
        "batch_first": True,
    }
    rows = TransformerLayerSequence(cfg, 3).eval()
    x = torch.randn(2, 5, 8)
    wanted = rows.layers[2](rows.layers[1](rows.layers[0](x)))
    assert torch.equal(rows(x, None, None), wanted)
    assert (rows.embed_dims, rows.pre_norm, len(rows.layers)) == (8, False, 3)
    assert cfg["attn_cfgs"][0] == {"type": "MultiheadAttention", "embed_dims": 8, "num_heads": 2}


def test_patches():
    embed = randomised(PatchEmbed(3, 8, kernel_size=4, stride=4, norm_cfg={"type": "LN"}, input_size=(10, 13)))
    x = torch.randn(2, 3, 10, 13)
    tokens, size = embed(x)
    assert size == embed.init_out_size == (3, 4) and tokens.shape == (2, 12, 8)
    close(tokens, embed.norm(embed.projection(F.pad(x, (0, 3, 0, 2))).flatten(2).transpose(1, 2)))
    merging = randomised(PatchMerging(8, 5))
    merged, size = merging(tokens, (3, 4))
    assert size == (2, 2) and merged.shape == (2, 4, 5)
    grid = F.pad(tokens.transpose(1, 2).reshape(2, 8, 3, 4), (0, 0, 0, 1))
    first = grid[:, :, :2, :2].reshape(2, -1)  # channels, then rows, then columns, as nn.Unfold orders them
    close(merged[:, 0], merging.reduction(merging.norm(first)))
    with pytest.raises(ValueError, match="x must have H \\* W = 9 positions, got 12"):
        merging(tokens, (3, 3))


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    layer, x = bricks.DropPath(0.25).train(), torch.ones(4000, 2, 3)
    y = layer(x)
    kept = y[:, 0, 0] != 0
    assert torch.equal(y, (kept.float() / 0.75)[:, None, None].expand_as(y))
    assert abs(kept.float().mean() - 0.75) < 4 * math.sqrt(0.75 * 0.25 / 4000)
    assert layer.eval()(x) is x and bricks.DropPath(0.0).train()(x) is x


def test_scales():
    x = torch.randn(2, 3, 4)
    assert torch.equal(bricks.Scale(2.0)(x), 2 * x)
    layer = randomised(bricks.LayerScale(4))
    assert torch.equal(layer(x), x * layer.weight)
    first = randomised(bricks.LayerScale(3, data_format="channels_first", inplace=True))
    wanted = x * first.weight[:, None]
    with torch.no_grad():
        y = x.clone()
        assert first(y) is y and torch.equal(y, wanted)


# ---- initialisation --------------------------------------------------------------------------------------------------
def test_initial_weights():
    torch.manual_seed(0)
    layer = ConvModule(64, 64, 3, norm_cfg={"type": "BN"})
    assert abs(layer.conv.weight.std() / math.sqrt(2 / (64 * 9)) - 1) < 0.05  # Kaiming, fan out, ReLU
    leaky = ConvModule(64, 64, 3, act_cfg={"type": "LeakyReLU", "negative_slope": 1.0})
    assert abs(leaky.conv.weight.std() / math.sqrt(1 / (64 * 9)) - 1) < 0.05 and not leaky.conv.bias.any()
    assert (layer.norm.weight == 1).all() and (layer.norm.bias == 0).all()
    bound = math.sqrt(6 / (16 * 9 + 32 * 4 * 9))
    weight = PixelShufflePack(16, 32, 2, 3).upsample_conv.weight
    assert weight.abs().max() <= bound and weight.abs().max() > 0.95 * bound  # Xavier, uniform
    assert abs(cnn.NonLocal2d(64).theta.conv.weight.std() - 0.01) < 0.001


def test_init_cfg_without_mmengine():
    class Model(BaseModule):
        def __init__(self, init_cfg):
            super().__init__(init_cfg)
            self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4)
            self.ffn = FFN(4, 8, init_cfg={"type": "Constant", "val": 5, "layer": "Linear"})

    model = Model(
        [
            {"type": "Constant", "val": 2, "bias": 3, "layer": ["Conv2d", "BatchNorm2d"]},
            {"type": "Normal", "std": 0.01, "layer": "Linear", "override": {"name": "fc", "std": 1e-6}},
        ]
    )
    model.init_weights()
    assert (model.conv.weight == 2).all() and (model.norm.bias == 3).all()
    assert model.fc.weight.abs().max() < 1e-4
    assert (model.ffn.layers[0][0].weight == 5).all()
    with pytest.warns(UserWarning, match="init_weights of Model has been called more than once"):
        model.init_weights()
    with pytest.raises(KeyError, match="type must be one of Constant"):
        Model({"type": "Orthogonal"}).init_weights()


# ---- backbones -------------------------------------------------------------------------------------------------------
def test_resnet_stages_and_strides():
    x = torch.zeros(1, 3, 64, 64)
    shapes = [tuple(y.shape[1:]) for y in cnn.ResNet(50, dilations=(1, 1, 1, 2), strides=(1, 2, 2, 1))(x)]
    assert shapes == [(256, 16, 16), (512, 8, 8), (1024, 4, 4), (2048, 4, 4)]
    assert cnn.ResNet(18, out_indices=(3,))(x).shape == (1, 512, 2, 2)
    assert cnn.ResNet(50, style="caffe").layer2[0].conv1.stride == (2, 2)
    with pytest.raises(KeyError, match="depth must be one of 18, 34, 50, 101, 152, got 19"):
        cnn.ResNet(19)


def test_resnet_freezes_and_checkpoints():
    stages = {"num_stages": 2, "strides": (1, 2), "dilations": (1, 1), "out_indices": (0, 1)}
    model = cnn.ResNet(50, frozen_stages=1, bn_eval=False, with_cp=True, **stages)
    model.train()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {n for n, _ in model.named_parameters() if n.startswith(("conv1", "bn1", "layer1"))}
    assert not model.bn1.training and not model.layer1[0].bn1.training and model.layer2[0].bn1.training
    assert not any(m.training for m in cnn.ResNet(18).train().modules() if isinstance(m, nn.BatchNorm2d))
    plain = cnn.ResNet(50, bn_eval=True, frozen_stages=1, **stages)
    plain.load_state_dict(model.state_dict())
    model.bn_eval = True
    x = torch.randn(1, 3, 32, 32)
    for out, wanted in zip(model.train()(x), plain.train()(x), strict=True):
        assert torch.equal(out, wanted)
    model(x)[-1].sum().backward()
    plain(x)[-1].sum().backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        if ours.requires_grad and theirs.grad is not None:
            close(ours.grad, theirs.grad, 4096)


def test_vgg_and_alexnet():
    x = torch.zeros(1, 3, 32, 32)
    assert [tuple(y.shape[1:]) for y in cnn.VGG(11)(x)] == [
        (64, 16, 16),
        (128, 8, 8),
        (256, 4, 4),
        (512, 2, 2),
        (512, 1, 1),
    ]
    assert cnn.VGG(13, out_indices=(4,), with_last_pool=False)(x).shape == (1, 512, 2, 2)
    assert cnn.VGG(16, num_stages=2, dilations=(1, 1), out_indices=(1,))(x).shape == (1, 128, 8, 8)
    model = cnn.VGG(11, frozen_stages=1, with_bn=True).train()
    assert [p.requires_grad for p in model.features[0].parameters()] == [False, False]
    assert model.features[4].weight.requires_grad
    assert cnn.AlexNet(7).eval()(torch.zeros(2, 3, 224, 224)).shape == (2, 7)
    assert cnn.AlexNet()(torch.zeros(1, 3, 224, 224)).shape == (1, 256, 6, 6)
    assert len(cnn.make_vgg_layer(3, 4, 2, with_bn=True)) == 7
    with pytest.raises(TypeError, match="pretrained must be a str or None, got int"):
        cnn.AlexNet().init_weights(3)


# ---- compiling -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: ConvModule(8, 8, 3, norm_cfg={"type": "BN"}, padding_mode="reflect", padding=1), (2, 8, 6, 5)),
        (lambda: ConvModule(8, 8, 3, norm_cfg={"type": "BN"}, efficient_conv_bn_eval=True).eval(), (2, 8, 6, 5)),
        (lambda: cnn.DepthwiseSeparableConvModule(8, 4, 3, norm_cfg={"type": "BN"}), (2, 8, 6, 5)),
        (lambda: bricks.ConvWS2d(8, 4, 3), (2, 8, 6, 5)),
        (lambda: bricks.ConvAWS2d(8, 4, 3), (2, 8, 6, 5)),
        (lambda: bricks.Conv2dAdaptivePadding(8, 4, 3, 2), (2, 8, 6, 5)),
        (lambda: cnn.NonLocal2d(8, sub_sample=True, zeros_init=False), (2, 8, 6, 5)),
        (lambda: cnn.NonLocal2d(8, mode="concatenation", zeros_init=False), (2, 8, 6, 5)),
        (lambda: cnn.ContextBlock(8, 0.5, fusion_types=("channel_add", "channel_mul")), (2, 8, 6, 5)),
        (lambda: cnn.GeneralizedAttention(8, num_heads=2), (2, 8, 6, 5)),
        (lambda: PixelShufflePack(8, 2, 2, 3), (2, 8, 6, 5)),
        (lambda: cnn.HSigmoid(), (2, 8)),
        (lambda: bricks.DropPath(0.3).eval(), (2, 8)),
        (lambda: bricks.LayerScale(8), (2, 8)),
        (lambda: FFN(8, 16, layer_scale_init_value=0.1), (3, 2, 8)),
        (lambda: MultiheadAttention(8, 2), (3, 2, 8)),
        (lambda: PatchEmbed(8, 4, kernel_size=4, stride=4, norm_cfg={"type": "LN"}), (2, 8, 6, 5)),
        (
            lambda: BaseTransformerLayer(
                attn_cfgs={"type": "MultiheadAttention", "embed_dims": 8, "num_heads": 2},
                ffn_cfgs={"type": "FFN", "embed_dims": 8, "feedforward_channels": 16},
                operation_order=("self_attn", "norm", "ffn", "norm"),
            ),
            (3, 2, 8),
        ),
        (lambda: cnn.ResNet(18).eval(), (1, 3, 32, 32)),
        (
            lambda: cnn.Conv2dRFSearchOp(
                nn.Conv2d(8, 4, 3, padding=1),
                {"num_branches": 3, "exp_rate": 0.5, "mmin": 1, "mmax": 24, "init_alphas": 0.01},
                verbose=False,
            ),
            (2, 8, 6, 5),
        ),
    ],
)
def test_layers_compile_as_one_graph(make, shape):
    torch._dynamo.reset()
    layer = randomised(make())
    x = torch.randn(shape)
    wanted = layer(x)
    result = torch.compile(layer, backend="aot_eager", fullgraph=True)(x)
    for ours, theirs in zip(_tensors(result), _tensors(wanted), strict=True):
        close(ours, theirs)


def _tensors(result):
    return [result] if isinstance(result, torch.Tensor) else [r for r in result if isinstance(r, torch.Tensor)]
