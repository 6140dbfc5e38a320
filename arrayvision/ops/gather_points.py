"""Features of chosen points."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from arrayvision import check
from arrayvision.array import SMALL, _kernels, arrays, quick, replay
from arrayvision.ops import _stacked
from arrayvision.typing import Array


def gather_points(features: Array, indices: Array) -> Array:
    """Take the features of chosen points.

    Parameters
    ----------
    features : array (B, C, N)
        Features of N points; any real dtype, integers count as float32.
    indices : array (B, M)
        Which points.

    Returns
    -------
    array (B, C, M)
        ``features[b, c, indices[b, m]]``, in the features' dtype.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong; on the CPU, if an index is not within [0, N). On a GPU such a place has 0.

    Examples
    --------
    >>> import numpy as np
    >>> gather_points(np.array([[[1.0, 2, 3], [4, 5, 6]]]), np.array([[2, 0]]))
    array([[[3., 1.],
            [6., 4.]]])
    """
    out = quick(_small, (features,), integers=indices)
    if out is not None:
        return out
    at = arrays("gather_points", features=features, indices=indices)
    n = at.sizes(features="B C N", indices="B M")
    return _gather(at, n, features, indices, (n.B, n.C, n.M))


@functools.lru_cache(1024)
def _small(shape, indices):
    """What a kernel takes for a call of few numbers in usual arrays; None where there is something to check, or more."""
    if len(shape) != 3 or len(indices) != 2 or shape[0] != indices[0]:
        return None
    (batch, channels, points), count = shape, indices[1]
    if not 0 < batch * channels * count <= SMALL or not 0 < points < 2**31:
        return None
    kernels = _kernels("cpu", "gather_points")
    place, kept = kernels.small(batch, channels, points, count)
    return kernels.gather_at, (batch, channels, count), (place,), kept


def gather_points_backward(grad: Array, indices: Array, input_shape: Sequence[int]) -> Array:
    """The gradient of `gather_points` for its features.

    Parameters
    ----------
    grad : array (B, C, M)
        The gradient of the result.
    indices : array (B, M)
        As given to `gather_points`.
    input_shape : (B, C, N)
        The features' shape.

    Returns
    -------
    array (B, C, N)
        In the dtype of grad.

    Raises
    ------
    TypeError, ValueError
        As `gather_points`.
    """
    at = arrays("gather_points_backward", grad=grad, indices=indices)
    return _scatter(at, at.sizes(grad="B C M", indices="B M"), grad, indices, input_shape)


def grouping_operation(
    features: Array, indices: Array, features_batch_cnt: Array | None = None, indices_batch_cnt: Array | None = None
) -> Array:
    """Take the features of groups of points.

    Parameters
    ----------
    features : array (B, C, N) or (N1 + N2 + ..., C)
        Features of points, each cloud's together in the second form; any real dtype, integers count as float32.
    indices : array (B, M, S) or (M1 + M2 + ..., S)
        Which points of its cloud are in each group, as `ball_query` finds them.
    features_batch_cnt, indices_batch_cnt : array (B,), optional
        N1, N2, ... and M1, M2, ...: given together, and with the second form only.

    Returns
    -------
    array (B, C, M, S) or (M1 + M2 + ..., C, S)
        Their features, in the features' dtype. In the second form 0 for an index that is not within its cloud, as the -1 by
        which `ball_query` tells that a ball is empty.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong; on the CPU, if in the first form an index is not within [0, N), or counts don't add up. On a GPU
        such a place has 0.

    Examples
    --------
    >>> import numpy as np
    >>> grouping_operation(np.array([[[1.0, 2, 3]]]), np.array([[[2, 0], [1, 1]]]))
    array([[[[3., 1.],
             [2., 2.]]]])
    """
    return replay(_group, (features, indices, features_batch_cnt, indices_batch_cnt))


def _group(features, indices, features_batch_cnt, indices_batch_cnt):
    name = "grouping_operation"
    at = arrays(
        name, features=features, indices=indices, features_batch_cnt=features_batch_cnt,
        indices_batch_cnt=indices_batch_cnt,
    )  # fmt: skip
    if not _stacked.given(at, "features_batch_cnt", features_batch_cnt, "indices_batch_cnt", indices_batch_cnt):
        n = at.sizes(features="B C N", indices="B M S")
        return _gather(at, n, features, indices, (n.B, n.C, n.M, n.S))
    n = at.sizes(features="N C", indices="M S")
    counts = _stacked.counts(
        at, features_batch_cnt=(features_batch_cnt, n.N), indices_batch_cnt=(indices_batch_cnt, n.M)
    )
    dtype = at.floats(features=features)
    out = at.empty((n.M, n.C, n.S), dtype)
    at.kernels("gather_points").gather_rows(
        at.read(features, dtype), at.integers("int32", indices=indices), *counts, out.view
    )
    return out.result()


def grouping_operation_backward(
    grad: Array,
    indices: Array,
    input_shape: Sequence[int],
    features_batch_cnt: Array | None = None,
    indices_batch_cnt: Array | None = None,
) -> Array:
    """The gradient of `grouping_operation` for its features.

    Parameters
    ----------
    grad : array (B, C, M, S) or (M1 + M2 + ..., C, S)
        The gradient of the result.
    indices, features_batch_cnt, indices_batch_cnt
        As given to `grouping_operation`.
    input_shape : (B, C, N) or (N1 + N2 + ..., C)
        The features' shape.

    Returns
    -------
    array (B, C, N) or (N1 + N2 + ..., C)
        In the dtype of grad.

    Raises
    ------
    TypeError, ValueError
        As `grouping_operation`.
    """
    name = "grouping_operation_backward"
    at = arrays(
        name, grad=grad, indices=indices, features_batch_cnt=features_batch_cnt, indices_batch_cnt=indices_batch_cnt
    )
    if not _stacked.given(at, "features_batch_cnt", features_batch_cnt, "indices_batch_cnt", indices_batch_cnt):
        return _scatter(at, at.sizes(grad="B C M S", indices="B M S"), grad, indices, input_shape)
    n = at.sizes(grad="M C S", indices="M S")
    size, channels = check.sizes(name, "input_shape", input_shape, 2)
    at.require(channels == n.C, f"grad must have input_shape's {channels} channels, got {n.C}")
    counts = _stacked.counts(
        at, features_batch_cnt=(features_batch_cnt, size), indices_batch_cnt=(indices_batch_cnt, n.M)
    )
    dtype = at.floats(grad=grad)
    out = at.empty((size, channels), dtype)
    at.kernels("gather_points").scatter_rows(
        at.read(grad, dtype), at.integers("int32", indices=indices), *counts, out.view
    )
    return out.result()


def _gather(at, n, features, indices, shape):
    dtype = at.floats(features=features)
    out = at.empty(shape, dtype)
    each = n.M * getattr(n, "S", 1)
    at.kernels("gather_points").gather(
        at.read(features, dtype), _indices(at, indices, n.N, each), out.view.reshape(n.B, n.C, each)
    )
    return out.result()


def _scatter(at, n, grad, indices, input_shape):
    b, c, size = check.sizes(at.function, "input_shape", input_shape, 3)
    at.require((b, c) == (n.B, n.C), f"grad must have input_shape's batch and channels, {(b, c)}, got {(n.B, n.C)}")
    dtype = at.floats(grad=grad)
    out = at.empty((b, c, size), dtype)
    each = n.M * getattr(n, "S", 1)
    at.kernels("gather_points").scatter(
        at.read(grad, dtype).reshape(n.B, n.C, each), _indices(at, indices, size, each), out.view
    )
    return out.result()


def _indices(at, indices, size, each):
    """What a kernel sees of indices (B, M) or (B, M, S): (B, M * S)."""
    return at.integers("int32", 0, size, indices=indices).reshape(indices.shape[0], each)
