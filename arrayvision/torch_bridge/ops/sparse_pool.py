"""Sparse pooling as layers."""

from __future__ import annotations

from collections.abc import Sequence

from arrayvision import check
from arrayvision.ops.sparse_conv import axes, output_shape
from arrayvision.torch_bridge.ops._modules import shown
from arrayvision.torch_bridge.ops.sparse_conv import _How, find_pairs
from arrayvision.torch_bridge.ops.sparse_functional import sparse_max_pool
from arrayvision.torch_bridge.ops.sparse_modules import SparseModule
from arrayvision.torch_bridge.ops.sparse_structure import SparseConvTensor, check_sparse


class SparseMaxPool(SparseModule):
    """The maximum of the features within each window that has some; what the layers below are.

    Parameters
    ----------
    ndim : int
        How many spatial axes there are.
    kernel_size, stride, padding, dilation : int or `ndim` ints
        As of a dense pooling.
    subm : bool
        Whether the result has the inputs' sites, with windows about these.

    Notes
    -----
    Cells without features don't count. The gradient goes to the first of equal features.
    """

    def __init__(
        self,
        ndim: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        subm: bool = False,
    ):
        super().__init__()
        name = type(self).__name__
        self.ndim = check.integer(name, "ndim", ndim, 1, 16)
        self.kernel_size = list(axes(name, "kernel_size", kernel_size, ndim, 1))
        self.stride = list(axes(name, "stride", stride, ndim, 1))
        self.padding = list(axes(name, "padding", padding, ndim, 0))
        self.dilation = list(axes(name, "dilation", dilation, ndim, 1))
        self.subm = check.flag(name, "subm", subm)

    def forward(self, input: SparseConvTensor) -> SparseConvTensor:
        name = type(self).__name__
        check_sparse(name, input, self.ndim)
        kernel, stride, padding = tuple(self.kernel_size), tuple(self.stride), tuple(self.padding)
        how = _How(kernel, stride, padding, tuple(self.dilation), (0,) * self.ndim, self.subm, False)
        shape = list(output_shape(name, tuple(int(size) for size in input.spatial_shape), *how))
        outids, _, pairs, counts, _ = find_pairs(input, how)
        out = input.replace_feature(sparse_max_pool(input.features, pairs, counts, outids.shape[0]))
        out.indices, out.spatial_shape = outids, shape
        return out

    def __repr__(self):
        return shown(self, "kernel_size", "stride", "padding", "dilation")


class SparseMaxPool2d(SparseMaxPool):
    """`SparseMaxPool` over 2 axes.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or two ints
        As of a dense pooling.
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
    ):
        super().__init__(2, kernel_size, stride, padding, dilation)


class SparseMaxPool3d(SparseMaxPool):
    """`SparseMaxPool` over 3 axes.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or three ints
        As of a dense pooling.
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
    ):
        super().__init__(3, kernel_size, stride, padding, dilation)
