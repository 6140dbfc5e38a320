"""Containers of sparse layers."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from arrayvision import check
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.torch_bridge.ops.sparse_structure import SparseConvTensor, check_sparse


class SparseModule(nn.Module):
    """The base of layers that take a SparseConvTensor; in a SparseSequential others are given its features alone."""


def is_spconv_module(module: nn.Module) -> bool:
    """Whether a layer takes a SparseConvTensor."""
    return isinstance(module, SparseModule)


def is_sparse_conv(module: nn.Module) -> bool:
    """Whether a layer is a sparse convolution."""
    from arrayvision.torch_bridge.ops.sparse_conv import SparseConvolution

    return isinstance(module, SparseConvolution)


class SparseSequential(SparseModule):
    """Layers one after another; those that are no SparseModule work on the features.

    Parameters
    ----------
    *args : modules, or one OrderedDict of modules
        The layers.
    **kwargs : modules
        Further layers by name.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from arrayvision.torch_bridge.ops import SparseConvTensor, SubMConv2d
    >>> net = SparseSequential(SubMConv2d(1, 2, 3), nn.ReLU())
    >>> x = SparseConvTensor(torch.ones(2, 1), torch.tensor([[0, 1, 1], [0, 1, 2]]), [4, 4], 1)
    >>> net(x).features.shape
    torch.Size([2, 2])
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            given = list(args[0].items())
        else:
            given = [(str(i), module) for i, module in enumerate(args)]
        for name, module in given:
            self.add(module, name)
        for name, module in kwargs.items():
            self.add(module, name)
        self._sparity_dict: dict[str, float] = {}

    def __getitem__(self, idx: int) -> nn.Module:
        idx = check.integer("SparseSequential", "idx", idx)
        if not -len(self) <= idx < len(self):
            raise IndexError(f"SparseSequential: idx must be within {len(self)} layers, got {idx}")
        return list(self._modules.values())[idx]  # type: ignore[return-value]

    def __len__(self) -> int:
        return len(self._modules)

    @property
    def sparity_dict(self) -> dict[str, float]:
        """The share of cells that had features, for each sparse layer of the last call."""
        return self._sparity_dict

    def add(self, module: nn.Module, name: str | None = None) -> None:
        """Append a layer; its number is its name unless one is given."""
        if not isinstance(module, nn.Module):
            raise InvalidKind(f"SparseSequential: layers must be modules, got {type(module).__name__}")
        name = str(len(self._modules)) if name is None else name
        if not isinstance(name, str):
            raise InvalidKind(f"SparseSequential: name must be a string, got {type(name).__name__}")
        if name in self._modules:
            raise InvalidValue(f"SparseSequential: name must be new, and {name!r} is a layer's already")
        self.add_module(name, module)

    def forward(self, input: Any) -> Any:
        """A SparseConvTensor (or a tensor, for layers that take one), through all layers."""
        for name, module in self._modules.items():
            if isinstance(module, SparseModule):
                if not isinstance(module, SparseSequential):
                    check_sparse("SparseSequential", input)
                    self._sparity_dict[name] = input.sparity
                input = module(input)
            elif not isinstance(input, SparseConvTensor):
                input = module(input)  # type: ignore[misc]
            elif not _undefined(module, input.features):
                input = input.replace_feature(module(input.features))  # type: ignore[misc]
        return input

    def fused(self) -> SparseSequential:
        """The same with each BatchNorm1d that follows a convolution taken into it: for evaluation, when training is done."""
        from arrayvision.torch_bridge.ops.sparse_conv import fuse_bn

        layers = list(self._modules.items())
        out, k = SparseSequential(), 0
        while k < len(layers):
            name, module = layers[k]
            after = layers[k + 1][1] if k + 1 < len(layers) else None
            if is_sparse_conv(module) and isinstance(after, nn.BatchNorm1d):  # type: ignore[arg-type]
                module, k = fuse_bn(module, after), k + 1
            out.add(module, name)  # type: ignore[arg-type]
            k += 1
        return out.train(self.training)


def _undefined(module, features: Tensor) -> bool:
    """Whether a layer has no result for no rows: statistics of none."""
    # in this order: how many rows there are isn't asked for in a graph, where that may depend on data, but for these
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training and features.shape[0] == 0


class ToDense(SparseModule):
    """A SparseConvTensor to all of its cells, (B, C, ...)."""

    def forward(self, x: SparseConvTensor) -> torch.Tensor:
        check_sparse("ToDense", x)
        return x.dense()


class RemoveGrid(SparseModule):
    """A SparseConvTensor without its grid."""

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        check_sparse("RemoveGrid", x)
        out = x.replace_feature(x.features)
        out.grid = None
        return out
