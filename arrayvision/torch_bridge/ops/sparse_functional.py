"""Sparse convolution and pooling as functions of tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from arrayvision import ops
from arrayvision.errors import InvalidValue
from arrayvision.torch_bridge.library import bilinear, check_tensors, register, selecting


def _fake_pairs(indices, shape, batch_size, kernel_size, stride, padding, dilation, output_padding, subm, transposed):
    context = torch.library.get_ctx()
    rows = indices.shape[0] if subm else context.new_dynamic_size()
    whole = torch.int32 if indices.dtype is torch.int32 else torch.int64
    return (
        indices.new_empty((rows, indices.shape[1]), dtype=whole),
        indices.new_empty((2, context.new_dynamic_size()), dtype=torch.int32),
        indices.new_empty((math.prod(kernel_size),), dtype=torch.int64),
    )


_sparse_conv_pairs = register(
    "sparse_conv_pairs(Tensor indices, SymInt[] spatial_shape, SymInt batch_size, SymInt[] kernel_size, SymInt[] stride, "
    "SymInt[] padding, SymInt[] dilation, SymInt[] output_padding, bool subm, bool transposed) -> (Tensor, Tensor, Tensor)",
    ops.sparse_conv_pairs,
    _fake_pairs,
)
_sparse_conv = bilinear(
    "sparse_conv",
    "Tensor pairs, Tensor counts, SymInt size",
    lambda features, weight, *how: ops.sparse_conv(features, weight, None, *how),
    lambda grad, weight, pairs, counts, size, shape: ops.sparse_conv_by_features(grad, weight, pairs, counts, shape[0]),
    lambda grad, features, pairs, counts, size, shape: ops.sparse_conv_by_weight(grad, features, pairs, counts, shape),
    lambda features, weight, pairs, counts, size: (size, weight.shape[-1]),
)
_sparse_max_pool = selecting(
    "sparse_max_pool",
    "Tensor pairs, Tensor counts, SymInt size",
    ops.sparse_max_pool_with_argmax,
    lambda grad, argmax, pairs, counts, size, shape: ops.sparse_max_pool_backward(
        grad, argmax, pairs, counts, shape[0]
    ),
    lambda features, pairs, counts, size: (size, features.shape[1]),
)


def sparse_conv_pairs(
    indices: Tensor,
    spatial_shape: Sequence[int],
    batch_size: int,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    output_padding: int | Sequence[int] = 0,
    subm: bool = False,
    transposed: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """`arrayvision.ops.sparse_conv_pairs` on tensors.

    Parameters
    ----------
    indices : Tensor (N, 1 + D), integers
        The sites that have features: the index in the batch, and D coordinates.
    spatial_shape, batch_size, kernel_size, stride, padding, dilation, output_padding, subm, transposed
        As there.

    Returns
    -------
    out_indices : Tensor (M, 1 + D)
        The result's sites.
    pairs : Tensor (2, P), int32
        Rows of inputs and of outputs, tap by tap.
    counts : Tensor (K,), int64
        How many pairs each tap has.

    Raises
    ------
    TypeError, ValueError
        As there.

    Examples
    --------
    >>> import torch
    >>> sparse_conv_pairs(torch.tensor([[0, 1, 1], [0, 1, 2]]), (4, 4), 1, (1, 3), subm=True)[1]
    tensor([[0, 0, 1, 1],
            [1, 0, 1, 0]], dtype=torch.int32)
    """
    axes = indices.shape[1] - 1 if isinstance(indices, Tensor) and indices.dim() == 2 else 0
    how = [
        [value] * axes if axes > 0 and type(value) is int else value
        for value in (kernel_size, stride, padding, dilation, output_padding)
    ]
    return _sparse_conv_pairs(indices, spatial_shape, batch_size, *how, subm, transposed)


def sparse_conv(
    features: Tensor, weight: Tensor, bias: Tensor | None, pairs: Tensor, counts: Tensor, size: int
) -> Tensor:
    """`arrayvision.ops.sparse_conv` on tensors, differentiable in features, weight and bias any number of times.

    Parameters
    ----------
    features : Tensor (N, C)
        Of the inputs.
    weight : Tensor (..., C, O)
        The filter, its taps in the pairs' order.
    bias : Tensor (O,), optional
        Is added to the result.
    pairs, counts, size
        As there.

    Returns
    -------
    Tensor (size, O)
        In the dtype that features, weight and bias promote to.

    Raises
    ------
    TypeError, ValueError
        As there.

    Examples
    --------
    >>> import torch
    >>> _, pairs, counts = sparse_conv_pairs(torch.tensor([[0, 1, 1], [0, 1, 2]]), (4, 4), 1, (1, 3), subm=True)
    >>> sparse_conv(torch.tensor([[1.0], [10.0]]), torch.tensor([1.0, 2, 3]).reshape(1, 3, 1, 1), None, pairs, counts, 2)
    tensor([[32.],
            [21.]])
    """
    if bias is None:
        return _sparse_conv(features, weight, pairs, counts, size)
    check_tensors("sparse_conv", features=features, bias=bias)
    out = _sparse_conv(features, weight, pairs, counts, size)
    if bias.shape != out.shape[1:]:
        raise InvalidValue(f"sparse_conv: bias must have shape ({out.shape[1]},), got {tuple(bias.shape)}")
    return out + bias


def sparse_max_pool(features: Tensor, pairs: Tensor, counts: Tensor, size: int) -> Tensor:
    """`arrayvision.ops.sparse_max_pool` on tensors, differentiable in `features`.

    Parameters
    ----------
    features : Tensor (N, C)
        Of the inputs.
    pairs, counts, size
        As there.

    Returns
    -------
    Tensor (size, C)
        In the dtype of features.

    Raises
    ------
    TypeError, ValueError
        As there.

    Examples
    --------
    >>> import torch
    >>> _, pairs, counts = sparse_conv_pairs(torch.tensor([[0, 0, 0], [0, 0, 1], [0, 3, 3]]), (4, 4), 1, 2, 2)
    >>> sparse_max_pool(torch.tensor([[-2.0], [-1.0], [5.0]]), pairs, counts, 2)
    tensor([[-1.],
            [ 5.]])
    """
    return _sparse_max_pool(features, pairs, counts, size)[0]
