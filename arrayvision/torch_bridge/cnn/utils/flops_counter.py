"""How many operations and parameters a model has, counted by hooks while it runs once."""

from __future__ import annotations

import functools
import math
import sys
import weakref
from collections.abc import Callable
from typing import Any, TextIO

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.pooling import (
    _AdaptiveAvgPoolNd,
    _AdaptiveMaxPoolNd,
    _AvgPoolNd,
    _MaxPoolNd,
)

from arrayvision.errors import InvalidKind, InvalidValue, require


def _conv(module, x, y):
    sites = y.numel() // module.out_channels
    per_site = math.prod(module.kernel_size) * module.in_channels * (module.out_channels // module.groups)
    return sites * (per_site + (module.out_channels if module.bias is not None else 0))


def _deconv(module, x, y):
    per_site = math.prod(module.kernel_size) * module.in_channels * (module.out_channels // module.groups)
    return x.numel() // module.in_channels * per_site + (y.numel() if module.bias is not None else 0)


def _norm(module, x, y):
    affine = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
    return x.numel() * (2 if affine else 1)


_POOLS = (_MaxPoolNd, _AvgPoolNd, _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd)
_COUNTS: list[tuple[tuple, Callable]] = [  # the first that fits counts
    ((_ConvTransposeNd,), _deconv),
    ((_ConvNd,), _conv),
    ((nn.Linear,), lambda module, x, y: x.numel() * y.shape[-1]),
    ((_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm), _norm),
    ((nn.ReLU, nn.PReLU, nn.ELU, nn.LeakyReLU, nn.ReLU6), lambda module, x, y: y.numel()),
    (_POOLS, lambda module, x, y: x.numel()),
    ((nn.Upsample,), lambda module, x, y: y.numel()),
]


def _count_for(module):
    for kinds, count in _COUNTS:
        if isinstance(module, kinds):
            return count
    return None


def get_model_complexity_info(
    model: nn.Module,
    input_shape: tuple,
    print_per_layer_stat: bool = True,
    as_strings: bool = True,
    input_constructor: Callable | None = None,
    flush: bool = False,
    ost: TextIO = sys.stdout,
) -> tuple:
    """Count the operations (a multiplication with its addition is one) of one sample, and the trained parameters.

    Parameters
    ----------
    model : nn.Module
        Put into evaluation mode and run once.
    input_shape : tuple of int
        Without the batch axis: (3, 224, 224).
    print_per_layer_stat : bool
        Print the model with each module's share.
    as_strings : bool
        Give strings with units.
    input_constructor : callable, optional
        Makes the model's keyword arguments from `input_shape`.
    flush : bool
    ost : text file
        How and where it is printed.

    Returns
    -------
    flops, params : str or float

    Notes
    -----
    Convolutions (with bias), transposed ones, linear layers (without), norms (twice the input where affine), pools,
    upsampling and ReLU's family count; functions called directly, such as matmul in attention, don't.

    Examples
    --------
    >>> get_model_complexity_info(nn.Conv2d(3, 8, 3), (3, 16, 16), print_per_layer_stat=False, as_strings=False)
    (43904.0, 224)
    """
    name = "get_model_complexity_info"
    require(
        type(input_shape) is tuple,
        f"{name}: input_shape must be a tuple, got {type(input_shape).__name__}",
        InvalidKind,
    )
    require(len(input_shape) >= 1, f"{name}: input_shape must have a size, got {input_shape}", InvalidValue)
    require(isinstance(model, nn.Module), f"{name}: model must be a module, got {type(model).__name__}", InvalidKind)

    model.eval()
    counter = _Counter(model)
    counter.start_flops_count()
    try:
        with torch.no_grad():
            if input_constructor:
                model(**input_constructor(input_shape))
            else:
                parameter = next(model.parameters(), torch.empty(()))
                model(torch.zeros((1, *input_shape), dtype=parameter.dtype, device=parameter.device))
    finally:
        counter.stop_flops_count()
    flops, params = counter.compute_average_flops_cost()
    _counted[model] = counter
    if print_per_layer_stat:
        print_model_with_flops(model, flops, params, ost=ost, flush=flush)
    if as_strings:
        return flops_to_string(flops), params_to_string(params)
    return flops, params


class _Counter:
    """What a model's modules have counted, by hooks, since the last reset. It keeps none of them alive."""

    def __init__(self, model: nn.Module):
        self.model = weakref.ref(model)
        self.handles: list[Any] = []
        self.reset_flops_count()

    def _parts(self) -> list[nn.Module]:
        model = self.model()
        return [] if model is None else list(model.modules())

    def reset_flops_count(self) -> None:
        self.samples = 0
        self.counts: weakref.WeakKeyDictionary[nn.Module, int] = weakref.WeakKeyDictionary()

    def start_flops_count(self) -> None:
        if self.handles:
            return
        parts = self._parts()
        self.handles.append(parts[0].register_forward_hook(self._count_samples))
        for part in parts:
            count = _count_for(part)
            if count is not None:
                self.handles.append(part.register_forward_hook(functools.partial(self._count, count)))

    def stop_flops_count(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles.clear()

    def compute_average_flops_cost(self) -> tuple[float, int]:
        """Operations of a sample, and parameters."""
        return sum(self.counts.values()) / self.samples, sum(map(get_model_parameters_number, self._parts()[:1]))

    def _count_samples(self, module, args, output):
        self.samples += len(args[0]) if args else 1

    def _count(self, count, module, args, output):
        self.counts[module] = self.counts.get(module, 0) + int(count(module, args[0], output))


_counted: weakref.WeakKeyDictionary[nn.Module, _Counter] = weakref.WeakKeyDictionary()  # the latest of each model


def add_flops_counting_methods(net_main_module: nn.Module) -> nn.Module:
    """Give a model four methods, to count over runs of one's own.

    `start_flops_count`, `stop_flops_count`, `reset_flops_count`, and `compute_average_flops_cost`, which gives the
    operations of a sample and the number of parameters.

    Returns
    -------
    nn.Module
        The same model.
    """
    counter: Any = _Counter(net_main_module)
    _counted[net_main_module] = counter
    for name in ("start_flops_count", "stop_flops_count", "reset_flops_count", "compute_average_flops_cost"):
        setattr(net_main_module, name, getattr(counter, name))
    return net_main_module


def is_supported_instance(module: nn.Module) -> bool:
    """Whether a module's operations are counted."""
    return _count_for(module) is not None


def print_model_with_flops(
    model: nn.Module,
    total_flops: float,
    total_params: float,
    units: str | None = "GFLOPs",
    precision: int = 3,
    ost: TextIO = sys.stdout,
    flush: bool = False,
) -> None:
    """Print a counted model as torch does, with each module's share in front of what it tells of itself.

    Parameters
    ----------
    model : nn.Module
        One that `get_model_complexity_info` has counted, or that has the methods of `add_flops_counting_methods`.
    total_flops, total_params : float
        What the shares are of.
    units, precision
        As in `flops_to_string`.
    ost : text file
    flush : bool
        How and where it is printed.
    """
    counter = _counted.get(model)
    if counter is None:
        raise InvalidValue("print_model_with_flops: model must be one whose operations have been counted")

    def told(module):
        flops = sum(counter.counts.get(part, 0) for part in module.modules()) / counter.samples
        params = get_model_parameters_number(module)
        return ", ".join(
            [
                params_to_string(params, "M", precision),
                f"{params / total_params if total_params else 0:.3%} Params",
                flops_to_string(flops, units, precision),
                f"{flops / total_flops if total_flops else 0:.3%} FLOPs",
                module.extra_repr(),
            ]
        )

    texts = {module: told(module) for module in model.modules()}
    try:
        for module, text in texts.items():
            module.extra_repr = functools.partial(str, text)  # type: ignore[method-assign]
        print(model, file=ost, flush=flush)
    finally:
        for module in texts:
            del module.extra_repr


def get_model_parameters_number(model: nn.Module) -> int:
    """How many numbers the trained parameters hold."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _scaled(number, units, precision, names):
    for name, power in names:
        if units == name or (units is None and number // 10**power > 0):
            return f"{round(number / 10.0**power, precision)} {name}"
    return None


def flops_to_string(flops: float, units: str | None = "GFLOPs", precision: int = 2) -> str:
    """A count of operations with its unit, "GFLOPs", "MFLOPs", "KFLOPs" or "FLOPs"; None chooses one.

    Examples
    --------
    >>> flops_to_string(6.54321e9), flops_to_string(6.54321e9, "MFLOPs"), flops_to_string(654, None)
    ('6.54 GFLOPs', '6543.21 MFLOPs', '654 FLOPs')
    """
    text = _scaled(flops, units, precision, (("GFLOPs", 9), ("MFLOPs", 6), ("KFLOPs", 3)))
    return text or f"{flops} FLOPs"


def params_to_string(num_params: float, units: str | None = None, precision: int = 2) -> str:
    """A count of parameters with its unit, "M" or "K"; None chooses one.

    Examples
    --------
    >>> params_to_string(1e9), params_to_string(2e5), params_to_string(3e-9)
    ('1000.0 M', '200.0 k', '3e-09')
    """
    thousand = "k" if units is None else "K"
    return _scaled(num_params, units, precision, (("M", 6), (thousand, 3))) or str(num_params)
