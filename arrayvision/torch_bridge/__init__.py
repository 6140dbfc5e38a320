"""The operators for torch: differentiable functions, modules and layers."""
