"""Torch's layers under the names that configs use; all accept empty batches."""

import torch
from torch import Tensor, nn

from arrayvision.registry import MODELS

# Older versions of torch refused tensors without elements, so these were subclasses that answered for them. They are
# still classes of their own, for those who compare types; torch's forward now does it all.


@MODELS.register_module("Conv")
class Conv2d(nn.Conv2d):
    """torch.nn.Conv2d."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


@MODELS.register_module("Conv3d")
class Conv3d(nn.Conv3d):
    """torch.nn.Conv3d."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


@MODELS.register_module(["ConvTranspose2d", "deconv"])
class ConvTranspose2d(nn.ConvTranspose2d):
    """torch.nn.ConvTranspose2d."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


@MODELS.register_module(["ConvTranspose3d", "deconv3d"])
class ConvTranspose3d(nn.ConvTranspose3d):
    """torch.nn.ConvTranspose3d."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class MaxPool2d(nn.MaxPool2d):
    """torch.nn.MaxPool2d."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class MaxPool3d(nn.MaxPool3d):
    """torch.nn.MaxPool3d."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Linear(nn.Linear):
    """torch.nn.Linear."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


# ---- what code that still answers for old versions of torch imports --------------------------------------------------
TORCH_VERSION = tuple(int(part) for part in torch.__version__.split(".")[:2])


def obsolete_torch_version(torch_version, version_threshold) -> bool:
    """Whether a version (1, 4) of torch is at most another."""
    return torch_version <= version_threshold


class NewEmptyTensorOp(torch.autograd.Function):
    """A tensor without elements, of another shape, in a graph."""

    @staticmethod
    def forward(ctx, x, new_shape):
        ctx.shape = x.shape
        return x.new_empty(new_shape)

    @staticmethod
    def backward(ctx, grad):
        return NewEmptyTensorOp.apply(grad, ctx.shape), None
