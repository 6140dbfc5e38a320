"""What fakes and kernels must agree on: dtypes known without values."""

import torch

from arrayvision.array import FLOATS, INTEGERS, float_dtype

_FLOAT_OF = {
    getattr(torch, name): getattr(torch, float_dtype(name)) for name in (*FLOATS, *INTEGERS) if hasattr(torch, name)
}


def is_real(tensor) -> bool:
    """Whether a tensor holds real numbers."""
    return tensor.dtype in _FLOAT_OF


def result_dtype(*tensors):
    """The dtype of a result from these tensors, as the array functions have it; their own for what they refuse."""
    dtype = _FLOAT_OF.get(tensors[0].dtype, tensors[0].dtype)
    for t in tensors[1:]:
        dtype = torch.promote_types(dtype, _FLOAT_OF.get(t.dtype, t.dtype))
    return dtype
