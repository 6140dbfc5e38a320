"""What fakes and kernels must agree on: dtypes known without values."""

import torch


def alike(*tensors):
    """The tensors in one floating dtype, theirs promoted; integers count as float32."""
    dtypes = {t.dtype if t.is_floating_point() else torch.float32 for t in tensors}
    dtype = dtypes.pop()
    for other in dtypes:
        dtype = torch.promote_types(dtype, other)
    return [t.to(dtype) for t in tensors]
