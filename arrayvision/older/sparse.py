"""Functions below sparse layers, as `mmcv.ops.sparse_ops` and `mmcv.ops.sparse_functional` name them.

Pairs are (K, 2, N): of each tap, as many columns as its count says; or (2, P), as `sparse_conv_pairs` gives them.
"""

from __future__ import annotations

from collections.abc import Sequence

from arrayvision.errors import InvalidValue
from arrayvision.torch_bridge import Tensor, torch  # whose error says which extra is missing
from arrayvision.torch_bridge.ops.sparse_functional import sparse_conv, sparse_conv_pairs, sparse_max_pool


def get_conv_output_size(
    input_size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:
    """The size of a convolution's result along each axis; 1 where the kernel's is -1, the whole axis."""
    every = zip(input_size, kernel_size, stride, padding, dilation, strict=True)
    return [1 if k == -1 else (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in every]


def get_deconv_output_size(
    input_size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    output_padding: Sequence[int],
) -> list[int]:
    """The size of a transposed convolution's result along each axis."""
    if -1 in kernel_size:
        raise InvalidValue(f"get_deconv_output_size: kernel_size must be at least 1, got {list(kernel_size)}")
    every = zip(input_size, kernel_size, stride, padding, dilation, output_padding, strict=True)
    return [(n - 1) * s - 2 * p + d * (k - 1) + more + 1 for n, k, s, p, d, more in every]


def get_indice_pairs(
    indices: Tensor,
    batch_size: int,
    spatial_shape: Sequence[int],
    ksize: int | Sequence[int] = 3,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    out_padding: int | Sequence[int] = 0,
    subm: bool = False,
    transpose: bool = False,
    grid: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(the result's sites, pairs (K, 2, N) filled up with -1, how many pairs each tap has); `grid` isn't needed."""
    how = ksize, stride, padding, dilation, out_padding
    outids, pairs, counts = sparse_conv_pairs(indices, spatial_shape, batch_size, *how, bool(subm), bool(transpose))
    wide = pairs.new_full((len(counts), 2, len(indices)), -1)
    taps = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    place = torch.arange(pairs.shape[1], device=counts.device) - (counts.cumsum(0) - counts)[taps]
    wide[taps, :, place] = pairs.T
    return outids, wide, counts.int()


def _pairs(indice_pairs, indice_pair_num, inverse=False):
    if indice_pairs.dim() == 3:
        n = indice_pairs.shape[2]
        mine = torch.arange(n, device=indice_pairs.device) < indice_pair_num[:, None]
        indice_pairs = indice_pairs.transpose(0, 1)[:, mine]
    return indice_pairs.flip(0) if inverse else indice_pairs


def indice_conv(
    features: Tensor,
    filters: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    num_activate_out: int,
    inverse: bool = False,
    subm: bool = False,
) -> Tensor:
    """`sparse_conv`, differentiable in features and filters; the pairs' rows are exchanged if `inverse`."""
    pairs = _pairs(indice_pairs, indice_pair_num, inverse)
    return sparse_conv(features, filters, None, pairs, indice_pair_num, num_activate_out)


def indice_inverse_conv(
    features: Tensor, filters: Tensor, indice_pairs: Tensor, indice_pair_num: Tensor, num_activate_out: int
) -> Tensor:
    """`indice_conv` with the pairs' rows exchanged."""
    return indice_conv(features, filters, indice_pairs, indice_pair_num, num_activate_out, True)


def indice_subm_conv(
    features: Tensor, filters: Tensor, indice_pairs: Tensor, indice_pair_num: Tensor, num_activate_out: int
) -> Tensor:
    """`indice_conv` by the pairs of a submanifold convolution."""
    return indice_conv(features, filters, indice_pairs, indice_pair_num, num_activate_out)


def fused_indice_conv(
    features: Tensor,
    filters: Tensor,
    bias: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    num_activate_out: int,
    inverse: bool,
    subm: bool,
) -> Tensor:
    """`indice_conv` with a bias."""
    pairs = _pairs(indice_pairs, indice_pair_num, inverse)
    return sparse_conv(features, filters, bias, pairs, indice_pair_num, num_activate_out)


def indice_conv_backward(
    features: Tensor,
    filters: Tensor,
    out_bp: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    inverse: bool = False,
    subm: bool = False,
) -> tuple[Tensor, Tensor]:
    """The gradients of `indice_conv` for features and filters, given that of its result."""
    with torch.enable_grad():
        given = features.detach().requires_grad_(), filters.detach().requires_grad_()
        out = indice_conv(*given, indice_pairs, indice_pair_num, out_bp.shape[0], inverse, subm)
        first, second = torch.autograd.grad(out, given, out_bp)
    return first, second


def indice_maxpool(features: Tensor, indice_pairs: Tensor, indice_pair_num: Tensor, num_activate_out: int) -> Tensor:
    """`sparse_max_pool`, differentiable in features."""
    return sparse_max_pool(features, _pairs(indice_pairs, indice_pair_num), indice_pair_num, num_activate_out)


def indice_maxpool_backward(
    features: Tensor, out_features: Tensor, out_bp: Tensor, indice_pairs: Tensor, indice_pair_num: Tensor
) -> Tensor:
    """The gradient of `indice_maxpool`, given that of its result."""
    with torch.enable_grad():
        given = features.detach().requires_grad_()
        out = indice_maxpool(given, indice_pairs, indice_pair_num, out_bp.shape[0])
        return torch.autograd.grad(out, given, out_bp)[0]


class SparseConvFunction:
    """`apply` is `indice_conv`."""

    apply = staticmethod(indice_conv)


class SparseInverseConvFunction:
    """`apply` is `indice_inverse_conv`."""

    apply = staticmethod(indice_inverse_conv)


class SubMConvFunction:
    """`apply` is `indice_subm_conv`."""

    apply = staticmethod(indice_subm_conv)


class SparseMaxPoolFunction:
    """`apply` is `indice_maxpool`."""

    apply = staticmethod(indice_maxpool)
