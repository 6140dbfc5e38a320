"""Filters in several orientations, made of one by moving its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from arrayvision import check
from arrayvision.array import Arrays, arrays
from arrayvision.typing import Array


def active_rotated_filter(input: Array, indices: Array) -> Array:
    """Turn filters: for each rotation, a copy whose numbers stand elsewhere.

    Parameters
    ----------
    input : array (O, I, N, H, W)
        Filters of H x W numbers for O output planes, I input planes and N orientations; any real dtype, integers count as
        float32.
    indices : array (N, H, W, R)
        For each of a filter's E = N * H * W numbers and each of R rotations, where it goes: whole numbers from 1 to E, in
        the order of memory (orientation, row, column).

    Returns
    -------
    array (O * R, I * N, H, W)
        ``out[o * R + r, i * N:(i + 1) * N].ravel()[indices[..., r].ravel() - 1] = input[o, i].ravel()``, in the dtype of
        input. Where two numbers go to one place the last one is there; where none goes, 0.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong; on the CPU, if an index is not from 1 to E. On a GPU such a number goes nowhere.

    Notes
    -----
    Y. Zhou et al., "Oriented Response Networks", 2017; J. Han et al., "Align Deep Features for Oriented Object Detection",
    2020.

    Examples
    --------
    >>> import numpy as np
    >>> turned = np.array([[1, 3], [2, 1], [3, 4], [4, 2]]).reshape(1, 2, 2, 2)  # as it is, and by 90 degrees
    >>> active_rotated_filter(np.array([[1.0, 2], [3, 4]]).reshape(1, 1, 1, 2, 2), turned)
    array([[[[1., 2.],
             [3., 4.]]],
    <BLANKLINE>
    <BLANKLINE>
           [[[2., 4.],
             [1., 3.]]]])
    """
    at = arrays("active_rotated_filter", input=input, indices=indices)
    n = at.sizes(input="O I N H W", indices="N H W R")
    dtype = at.floats(input=input)
    entries = n.N * n.H * n.W
    out = at.empty((n.O * n.R, n.I * n.N, n.H, n.W), dtype)
    at.kernels("active_rotated_filter").forward(
        at.read(input, dtype).reshape(n.O, n.I, entries),
        _places(at, indices, entries),
        out.view.reshape(n.O, n.R, n.I, entries),
    )
    return out.result()


def active_rotated_filter_backward(grad: Array, indices: Array, input_shape: Sequence[int]) -> Array:
    """The gradient of `active_rotated_filter` for its filters.

    Parameters
    ----------
    grad : array (O * R, I * N, H, W)
        The gradient of the result.
    indices : array (N, H, W, R)
        As given to it.
    input_shape : (int, int, int, int, int)
        The filters' shape (O, I, N, H, W).

    Returns
    -------
    array (O, I, N, H, W)
        In the dtype of grad.

    Raises
    ------
    TypeError, ValueError
        As `active_rotated_filter`.
    """
    name = "active_rotated_filter_backward"
    at = arrays(name, grad=grad, indices=indices)
    n = at.sizes(indices="N H W R")
    shape = check.integers(name, "input_shape", input_shape, 5, 0)
    planes, inputs, *filters = shape
    at.require(
        filters == [n.N, n.H, n.W],
        f"input_shape must end as indices' shape begins, got {shape} and {tuple(indices.shape)}",
    )
    check.shape(name, "grad", grad, planes * n.R, inputs * n.N, n.H, n.W)
    dtype = at.floats(grad=grad)
    entries = n.N * n.H * n.W
    out = at.empty(shape, dtype)
    at.kernels("active_rotated_filter").backward(
        at.read(grad, dtype).reshape(planes, n.R, inputs, entries),
        _places(at, indices, entries),
        out.view.reshape(planes, inputs, entries),
    )
    return out.result()


def _places(at: Arrays, indices, entries):
    """Indices as (E, R)."""
    return at.integers("int32", least=1, below=entries + 1, indices=indices).reshape(entries, indices.shape[3])
