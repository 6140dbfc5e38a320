"""The operators as differentiable functions of torch tensors, and their modules."""

__all__: list[str] = []
