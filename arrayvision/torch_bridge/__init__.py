"""The operators for torch: differentiable functions, modules and layers."""

try:
    import torch as torch
    from torch import Tensor as Tensor, nn as nn
except ImportError as error:
    raise ImportError(f'arrayvision.torch_bridge needs torch ({error}): pip install "arrayvision[torch]"') from None
