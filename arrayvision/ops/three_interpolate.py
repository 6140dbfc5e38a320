"""The three nearest points of each point, and features interpolated from them."""

from __future__ import annotations

from collections.abc import Sequence

from arrayvision import check
from arrayvision.array import arrays, replay
from arrayvision.typing import Array


def three_nn(target: Array, source: Array) -> tuple[Array, Array]:
    """Find the three points of a cloud that are nearest to each point of another.

    Parameters
    ----------
    target : array (B, N, 3)
        Points (x, y, z) whose neighbours are looked for, in any unit; any real dtype, integers count as float32.
    source : array (B, M, 3)
        The points to look among; cloud b is searched for the points of target b.

    Returns
    -------
    distances : array (B, N, 3)
        Euclidean distances (not their squares), rising, in the promoted float dtype.
    indices : array (B, N, 3)
        The neighbours' indices in source, int32. Of equal distances the lower index comes first. Where source has fewer
        than three points the missing ones have an infinite distance and index 0, so that a weight of one over the
        distance is 0 for them.

    Raises
    ------
    TypeError, ValueError
        If something is no array, of another library or device, or of a wrong dtype or shape.

    Notes
    -----
    Exact: C. Qi et al., "PointNet++", 2017, interpolate by these. A distance that is NaN or too large for the dtype counts
    as infinite: a point with a NaN coordinate comes after all others, and one of target has the neighbours 0, 1 and 2.

    Examples
    --------
    >>> import numpy as np
    >>> source = np.array([[[0.0, 0, 0], [3, 0, 0], [0, 4, 0], [9, 9, 9]]])
    >>> distances, indices = three_nn(np.array([[[0.0, 0, 0]]]), source)
    >>> distances, indices
    (array([[[0., 3., 4.]]]), array([[[0, 1, 2]]], dtype=int32))
    """
    return replay(_three_nn, (target, source))


def _three_nn(target, source):
    at = arrays("three_nn", target=target, source=source)
    n = at.sizes(target="B N 3", source="B M 3")
    at.require(n.M < 2**31, f"source must have fewer than 2**31 points, got {n.M}")
    dtype = at.floats(target=target, source=source)
    distances, indices = at.empty((n.B, n.N, 3), dtype), at.empty((n.B, n.N, 3), "int32")
    at.kernels("three_interpolate").nearest(
        at.read(target, dtype), at.read(source, dtype), distances.view, indices.view
    )
    return distances.result(), indices.result()


def three_interpolate(features: Array, indices: Array, weight: Array) -> Array:
    """Interpolate features: a weighted sum of three for each point.

    Parameters
    ----------
    features : array (B, C, M)
        Features of M points; any real dtype, integers count as float32.
    indices : array (B, N, 3)
        Three of the M points for each of N others, as `three_nn` finds them.
    weight : array (B, N, 3)
        Their weights, commonly those of inverse distances, with a sum of 1.

    Returns
    -------
    array (B, C, N)
        ``sum over k of weight[b, n, k] * features[b, c, indices[b, n, k]]``, in the features' dtype (float16 and bfloat16
        are computed in float32).

    Raises
    ------
    TypeError, ValueError
        If something is no array, of another library or device, or of a wrong dtype or shape; on the CPU, if an index is not
        within [0, M). On a GPU such a term is left out.

    Notes
    -----
    C. Qi et al., "PointNet++", 2017. A NaN or infinite feature counts as in any sum, with a weight of 0 too.

    Examples
    --------
    >>> import numpy as np
    >>> features = np.array([[[1.0, 2, 4, 8]]])
    >>> three_interpolate(features, np.array([[[0, 1, 3]]]), np.array([[[0.5, 0.25, 0.25]]]))
    array([[[3.]]])
    """
    return replay(_three_interpolate, (features, indices, weight))


def _three_interpolate(features, indices, weight):
    at = arrays("three_interpolate", features=features, indices=indices, weight=weight)
    n = at.sizes(features="B C M", indices="B N 3", weight="B N 3")
    dtype = at.floats(features=features)
    at.real(weight=weight)
    out = at.empty((n.B, n.C, n.N), dtype)
    near, share = at.integers("int32", 0, n.M, indices=indices), at.read(weight, at.accumulator(dtype))
    at.kernels("three_interpolate").interpolate(at.read(features, dtype), near, share, out.view)
    return out.result()


def three_interpolate_backward(grad: Array, indices: Array, weight: Array, input_shape: Sequence[int]) -> Array:
    """The gradient of `three_interpolate` for its features, given that of its result.

    Parameters
    ----------
    grad : array (B, C, N)
    indices, weight
        As given to `three_interpolate`, whose errors are raised.
    input_shape : (int, int, int)
        The features' shape (B, C, M), which is the result's; its dtype is that of grad.
    """
    at = arrays("three_interpolate_backward", grad=grad, indices=indices, weight=weight)
    n = at.sizes(grad="B C N", indices="B N 3", weight="B N 3")
    b, c, m = check.sizes(at.function, "input_shape", input_shape, 3)
    at.require((b, c) == (n.B, n.C), f"grad must be of input_shape's batch and channels, got {(n.B, n.C)} and {(b, c)}")
    dtype = at.floats(grad=grad)
    at.real(weight=weight)
    out = at.empty((b, c, m), dtype)
    near, share = at.integers("int32", 0, m, indices=indices), at.read(weight, at.accumulator(dtype))
    at.kernels("three_interpolate").spread(at.read(grad, dtype), near, share, out.view)
    return out.result()
