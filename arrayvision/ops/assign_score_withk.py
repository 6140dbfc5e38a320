"""Sums of neighbours' features, weighted by scores."""

from __future__ import annotations

from arrayvision import check
from arrayvision.array import arrays
from arrayvision.typing import Array


def assign_score_withk(
    scores: Array, point_features: Array, center_features: Array, knn_idx: Array, aggregate: str = "sum"
) -> Array:
    """Combine the features that several weight matrices gave, by scores, for each neighbour of each centre.

    Parameters
    ----------
    scores : array (B, P, K, M)
        For K neighbours of P centres, the shares of M weight matrices; any real dtype, integers count as float32.
    point_features : array (B, N, M, O)
        Features of N points by each matrix.
    center_features : array (B, N, M, O)
        The same as they are subtracted where a point is the centre.
    knn_idx : array (B, P, K)
        The neighbours' indices; the first is the centre itself.
    aggregate : {"sum", "avg", "max"}
        Makes no difference: neighbours stay apart in the result. It is there for older code, where it makes none either.

    Returns
    -------
    array (B, O, P, K)
        ``sum over m of scores[b, p, k, m] * (point_features[b, knn_idx[b, p, k], m] - center_features[b, knn_idx[b, p, 0],
        m])``, in the promoted float dtype (float16 and bfloat16 are computed in float32). 0 where an index is not within
        [0, N).

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong, or aggregate is something else.

    Notes
    -----
    M. Xu et al., "PAConv: Position Adaptive Convolution", 2021, appendix D.

    Examples
    --------
    >>> import numpy as np
    >>> points, centers = np.array([[[[1.0], [2]], [[3], [5]]]]), np.zeros((1, 2, 2, 1))
    >>> assign_score_withk(np.array([[[[1.0, 0], [0.5, 0.5]]]]), points, centers, np.array([[[0, 1]]]))
    array([[[[1., 4.]]]])
    """
    at = arrays(
        "assign_score_withk", scores=scores, point_features=point_features, center_features=center_features,
        knn_idx=knn_idx,
    )  # fmt: skip
    n = _sizes(at)
    check.choice("assign_score_withk", "aggregate", aggregate, ("sum", "avg", "max"))
    dtype = at.floats(scores=scores, point_features=point_features, center_features=center_features)
    out = at.empty((n.B, n.O, n.P, n.K), dtype)
    at.kernels("assign_score_withk").forward(
        *(at.read(x, dtype) for x in (scores, point_features, center_features)), at.integers(knn_idx=knn_idx), out.view
    )
    return out.result()


def assign_score_withk_backward(
    grad: Array, scores: Array, point_features: Array, center_features: Array, knn_idx: Array
) -> tuple[Array, Array, Array]:
    """The gradients of `assign_score_withk`.

    Parameters
    ----------
    grad : array (B, O, P, K)
        The gradient of the result.
    scores, point_features, center_features, knn_idx
        As given to `assign_score_withk`.

    Returns
    -------
    for_scores : array (B, P, K, M)
        In the result's dtype.
    for_point_features, for_center_features : array (B, N, M, O)
        The same.

    Raises
    ------
    TypeError, ValueError
        As `assign_score_withk`.
    """
    at = arrays(
        "assign_score_withk_backward", grad=grad, scores=scores, point_features=point_features,
        center_features=center_features, knn_idx=knn_idx,
    )  # fmt: skip
    _sizes(at, grad="B O P K")
    at.real(grad=grad)
    given = {"scores": scores, "point_features": point_features, "center_features": center_features}
    dtype = at.floats(**given)
    outs = [at.empty(tuple(x.shape), dtype) for x in given.values()]
    at.kernels("assign_score_withk").backward(
        *(at.read(x, dtype) for x in (grad, *given.values())), at.integers(knn_idx=knn_idx), *(o.view for o in outs)
    )
    for_scores, for_points, for_centers = (out.result() for out in outs)
    return for_scores, for_points, for_centers


def _sizes(at, **grad):
    return at.sizes(scores="B P K M", point_features="B N M O", center_features="B N M O", knn_idx="B P K", **grad)
