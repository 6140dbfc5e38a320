"""VGG. K. Simonyan and A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from arrayvision.errors import require
from arrayvision.torch_bridge.cnn.resnet import freeze_norms, init_backbone


def conv3x3(in_planes: int, out_planes: int, dilation: int = 1) -> nn.Module:
    """A 3x3 convolution that keeps the size."""
    return nn.Conv2d(in_planes, out_planes, 3, padding=dilation, dilation=dilation)


def make_vgg_layer(
    inplanes: int, planes: int, num_blocks: int, dilation: int = 1, with_bn: bool = False, ceil_mode: bool = False
) -> list[nn.Module]:
    """A stage: `num_blocks` of 3x3 convolution, (batch norm,) ReLU, and a max pool at the end.

    Parameters
    ----------
    inplanes, planes : int
        Channels that come in, and go out.
    num_blocks : int
    dilation : int
    with_bn : bool
    ceil_mode : bool
        Of the pool.
    """
    layers: list[nn.Module] = []
    for _ in range(num_blocks):
        layers.append(conv3x3(inplanes, planes, dilation))
        if with_bn:
            layers.append(nn.BatchNorm2d(planes))
        layers.append(nn.ReLU(inplace=True))
        inplanes = planes
    layers.append(nn.MaxPool2d(2, 2, ceil_mode=ceil_mode))
    return layers


class VGG(nn.Module):
    """VGG of depth 11, 13, 16 or 19.

    Parameters
    ----------
    depth : {11, 13, 16, 19}
    with_bn : bool
        With batch norms.
    num_classes : int
        Classes of the classifier (for images of 224 x 224); -1 for none.
    num_stages : int
        1 to 5.
    dilations : sequence of int
        Of each stage.
    out_indices : sequence of int
        Which stages' results are given.
    frozen_stages : int
        How many stages are fixed while training; -1 for none.
    bn_eval, bn_frozen : bool
        Whether batch norms use their running statistics, and are fixed, while training.
    ceil_mode : bool
        Of the pools.
    with_last_pool : bool
        Whether the last stage ends with its pool.
    """

    arch_settings = {  # noqa: RUF012
        11: (1, 1, 2, 2, 2),
        13: (2, 2, 2, 2, 2),
        16: (2, 2, 3, 3, 3),
        19: (2, 2, 4, 4, 4),
    }

    def __init__(
        self,
        depth: int,
        with_bn: bool = False,
        num_classes: int = -1,
        num_stages: int = 5,
        dilations: Sequence[int] = (1, 1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3, 4),
        frozen_stages: int = -1,
        bn_eval: bool = True,
        bn_frozen: bool = False,
        ceil_mode: bool = False,
        with_last_pool: bool = True,
    ):
        super().__init__()
        if depth not in self.arch_settings:
            raise KeyError(f"VGG: depth must be one of {', '.join(map(str, self.arch_settings))}, got {depth}")
        require(1 <= num_stages <= 5, f"VGG: num_stages must be 1 to 5, got {num_stages}")
        require(
            len(dilations) == num_stages,
            f"VGG: dilations must have num_stages = {num_stages} items, got {tuple(dilations)}",
        )
        require(
            max(out_indices) <= num_stages,
            f"VGG: out_indices must be at most num_stages = {num_stages}, got {tuple(out_indices)}",
        )
        self.stage_blocks = self.arch_settings[depth][:num_stages]
        self.num_classes = num_classes
        self.out_indices = out_indices
        self.frozen_stages = frozen_stages
        self.bn_eval = bn_eval
        self.bn_frozen = bn_frozen
        self.inplanes = 3
        layers: list[nn.Module] = []
        self.range_sub_modules = []
        for i, blocks in enumerate(self.stage_blocks):
            planes = min(64 * 2**i, 512)
            start = len(layers)
            layers += make_vgg_layer(self.inplanes, planes, blocks, dilations[i], with_bn, ceil_mode)
            self.range_sub_modules.append([start, len(layers)])
            self.inplanes = planes
        if not with_last_pool:
            layers.pop()
            self.range_sub_modules[-1][1] -= 1
        self.module_name = "features"
        self.features = nn.Sequential(*layers)
        if num_classes > 0:
            self.classifier = nn.Sequential(
                nn.Linear(512 * 7 * 7, 4096),
                nn.ReLU(True),
                nn.Dropout(),
                nn.Linear(4096, 4096),
                nn.ReLU(True),
                nn.Dropout(),
                nn.Linear(4096, num_classes),
            )

    def init_weights(self, pretrained: str | None = None) -> None:
        """Load a checkpoint, or Kaiming for convolutions, 1 and 0 for norms, normal (0.01) for linear layers."""
        init_backbone(self, pretrained)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(B, 3, H, W) to the results of the stages in `out_indices`, then the classes; one alone comes without a tuple."""
        outs = []
        for i, (start, end) in enumerate(self.range_sub_modules):
            for j in range(start, end):
                x = self.features[j](x)
            if i in self.out_indices:
                outs.append(x)
        if self.num_classes > 0:
            outs.append(self.classifier(x.flatten(1)))
        return outs[0] if len(outs) == 1 else tuple(outs)

    def train(self, mode: bool = True) -> VGG:
        super().train(mode)
        if self.bn_eval:
            freeze_norms(self, self.bn_frozen)
        if mode:
            for start, end in self.range_sub_modules[: max(self.frozen_stages, 0)]:
                for j in range(start, end):
                    self.features[j].eval().requires_grad_(False)
        return self
