"""The operators for torch: differentiable functions, modules and layers."""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError(f'arrayvision.torch_bridge needs torch ({error}): pip install "arrayvision[torch]"') from None
