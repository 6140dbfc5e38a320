"""Sparse convolutions as layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import init

from arrayvision import check
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.ops.sparse_conv import axes, output_shape
from arrayvision.torch_bridge.ops._modules import check_input, shown
from arrayvision.torch_bridge.ops.sparse_functional import sparse_conv, sparse_conv_pairs
from arrayvision.torch_bridge.ops.sparse_modules import SparseModule
from arrayvision.torch_bridge.ops.sparse_structure import SparseConvTensor, check_sparse


class _How(NamedTuple):
    """What two layers with one `indice_key` must have in common."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]
    subm: bool
    transposed: bool


class Rulebook:
    """What a layer found: a sequence of (the result's sites, the inputs' sites, pairs, counts, the inputs' spatial shape)."""

    def __init__(self, parts: tuple, how: _How, batch_size: int):
        self.parts, self.how, self.batch_size = parts, how, batch_size

    def __iter__(self):
        return iter(self.parts)

    def __getitem__(self, k):
        return self.parts[k]

    def __len__(self):
        return len(self.parts)


def find_pairs(input: SparseConvTensor, how: _How) -> Rulebook:
    """The pairs of a layer's input and result."""
    shape = tuple(int(size) for size in input.spatial_shape)
    outids, pairs, counts = sparse_conv_pairs(input.indices, shape, input.batch_size, *map(_listed, how))
    parts = input.indices if how.subm else outids, input.indices, pairs, counts, input.spatial_shape
    return Rulebook(parts, how, input.batch_size)


def _listed(value):
    return list(value) if isinstance(value, tuple) else value


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of sites are equal; on a GPU, which would have to be waited for, whether they may be."""
    if a is b:
        return True
    return a.shape == b.shape and a.device == b.device and (not a.is_cpu or bool((a == b).all()))


class SparseConvolution(SparseModule):
    """A convolution of features at a few sites; what the layers below are.

    Parameters
    ----------
    ndim : int
        How many spatial axes there are.
    in_channels, out_channels : int
        How many channels come and go.
    kernel_size, stride, padding, dilation : int or `ndim` ints
        As of a dense convolution.
    groups : int
        Must be 1.
    bias : bool
        Whether a bias is added.
    subm : bool
        Whether the result has the inputs' sites.
    output_padding : int or `ndim` ints
        Of a transposed convolution, how much larger its grid is.
    transposed : bool
        Whether it is transposed.
    inverse : bool
        Whether it undoes the convolution with the same `indice_key`: its result has that one's sites.
    indice_key : str, optional
        Layers with one key find their pairs of sites once.
    fused_bn : bool
        Whether a batch normalization was taken into weight and bias; it changes nothing.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, the input doesn't fit, or layers with one key do not.

    Notes
    -----
    The weight is (kernel..., in, out). Weights of other versions, (out, kernel..., in) or (kernel..., out, in), are refused when
    they are loaded, unless channels and kernel are so alike that they can't be told.
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        subm: bool = False,
        output_padding: int | Sequence[int] = 0,
        transposed: bool = False,
        inverse: bool = False,
        indice_key: str | None = None,
        fused_bn: bool = False,
    ):
        super().__init__()
        name = type(self).__name__
        if check.integer(name, "groups", groups) != 1:
            raise InvalidValue(f"{name}: groups must be 1, got {groups}")
        if indice_key is not None and not isinstance(indice_key, str):
            raise InvalidKind(f"{name}: indice_key must be a string or None, got {type(indice_key).__name__}")
        self.ndim = check.integer(name, "ndim", ndim, 1, 16)
        self.in_channels = check.integer(name, "in_channels", in_channels, 1, 2**31 - 1)
        self.out_channels = check.integer(name, "out_channels", out_channels, 1, 2**31 - 1)
        self.kernel_size = list(axes(name, "kernel_size", kernel_size, ndim, 1))
        self.stride = list(axes(name, "stride", stride, ndim, 1))
        self.padding = list(axes(name, "padding", padding, ndim, 0))
        self.dilation = list(axes(name, "dilation", dilation, ndim, 1))
        self.output_padding = list(axes(name, "output_padding", output_padding, ndim, 0))
        self.groups = 1
        self.subm = check.flag(name, "subm", subm)
        self.transposed = check.flag(name, "transposed", transposed)
        self.inverse = check.flag(name, "inverse", inverse)
        self.fused_bn = check.flag(name, "fused_bn", fused_bn)
        self.indice_key = indice_key
        taps = math.prod(self.kernel_size)
        if taps >= 2**16 or taps * self.in_channels * self.out_channels >= 2**40:
            raise InvalidValue(
                f"{name}: in_channels, out_channels and kernel_size must make a weight that fits in memory, got "
                f"{(*self.kernel_size, self.in_channels, self.out_channels)}"
            )
        # A kernel of one tap that goes from each site to itself
        self.conv1x1 = taps == 1 and set(self.stride) == {1} and not (any(self.padding) or any(self.output_padding))
        self.weight = nn.Parameter(torch.empty(*self.kernel_size, self.in_channels, self.out_channels))
        self.bias: Tensor | None
        if check.flag(name, "bias", bias):
            self.bias = nn.Parameter(torch.empty(self.out_channels))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_channels * math.prod(self.kernel_size))
            init.uniform_(self.bias, -bound, bound)

    def _how(self) -> _How:
        kernel, dilation = tuple(self.kernel_size), tuple(self.dilation)
        if self.subm:  # stride and padding have no meaning there
            return _How(kernel, (1,) * self.ndim, (0,) * self.ndim, dilation, (0,) * self.ndim, True, self.transposed)
        stride, padding, more = tuple(self.stride), tuple(self.padding), tuple(self.output_padding)
        return _How(kernel, stride, padding, dilation, more, False, self.transposed)

    def forward(self, input: SparseConvTensor) -> SparseConvTensor:
        name = type(self).__name__
        check_sparse(name, input, self.ndim)
        features = input.features
        check_input(name, features, self.weight, narrow=True)
        if features.shape[1] != self.in_channels:
            raise InvalidValue(f"{name}: input must have {self.in_channels} channels, got {features.shape[1]}")
        if self.conv1x1 and not self.inverse:
            weight = self.weight.reshape(self.in_channels, self.out_channels)
            made = features @ weight if features.dtype is weight.dtype else features.to(weight.dtype) @ weight
            return input.replace_feature(made if self.bias is None else made + self.bias)
        if self.inverse:
            book = self._partner(name, input)
            outids, pairs, shape = book[1], book[2].flip(0), book[4]
        else:
            how, given = self._how(), tuple(int(size) for size in input.spatial_shape)
            shape = list(output_shape(name, given, *how))
            book = self._pairs(name, input, how)
            outids, pairs = book[0], book[2]
        made = sparse_conv(features, self.weight, self.bias, pairs, book[3], outids.shape[0])
        out = input.replace_feature(made)
        out.indices, out.spatial_shape = outids, shape
        return out

    def _pairs(self, name, input, how):
        key = self.indice_key
        found = input.find_indice_pair(key)
        if found is None:
            found = find_pairs(input, how)
            if key is not None:
                input.indice_dict[key] = found
            return found
        self._agree(name, found, how)
        shape = tuple(found[4]) == tuple(input.spatial_shape) and found.batch_size == input.batch_size
        if not shape or not _same(found[1], input.indices):
            raise InvalidValue(
                f"{name}: input must have the sites of the layer that had indice_key {key!r} first, got "
                f"{len(input.indices)} in {tuple(input.spatial_shape)}, not {len(found[1])} in {tuple(found[4])}"
            )
        return found

    def _partner(self, name, input):
        key = self.indice_key
        found = input.find_indice_pair(key)
        if found is None:
            known = ", ".join(map(repr, input.indice_dict)) or "none"
            raise InvalidValue(
                f"{name}: indice_key must be that of a convolution before this one, got {key!r} where there are {known}"
            )
        if isinstance(found, Rulebook) and found.how.kernel_size != tuple(self.kernel_size):
            raise InvalidValue(
                f"{name}: kernel_size must be that of the convolution with indice_key {key!r}, {found.how.kernel_size}, "
                f"got {tuple(self.kernel_size)}"
            )
        self._agree(name, found, None)
        if not _same(found[0], input.indices):
            raise InvalidValue(
                f"{name}: input must have the sites that the convolution with indice_key {key!r} gave, {len(found[0])}, got "
                f"{len(input.indices)}"
            )
        return found

    def _agree(self, name, found, how):
        if not isinstance(found, Rulebook):
            raise InvalidKind(
                f"{name}: indice_key {self.indice_key!r} must be of a layer of this package, got {type(found).__name__}"
            )
        if how is not None and found.how != how:
            differs = [field for field, a, b in zip(how._fields, how, found.how, strict=True) if a != b]
            ours = ", ".join(f"{field} {getattr(how, field)}" for field in differs)
            theirs = ", ".join(f"{field} {getattr(found.how, field)}" for field in differs)
            raise InvalidValue(
                f"{name}: layers with indice_key {self.indice_key!r} must be alike, got {ours} after {theirs}"
            )

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        weight = state_dict.get(f"{prefix}weight")
        own = (*self.kernel_size, self.in_channels, self.out_channels)
        if isinstance(weight, Tensor) and tuple(weight.shape) != own:
            d = self.ndim
            versions = {
                (own[-1], *own[:-1]): f"(out, kernel..., in): give weight.permute({', '.join(map(str, (*range(1, d + 2), 0)))})",
                (*own[:-2], own[-1], own[-2]): "(kernel..., out, in): give weight.transpose(-1, -2)",
                (own[-1], own[-2], *own[:-2]): f"(out, in, kernel...): give weight.permute({', '.join(map(str, (*range(2, d + 2), 1, 0)))})",
            }  # fmt: skip
            found = versions.get(tuple(weight.shape))
            if found is not None:
                error_msgs.append(
                    f"{type(self).__name__}: {prefix}weight must be (kernel..., in, out), {own}, and lies as another version "
                    f"writes it, {found}"
                )
                return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def __repr__(self):
        return shown(self, "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "indice_key")


def fuse_bn(conv: SparseConvolution, bn: nn.BatchNorm1d) -> SparseConvolution:
    """A convolution that does what `conv` and then `bn`, in evaluation, do."""
    if bn.running_mean is None or bn.running_var is None:
        raise InvalidValue("SparseSequential: layers must have running statistics to be fused, a BatchNorm1d has none")
    out = SparseConvolution(
        conv.ndim, conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, True,
        conv.subm, conv.output_padding, conv.transposed, conv.inverse, conv.indice_key, True,
    ).to(conv.weight)  # fmt: skip
    with torch.no_grad():
        scale = torch.rsqrt(bn.running_var + bn.eps)
        if bn.weight is not None:
            scale = scale * bn.weight
        shift = -bn.running_mean * scale
        if bn.bias is not None:
            shift = shift + bn.bias
        if conv.bias is not None:
            shift = shift + conv.bias * scale
        out.weight.copy_(conv.weight * scale)
        out.bias.copy_(shift)  # type: ignore[union-attr]
    return out.train(conv.training)


class _Plain(SparseConvolution):
    """What convolutions of a number of axes are constructed from."""

    _NDIM = 0
    _FLAGS: ClassVar[dict[str, bool]] = {}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        indice_key: str | None = None,
    ):
        super().__init__(
            self._NDIM, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, indice_key=indice_key,
            **self._FLAGS,
        )  # fmt: skip


class _Inverse(SparseConvolution):
    _NDIM = 0

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        indice_key: str | None = None,
        bias: bool = True,
    ):
        super().__init__(
            self._NDIM, in_channels, out_channels, kernel_size, bias=bias, inverse=True, indice_key=indice_key
        )


class SparseConv2d(_Plain):
    """A sparse convolution over 2 axes: its result has all sites that an input reaches; see `SparseConvolution`."""

    _NDIM = 2


class SparseConv3d(_Plain):
    """A sparse convolution over 3 axes: its result has all sites that an input reaches; see `SparseConvolution`."""

    _NDIM = 3


class SparseConv4d(_Plain):
    """A sparse convolution over 4 axes: its result has all sites that an input reaches; see `SparseConvolution`."""

    _NDIM = 4


class SparseConvTranspose2d(_Plain):
    """A transposed sparse convolution over 2 axes; see `SparseConvolution`."""

    _NDIM, _FLAGS = 2, {"transposed": True}


class SparseConvTranspose3d(_Plain):
    """A transposed sparse convolution over 3 axes; see `SparseConvolution`."""

    _NDIM, _FLAGS = 3, {"transposed": True}


class SparseInverseConv2d(_Inverse):
    """What brings the result of the convolution with the same `indice_key` back to its sites, over 2 axes."""

    _NDIM = 2


class SparseInverseConv3d(_Inverse):
    """What brings the result of the convolution with the same `indice_key` back to its sites, over 3 axes."""

    _NDIM = 3


class SubMConv2d(_Plain):
    """A submanifold convolution over 2 axes: its result has the inputs' sites; see `SparseConvolution`."""

    _NDIM, _FLAGS = 2, {"subm": True}


class SubMConv3d(_Plain):
    """A submanifold convolution over 3 axes: its result has the inputs' sites; see `SparseConvolution`."""

    _NDIM, _FLAGS = 3, {"subm": True}


class SubMConv4d(_Plain):
    """A submanifold convolution over 4 axes: its result has the inputs' sites; see `SparseConvolution`."""

    _NDIM, _FLAGS = 4, {"subm": True}
