"""The operators for torch, differentiable and traceable, as functions and modules, and CNN layers built on them."""
