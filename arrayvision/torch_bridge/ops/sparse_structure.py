"""What sparse layers take and give: features at a few sites of a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from arrayvision import check
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.torch_bridge.dtypes import is_real
from arrayvision.torch_bridge.library import check_tensors

_WHOLE = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)


def _whole(function, argument, x):
    if not isinstance(x, Tensor):
        raise InvalidKind(f"{function}: {argument} must be a tensor, got {type(x).__name__}")
    if x.dtype not in _WHOLE or x.layout is not torch.strided:
        raise InvalidKind(f"{function}: {argument} must hold integers, got dtype {x.dtype}, {x.layout}")


def scatter_nd(indices: Tensor, updates: Tensor, shape: Sequence[int]) -> Tensor:
    """Zeros of a shape, in which `updates` stand at `indices`; of equal indices any one counts.

    Parameters
    ----------
    indices : Tensor (..., D), integers
        Places along the first D axes of the result.
    updates : Tensor
        Of shape ``indices.shape[:-1] + shape[D:]``.
    shape : ints
        The result's.

    Returns
    -------
    Tensor
        In the dtype of updates, and differentiable in them.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or (on the CPU) an index is outside.

    Examples
    --------
    >>> import torch
    >>> scatter_nd(torch.tensor([[0], [2]]), torch.tensor([1.0, 2.0]), [4])
    tensor([1., 0., 2., 0.])
    """
    name = "scatter_nd"
    _whole(name, "indices", indices)
    if not isinstance(updates, Tensor) or updates.layout is not torch.strided or updates.is_quantized:
        raise InvalidKind(f"{name}: updates must be a dense tensor, got {type(updates).__name__}")
    if updates.device != indices.device:
        raise InvalidKind(f"{name}: updates is on {updates.device}, indices is on {indices.device}: give both on one")
    shape = check.several(name, "shape", shape, len(shape) if isinstance(shape, (list, tuple)) else 0, "ints")
    shape = tuple(check.integer(name, "shape", size, 0) for size in shape)
    if indices.dim() == 0 or not 0 < indices.shape[-1] <= len(shape):
        raise InvalidValue(
            f"{name}: indices must have 1 to {len(shape)} columns, as many as shape, got {tuple(indices.shape)}"
        )
    columns = indices.shape[-1]
    flat = indices.reshape(-1, columns).long()
    wanted = (*indices.shape[:-1], *shape[columns:])
    if updates.numel() != math.prod(wanted):
        raise InvalidValue(f"{name}: updates must have shape {wanted}, got {tuple(updates.shape)}")
    if not torch.compiler.is_compiling() and flat.is_cpu and flat.numel():
        limits = torch.tensor(shape[:columns])
        outside = int(((flat < 0) | (flat >= limits)).any(1).sum())
        if outside:
            raise InvalidValue(f"{name}: indices must lie within {shape[:columns]}, which {outside} rows don't")
    elif 0 in shape[:columns]:
        raise InvalidValue(f"{name}: indices must lie within {shape[:columns]}, which holds none")
    out = updates.new_zeros(shape)
    return out.index_put(tuple(flat.unbind(1)), updates.reshape(flat.shape[0], *shape[columns:]))


class SparseConvTensor:
    """Features at a few sites of a batch of grids.

    Parameters
    ----------
    features : Tensor (N, C)
        A row for each site.
    indices : Tensor (N, 1 + D), integers
        The sites: the index in the batch, and D coordinates. No site may come twice.
    spatial_shape : D ints
        The grid's size.
    batch_size : int
        How many grids there are.
    grid : Tensor, optional
        Is kept, and handed on; nothing here needs it.

    Attributes
    ----------
    indice_dict : dict
        What layers with an `indice_key` found, for others with the same: by key, a tuple of the result's sites, the inputs' sites,
        the pairs, how many each tap has, and the inputs' spatial shape.
    """

    def __init__(
        self,
        features: Tensor,
        indices: Tensor,
        spatial_shape: list | tuple,
        batch_size: int,
        grid: Tensor | None = None,
    ):
        name = "SparseConvTensor"
        check_tensors(name, features=features)
        _whole(name, "indices", indices)
        if features.dim() != 2 or indices.dim() != 2 or indices.shape[1] < 2:
            raise InvalidValue(
                f"{name}: features must have shape (N, C) and indices (N, 1 + D), got {tuple(features.shape)} and "
                f"{tuple(indices.shape)}"
            )
        if features.shape[0] != indices.shape[0]:
            raise InvalidValue(
                f"{name}: features must have as many rows as indices, got {features.shape[0]} and {indices.shape[0]}"
            )
        if features.device != indices.device:
            raise InvalidKind(
                f"{name}: features is on {features.device}, indices is on {indices.device}: give both on one device"
            )
        check.integers(name, "spatial_shape", spatial_shape, indices.shape[1] - 1, 1)
        check.integer(name, "batch_size", batch_size, 1)
        self.features = features
        self.indices = indices
        self.spatial_shape = spatial_shape
        self.batch_size = batch_size
        self.indice_dict: dict[str, Any] = {}
        self.grid = grid

    def replace_feature(self, feature: Tensor) -> SparseConvTensor:
        """Another tensor with these features at the same sites; what layers found is shared."""
        out = SparseConvTensor.__new__(SparseConvTensor)
        out.__dict__.update(self.__dict__, features=feature)
        return out

    @property
    def spatial_size(self) -> int:
        """How many cells a grid has."""
        return math.prod([int(size) for size in self.spatial_shape])

    def find_indice_pair(self, key: str | None) -> tuple | None:
        """What a layer with this `indice_key` found; None if there was none."""
        return None if key is None else self.indice_dict.get(key)

    def dense(self, channels_first: bool = True) -> Tensor:
        """All cells, those without features as 0: (B, C, ...), or (B, ..., C) if not `channels_first`."""
        shape = (self.batch_size, *(int(size) for size in self.spatial_shape), self.features.shape[1])
        out = scatter_nd(self.indices, self.features, shape)
        return out.movedim(-1, 1).contiguous() if channels_first else out

    @property
    def sparity(self) -> float:
        """The share of cells that have features."""
        return self.indices.shape[0] / self.spatial_size / self.batch_size


def check_sparse(name: str, input, ndim: int | None = None) -> None:
    """Check a layer's input."""
    if not isinstance(input, SparseConvTensor):
        raise InvalidKind(f"{name}: input must be a SparseConvTensor, got {type(input).__name__}")
    if not is_real(input.features):
        raise InvalidKind(f"{name}: input must have features of real numbers, got dtype {input.features.dtype}")
    if ndim is not None and input.indices.shape[1] != ndim + 1:
        raise InvalidValue(f"{name}: input must have {ndim} spatial axes, got {input.indices.shape[1] - 1}")
