"""What projects import from `mmcv.cnn` beside its layers: the hooks that count operations."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from arrayvision.torch_bridge import nn  # whose error says which extra is missing
from arrayvision.torch_bridge.cnn.utils import flops_counter

SiLU = nn.SiLU

# Counts are attributes of the modules here, as such code expects: `__flops__`, `__params__` and `__batch_counter__`.


def _hook(count):
    def hook(module: nn.Module, input: tuple, output: Any) -> None:
        """Add a call's operations to `module.__flops__`."""
        module.__flops__ += int(count(module, input[0], output))

    return hook


_HOOKS = {count: _hook(count) for _, count in flops_counter._COUNTS}


def _of(kind):
    return next(_HOOKS[count] for kinds, count in flops_counter._COUNTS if issubclass(kind, kinds))


conv_flops_counter_hook = _of(nn.Conv2d)
deconv_flops_counter_hook = _of(nn.ConvTranspose2d)
linear_flops_counter_hook = _of(nn.Linear)
norm_flops_counter_hook = _of(nn.BatchNorm2d)
relu_flops_counter_hook = _of(nn.ReLU)
pool_flops_counter_hook = _of(nn.MaxPool2d)
upsample_flops_counter_hook = _of(nn.Upsample)


def empty_flops_counter_hook(module: nn.Module, input: tuple, output: Any) -> None:
    """Count nothing."""
    module.__flops__ += 0  # type: ignore[operator]


def get_modules_mapping() -> dict[type, Callable]:
    """The hook of each kind of module that counts."""
    kinds = [kind for kind in vars(nn).values() if isinstance(kind, type) and issubclass(kind, nn.Module)]
    found = {}
    for kind in kinds:
        count = next((count for owners, count in flops_counter._COUNTS if issubclass(kind, owners)), None)
        if count is not None:
            found[kind] = _HOOKS[count]
    return found


def add_batch_counter_variables_or_reset(module: nn.Module) -> None:
    """Begin to count samples at 0."""
    module.__batch_counter__ = 0  # type: ignore[assignment]


def batch_counter_hook(module: nn.Module, input: tuple, output: Any) -> None:
    """Add the samples of a call."""
    if not input:
        warnings.warn("a call without positional arguments counts as one sample", stacklevel=2)
    module.__batch_counter__ += len(input[0]) if input else 1  # type: ignore[operator]


def add_batch_counter_hook_function(module: nn.Module) -> None:
    """Count the samples of each call from now on."""
    if not hasattr(module, "__batch_counter_handle__"):
        module.__batch_counter_handle__ = module.register_forward_hook(batch_counter_hook)  # type: ignore[assignment]


def remove_batch_counter_hook_function(module: nn.Module) -> None:
    """Count them no longer."""
    _remove(module, "__batch_counter_handle__")


def _remove(module, name):
    handle = module.__dict__.pop(name, None)
    if handle is not None:
        handle.remove()


def add_flops_counter_variable_or_reset(module: nn.Module) -> None:
    """Begin to count operations at 0, if the module's are counted."""
    if flops_counter.is_supported_instance(module):
        module.__flops__ = 0  # type: ignore[assignment]
        module.__params__ = flops_counter.get_model_parameters_number(module)  # type: ignore[assignment]


def remove_flops_counter_hook_function(module: nn.Module) -> None:
    """Count the module's operations no longer."""
    _remove(module, "__flops_handle__")


def reset_flops_count(self: nn.Module) -> None:
    """Begin anew, in all of a model."""
    add_batch_counter_variables_or_reset(self)
    self.apply(add_flops_counter_variable_or_reset)


def start_flops_count(self: nn.Module) -> None:
    """Count from now on, in all of a model."""
    if not hasattr(self, "__batch_counter__"):
        reset_flops_count(self)
    add_batch_counter_hook_function(self)
    for module in self.modules():
        count = flops_counter._count_for(module)
        if count is not None and not hasattr(module, "__flops_handle__"):
            module.__flops_handle__ = module.register_forward_hook(_HOOKS[count])  # type: ignore[assignment]


def stop_flops_count(self: nn.Module) -> None:
    """Count no longer, in all of a model."""
    remove_batch_counter_hook_function(self)
    self.apply(remove_flops_counter_hook_function)


def compute_average_flops_cost(self: nn.Module) -> tuple[float, int]:
    """Operations of a sample, and parameters."""
    total = sum(getattr(module, "__flops__", 0) for module in self.modules())
    return total / self.__batch_counter__, flops_counter.get_model_parameters_number(self)  # type: ignore[operator]
