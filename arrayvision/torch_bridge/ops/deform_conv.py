"""Deformable convolution on tensors, and its modules."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from arrayvision import check, ops
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.ops.deform_conv import _no_bias, pair, size_of
from arrayvision.torch_bridge.library import check_tensors, differentiable

_HOW = "SymInt[] stride, SymInt[] padding, SymInt[] dilation, SymInt? groups, SymInt? deform_groups"


def _shape(name, input, weight, stride, padding, dilation):
    size = size_of(name, input.shape[2:4], weight.shape[2:4], (stride, padding, dilation))
    return (input.shape[0], weight.shape[0], *size)


_deform_conv2d = differentiable(
    "deform_conv2d",
    f"Tensor input, Tensor offset, Tensor weight, {_HOW}",
    ops.deform_conv2d,
    ops.deform_conv2d_backward,
    lambda input, offset, weight, stride, padding, dilation, *_: _shape(
        "deform_conv2d", input, weight, stride, padding, dilation
    ),
    3,
)
# Tensors with a gradient come first; those that may be None among them too.
_modulated_deform_conv2d = differentiable(
    "modulated_deform_conv2d",
    f"Tensor input, Tensor offset, Tensor mask, Tensor weight, Tensor? bias, {_HOW}",
    ops.modulated_deform_conv2d,
    ops.modulated_deform_conv2d_backward,
    lambda input, offset, mask, weight, bias, stride, padding, dilation, *_: _shape(
        "modulated_deform_conv2d", input, weight, stride, padding, dilation
    ),
    5,
)


def _pairs(name, stride, padding, dilation):
    return pair(name, "stride", stride, 1), pair(name, "padding", padding, 0), pair(name, "dilation", dilation, 1)


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int | None = 1,
    deform_groups: int | None = 1,
    bias: bool = False,
    im2col_step: int = 32,
) -> Tensor:
    """`arrayvision.ops.deform_conv2d` on tensors, differentiable in `input`, `offset` and `weight`.

    Parameters
    ----------
    input : Tensor (B, C, H, W)
        Features, contiguous or channels-last.
    offset : Tensor (B, deform_groups * kh * kw * 2, oh, ow)
        How far each tap moves, along y and x.
    weight : Tensor (O, C / groups, kh, kw)
        The filter.
    stride, padding, dilation, groups, deform_groups, bias, im2col_step
        As there.

    Returns
    -------
    Tensor (B, O, oh, ow)
        In the dtype of input.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    _no_bias("deform_conv2d", bias)
    check.integer("deform_conv2d", "im2col_step", im2col_step, 1)
    how = _pairs("deform_conv2d", stride, padding, dilation)
    return _deform_conv2d(input, offset, weight, *how, groups, deform_groups)


def modulated_deform_conv2d(
    input: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int | None = 1,
    deform_groups: int | None = 1,
) -> Tensor:
    """`arrayvision.ops.modulated_deform_conv2d` on tensors, differentiable in all of them.

    Parameters
    ----------
    input : Tensor (B, C, H, W)
        Features, contiguous or channels-last.
    offset : Tensor (B, deform_groups * kh * kw * 2, oh, ow)
        How far each tap moves, along y and x.
    mask : Tensor (B, deform_groups * kh * kw, oh, ow)
        What each sample is multiplied by.
    weight : Tensor (O, C / groups, kh, kw)
        The filter.
    bias : Tensor (O,), optional
        Added to the result.
    stride, padding, dilation, groups, deform_groups
        As there.

    Returns
    -------
    Tensor (B, O, oh, ow)
        In the dtype of input.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    how = _pairs("modulated_deform_conv2d", stride, padding, dilation)
    return _modulated_deform_conv2d(input, offset, mask, weight, bias, *how, groups, deform_groups)


# ---- modules -------------------------------------------------------------------------------------------------------
def checked_sizes(name, in_channels, out_channels, kernel_size, stride, padding, dilation, groups):
    """The arguments of a convolution, with pairs for steps along y and x."""
    channels = [
        check.integer(name, argument, value, 1, 2**31 - 1)
        for argument, value in (("in_channels", in_channels), ("out_channels", out_channels))
    ]
    kernel_size, steps = pair(name, "kernel_size", kernel_size, 1), _pairs(name, stride, padding, dilation)
    groups = check.integer(name, "groups", groups, 1)
    if any(count % groups for count in channels):
        raise InvalidValue(f"{name}: groups must divide in_channels and out_channels, {channels}, got {groups}")
    if channels[0] // groups * channels[1] * kernel_size[0] * kernel_size[1] >= 2**40:
        raise InvalidValue(
            f"{name}: the weight must fit in memory, got channels {channels} and kernel_size {kernel_size}"
        )
    return *channels, kernel_size, *steps, groups


def checked_input(module, x):
    """Check features (B, C, H, W) before a module's own layers see them."""
    name, weight = type(module).__name__, module.weight
    check_tensors(name, x=x, **{"the weights": weight})
    check.shape(name, "x", x, "B", module.in_channels, "H", "W")
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        raise InvalidKind(f"{name}: x must have the weights' dtype {weight.dtype}, got {x.dtype}")
    size_of(name, x.shape[2:], module.kernel_size, (module.stride, module.padding, module.dilation))


class _Convolution(nn.Module):
    """What the deformable convolutions share: sizes, groups and the weight."""

    def __init__(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, deform_groups):
        super().__init__()
        name = type(self).__name__
        sizes = checked_sizes(name, in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding, self.dilation, self.groups = (
            sizes
        )
        self.deform_groups = check.integer(name, "deform_groups", deform_groups, 1)
        if self.in_channels % self.deform_groups:
            raise InvalidValue(f"{name}: deform_groups must divide in_channels {self.in_channels}, got {deform_groups}")
        self.transposed, self.output_padding = False, (0,)  # which tools ask a convolution for
        self.weight = nn.Parameter(torch.empty(self.out_channels, self.in_channels // self.groups, *self.kernel_size))

    def _how(self):
        return self.stride, self.padding, self.dilation, self.groups, self.deform_groups

    def extra_repr(self):
        names = (
            "in_channels",
            "out_channels",
            "kernel_size",
            "stride",
            "padding",
            "dilation",
            "groups",
            "deform_groups",
        )
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


class DeformConv2d(_Convolution):
    """`deform_conv2d` as a module.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups
        As in torch.nn.Conv2d.
    deform_groups : int
        Groups of channels that have offsets of their own.
    bias : False
        There is none.
    im2col_step : int
        Accepted, and without influence.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = False,
        im2col_step: int = 32,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, deform_groups)
        _no_bias(type(self).__name__, bias)
        self.im2col_step = check.integer(type(self).__name__, "im2col_step", im2col_step, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight after He et al., "Delving Deep into Rectifiers"."""
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """Features (B, C, H, W) and an offset (B, deform_groups * kh * kw * 2, oh, ow) to (B, O, oh, ow)."""
        steps = self.stride, self.padding, self.dilation
        return deform_conv2d(x, offset, self.weight, *steps, self.groups, self.deform_groups, False, self.im2col_step)


class ModulatedDeformConv2d(_Convolution):
    """`modulated_deform_conv2d` as a module.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        As in torch.nn.Conv2d.
    deform_groups : int
        Groups of channels that have offsets and masks of their own.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool | str = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, deform_groups)
        self.bias: nn.Parameter | None
        if not isinstance(bias, (bool, str)):
            raise InvalidKind(f"{type(self).__name__}: bias must be True or False, got {type(bias).__name__}")
        self.register_parameter("bias", nn.Parameter(torch.empty(self.out_channels)) if bias else None)
        self.init_weights()

    def init_weights(self) -> None:
        """Draw the weight uniformly, by the number of inputs; the bias becomes 0."""
        bound = 1 / math.sqrt(self.in_channels * self.kernel_size[0] * self.kernel_size[1])
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """Features (B, C, H, W), an offset (B, deform_groups * kh * kw * 2, oh, ow) and a mask of half its channels to
        (B, O, oh, ow).

        Offset and mask of a larger map than the result's are taken as the operator of mmcv takes them, which published
        weights of DyHead were trained with: each image's first numbers, as they lie in memory, are its offset and mask.
        """
        check_tensors("modulated_deform_conv2d", input=x, offset=offset, mask=mask)
        if x.ndim == offset.ndim == mask.ndim == 4 and offset.shape[2:] == mask.shape[2:]:
            oh, ow = _shape("modulated_deform_conv2d", x, self.weight, self.stride, self.padding, self.dilation)[2:]
            if (oh, ow) != offset.shape[2:] and oh <= offset.shape[2] and ow <= offset.shape[3]:
                offset, mask = (
                    t.flatten(1)[:, : t.shape[1] * oh * ow].unflatten(1, (-1, oh, ow)) for t in (offset, mask)
                )
        return modulated_deform_conv2d(x, offset, mask, self.weight, self.bias, *self._how())


def _offset_layer(module, numbers):
    """The convolution that makes so many numbers for each tap: the first ones of a checkpoint's are zeros."""
    taps = module.kernel_size[0] * module.kernel_size[1]
    return nn.Conv2d(
        module.in_channels, module.deform_groups * numbers * taps, module.kernel_size, module.stride, module.padding,
        module.dilation,
    )  # fmt: skip


def _zeroed(layer):
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


# Early checkpoints have the layer of offsets beside the convolution: "conv2_offset.weight", for "conv2.conv_offset.weight".
def _renamed_keys(state_dict, prefix):
    for part in ("weight", "bias"):
        old, new = f"{prefix[:-1]}_offset.{part}", f"{prefix}conv_offset.{part}"
        if new not in state_dict and old in state_dict:
            state_dict[new] = state_dict.pop(old)


class _Pack(nn.Module):
    """What has a layer of offsets inside, whatever name a checkpoint has for it."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        if local_metadata.get("version") in (None, 1):
            _renamed_keys(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def _rename_for_children(module, state_dict, prefix, *_):
    for name, child in module._modules.items():
        if isinstance(child, _Pack) and f"{name}_offset" not in module._modules:
            _renamed_keys(state_dict, f"{prefix}{name}.")


def _see_parent(module, name, child):
    """A module is only given the keys below its own name, so those beside it are renamed when its parent loads."""
    if isinstance(child, _Pack):
        hooks = module._load_state_dict_pre_hooks.values()
        if all(getattr(hook, "hook", None) is not _rename_for_children for hook in hooks):
            module._register_load_state_dict_pre_hook(_rename_for_children, with_module=True)


register_module_module_registration_hook(_see_parent)


class DeformConv2dPack(_Pack, DeformConv2d):
    """`DeformConv2d` whose offsets a convolution of its own makes of the features. "DCN" in configs.

    Parameters
    ----------
    *args, **kwargs
        As of `DeformConv2d`.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.conv_offset = _offset_layer(self, 2)
        self.init_offset()

    def init_offset(self) -> None:
        """Let taps start where they are."""
        _zeroed(self.conv_offset)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Features (B, C, H, W) to (B, O, oh, ow)."""
        checked_input(self, x)
        return super().forward(x, self.conv_offset(x))


class ModulatedDeformConv2dPack(_Pack, ModulatedDeformConv2d):
    """`ModulatedDeformConv2d` whose offsets and masks a convolution of its own makes of the features. "DCNv2" in configs.

    Parameters
    ----------
    *args, **kwargs
        As of `ModulatedDeformConv2d`.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.conv_offset = _offset_layer(self, 3)
        self.init_weights()

    def init_weights(self) -> None:
        """As of `ModulatedDeformConv2d`; taps start where they are, with a mask of a half."""
        super().init_weights()
        if hasattr(self, "conv_offset"):
            _zeroed(self.conv_offset)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Features (B, C, H, W) to (B, O, oh, ow)."""
        checked_input(self, x)
        made = self.conv_offset(x)
        moves = made.shape[1] // 3 * 2
        return super().forward(x, made[:, :moves], made[:, moves:].sigmoid())
