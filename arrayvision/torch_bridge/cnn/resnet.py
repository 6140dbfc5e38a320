"""ResNet. K. He et al., "Deep Residual Learning for Image Recognition", 2015."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from arrayvision.errors import require
from arrayvision.torch_bridge.cnn.bricks.init import constant_init, kaiming_init, normal_init
from arrayvision.torch_bridge.cnn.checkpoint import load_checkpoint


def conv3x3(in_planes: int, out_planes: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A 3x3 convolution without bias that keeps the size (over stride)."""
    return nn.Conv2d(in_planes, out_planes, 3, stride, padding=dilation, dilation=dilation, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the identity."""

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = "pytorch",
        with_cp: bool = False,
    ):
        super().__init__()
        require(style in ("pytorch", "caffe"), f"BasicBlock: style must be 'pytorch' or 'caffe', got {style!r}")
        require(not with_cp, "BasicBlock: with_cp must be False, as it has no checkpoints")
        self.conv1 = conv3x3(inplanes, planes, stride, dilation)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample
        self.stride = stride
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and the identity; the stride is the 3x3's ("pytorch") or the first's ("caffe")."""

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = "pytorch",
        with_cp: bool = False,
    ):
        super().__init__()
        require(style in ("pytorch", "caffe"), f"Bottleneck: style must be 'pytorch' or 'caffe', got {style!r}")
        first, second = (1, stride) if style == "pytorch" else (stride, 1)
        self.conv1 = nn.Conv2d(inplanes, planes, 1, first, bias=False)
        self.conv2 = conv3x3(planes, planes, second, dilation)
        self.bn1 = nn.BatchNorm2d(planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride
        self.dilation = dilation
        self.with_cp = with_cp

    def _inner(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return out + (x if self.downsample is None else self.downsample(x))

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad:
            out = checkpoint(self._inner, x, use_reentrant=False)
        else:
            out = self._inner(x)
        return self.relu(out)


def make_res_layer(
    block: Any,
    inplanes: int,
    planes: int,
    blocks: int,
    stride: int = 1,
    dilation: int = 1,
    style: str = "pytorch",
    with_cp: bool = False,
) -> nn.Module:
    """A stage of residual blocks; the first has the stride, and a projection where shapes change.

    Parameters
    ----------
    block : class
        BasicBlock or Bottleneck.
    inplanes, planes : int
        Channels that come in, and of the blocks before their expansion.
    blocks : int
        How many.
    stride, dilation, style, with_cp
        As in `ResNet`.
    """
    width = planes * block.expansion
    downsample = None
    if stride != 1 or inplanes != width:
        downsample = nn.Sequential(nn.Conv2d(inplanes, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    layers = [block(inplanes, planes, stride, dilation, downsample, style=style, with_cp=with_cp)]
    layers += [block(width, planes, 1, dilation, style=style, with_cp=with_cp) for _ in range(1, blocks)]
    return nn.Sequential(*layers)


def init_backbone(model: nn.Module, pretrained: str | None) -> None:
    """Load a checkpoint, or: Kaiming for convolutions, 1 and 0 for batch norms, normal (0.01) for linear layers."""
    if isinstance(pretrained, str):
        load_checkpoint(model, pretrained, strict=False, logger=logging.getLogger())
    elif pretrained is None:
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                kaiming_init(module)
            elif isinstance(module, nn.BatchNorm2d):
                constant_init(module, 1)
            elif isinstance(module, nn.Linear):
                normal_init(module, std=0.01)
    else:
        raise TypeError(f"init_weights: pretrained must be a str or None, got {type(pretrained).__name__}")


def freeze_norms(model: nn.Module, frozen: bool) -> None:
    """Put batch norms into evaluation mode; `frozen` stops their gradients too."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            if frozen:
                module.requires_grad_(False)


class ResNet(nn.Module):
    """ResNet of depth 18, 34, 50, 101 or 152, without the classifier.

    Parameters
    ----------
    depth : {18, 34, 50, 101, 152}
    num_stages : int
        1 to 4.
    strides, dilations : sequence of int
        Of each stage.
    out_indices : sequence of int
        Which stages' results are given.
    style : {"pytorch", "caffe"}
        Whether a bottleneck's stride is at its 3x3 or its first 1x1 convolution.
    frozen_stages : int
        How many stages are fixed while training; 0 is the stem alone, -1 none.
    bn_eval, bn_frozen : bool
        Whether batch norms use their running statistics, and are fixed, while training.
    with_cp : bool
        Recompute blocks in the backward pass, to save memory.

    Examples
    --------
    >>> import torch
    >>> [tuple(x.shape[1:]) for x in ResNet(18)(torch.zeros(1, 3, 64, 64))]
    [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)]
    """

    arch_settings: ClassVar[dict[int, tuple[Any, tuple[int, ...]]]] = {
        18: (BasicBlock, (2, 2, 2, 2)),
        34: (BasicBlock, (3, 4, 6, 3)),
        50: (Bottleneck, (3, 4, 6, 3)),
        101: (Bottleneck, (3, 4, 23, 3)),
        152: (Bottleneck, (3, 8, 36, 3)),
    }

    def __init__(
        self,
        depth: int,
        num_stages: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        style: str = "pytorch",
        frozen_stages: int = -1,
        bn_eval: bool = True,
        bn_frozen: bool = False,
        with_cp: bool = False,
    ):
        super().__init__()
        if depth not in self.arch_settings:
            raise KeyError(f"ResNet: depth must be one of {', '.join(map(str, self.arch_settings))}, got {depth}")
        require(1 <= num_stages <= 4, f"ResNet: num_stages must be 1 to 4, got {num_stages}")
        require(
            len(strides) == len(dilations) == num_stages,
            f"ResNet: strides and dilations must have num_stages = {num_stages} items, got {strides} and {dilations}",
        )
        require(
            max(out_indices) < num_stages,
            f"ResNet: out_indices must be less than num_stages = {num_stages}, got {tuple(out_indices)}",
        )
        block, blocks = self.arch_settings[depth]
        self.out_indices = out_indices
        self.style = style
        self.frozen_stages = frozen_stages
        self.bn_eval = bn_eval
        self.bn_frozen = bn_frozen
        self.with_cp = with_cp
        self.inplanes = 64
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.res_layers = []
        for i in range(num_stages):
            planes = 64 * 2**i
            layer = make_res_layer(
                block, self.inplanes, planes, blocks[i], strides[i], dilations[i], style=style, with_cp=with_cp
            )
            self.inplanes = planes * block.expansion
            self.add_module(f"layer{i + 1}", layer)
            self.res_layers.append(f"layer{i + 1}")
        self.feat_dim = self.inplanes

    def init_weights(self, pretrained: str | None = None) -> None:
        """Load a checkpoint, or Kaiming for convolutions and 1 and 0 for norms."""
        init_backbone(self, pretrained)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(B, 3, H, W) to the results of the stages in `out_indices`; one alone comes without a tuple."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        outs = []
        for i, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outs.append(x)
        return outs[0] if len(outs) == 1 else tuple(outs)

    def train(self, mode: bool = True) -> ResNet:
        super().train(mode)
        if self.bn_eval:
            freeze_norms(self, self.bn_frozen)
        if mode and self.frozen_stages >= 0:
            self.conv1.requires_grad_(False)
            for name in ("bn1", *(f"layer{i}" for i in range(1, self.frozen_stages + 1))):
                getattr(self, name).eval().requires_grad_(False)
        return self
