"""Attention masks on tensors."""

from __future__ import annotations

from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.ops.psa_mask import TYPES, how
from arrayvision.torch_bridge.library import linear


def _shape(input, psa_type, mask_size):
    n, _, h, w = input.shape[0], input.shape[1], input.shape[2], input.shape[3]
    return n, h * w, h, w


_psa_mask = linear(
    "psa_mask",
    "str psa_type, SymInt[] mask_size",
    ops.psa_mask,
    lambda grad, psa_type, mask_size, shape: ops.psa_mask_backward(grad, psa_type, tuple(mask_size)),
    _shape,
)


def psa_mask(input: Tensor, psa_type: str | int, mask_size: int | tuple[int, int] | None = None) -> Tensor:
    """`arrayvision.ops.psa_mask` on tensors, differentiable in `input` any number of times.

    Parameters
    ----------
    input : Tensor (N, M, H, W)
        For each pixel the M = height * width numbers of a mask, row by row.
    psa_type : {"collect", "distribute"}
        Whether a channel of the result belongs to a pixel that is looked at, or to one that looks; or 0, or 1.
    mask_size : int or (int, int), optional
        (height, width) of the masks; (2 * H - 1, 2 * W - 1) if not given.

    Returns
    -------
    Tensor (N, H * W, H, W)
        In the dtype of input.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    h, w = input.shape[-2:] if isinstance(input, Tensor) and input.dim() == 4 else (1, 1)
    collect, size = how("psa_mask", psa_type, mask_size, h, w)
    return _psa_mask(input, TYPES[not collect], size)


class PSAMask(nn.Module):
    """`psa_mask` as a module.

    Parameters
    ----------
    psa_type : {"collect", "distribute"}
        As of `psa_mask`.
    mask_size : int or (int, int), optional
        As of `psa_mask`.
    """

    def __init__(self, psa_type: str, mask_size: int | tuple[int, int] | None = None):
        super().__init__()
        self.psa_type = check.choice("PSAMask", "psa_type", psa_type, TYPES)
        self.psa_type_enum = TYPES.index(psa_type)
        self.mask_size = mask_size if mask_size is None else check.pair("PSAMask", "mask_size", mask_size, 1)

    def forward(self, input: Tensor) -> Tensor:
        """Masks (N, height * width, H, W) to (N, H * W, H, W)."""
        return psa_mask(input, self.psa_type, self.mask_size)

    def __repr__(self):
        return f"PSAMask(psa_type={self.psa_type}, mask_size={self.mask_size})"
