"""Attention along each pixel's column and row."""

from __future__ import annotations

from arrayvision.array import arrays
from arrayvision.typing import Array


def criss_cross_attention(query: Array, key: Array, value: Array) -> Array:
    """For each pixel, the mean of values in its column and its row, weighted by how alike its query and their keys are.

    Parameters
    ----------
    query, key : array (N, K, H, W)
        A vector of K numbers for each pixel; any real dtype, integers count as float32.
    value : array (N, C, H, W)
        What is averaged.

    Returns
    -------
    array (N, C, H, W)
        The weights of a pixel's H + W - 1 partners, itself once, are the softmax of the products of its query and their
        keys, which are not scaled. In the dtype that all promote to; float16 and bfloat16 are summed in float32.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong.

    Notes
    -----
    Z. Huang et al., "CCNet: Criss-Cross Attention for Semantic Segmentation", 2019. On the CPU all weights are never in
    memory at a time; on a GPU one image's are, (H + W) * H * W of them. A pixel with an infinite or NaN product is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> even, value = np.zeros((1, 1, 2, 2)), np.array([[1.0, 2], [3, 9]]).reshape(1, 1, 2, 2)
    >>> criss_cross_attention(even, even, value)
    array([[[[2.        , 4.        ],
             [4.33333333, 4.66666667]]]])
    """
    return criss_cross_attention_with_logsumexp(query, key, value)[0]


def criss_cross_attention_with_logsumexp(query: Array, key: Array, value: Array) -> tuple[Array, Array]:
    """`criss_cross_attention`, and what its gradient needs.

    Parameters
    ----------
    query, key, value
        As of `criss_cross_attention`.

    Returns
    -------
    out : array (N, C, H, W)
        The means.
    logsumexp : array (N, H, W)
        Of each pixel's products; in float32, of float64 in float64.

    Raises
    ------
    TypeError, ValueError
        As `criss_cross_attention`.
    """
    at = arrays("criss_cross_attention", query=query, key=key, value=value)
    n = at.sizes(query="N K H W", key="N K H W", value="N C H W")
    dtype = at.floats(query=query, key=key, value=value)
    out, logs = at.empty((n.N, n.C, n.H, n.W), dtype), at.empty((n.N, n.H, n.W), at.accumulator(dtype))
    read = [at.read(x, dtype) for x in (query, key, value)]
    at.kernels("criss_cross_attention").forward(*read, out.view, logs.view)
    return out.result(), logs.result()


def criss_cross_attention_backward(
    grad: Array, query: Array, key: Array, value: Array, out: Array, logsumexp: Array
) -> tuple[Array, Array, Array]:
    """The gradients of `criss_cross_attention`.

    Parameters
    ----------
    grad : array (N, C, H, W)
        The gradient of the result.
    query, key, value
        As given to it.
    out, logsumexp
        What `criss_cross_attention_with_logsumexp` gave.

    Returns
    -------
    tuple of arrays (N, K, H, W), (N, K, H, W), (N, C, H, W)
        The gradients for query, key and value, in the dtype that all but logsumexp promote to.

    Raises
    ------
    TypeError, ValueError
        As `criss_cross_attention`.
    """
    name = "criss_cross_attention_backward"
    given = dict(grad=grad, query=query, key=key, value=value, out=out)
    at = arrays(name, **given, logsumexp=logsumexp)
    n = at.sizes(grad="N C H W", query="N K H W", key="N K H W", value="N C H W", out="N C H W", logsumexp="N H W")
    dtype = at.floats(**given)
    at.real(logsumexp=logsumexp)
    found = [at.empty((n.N, channels, n.H, n.W), dtype) for channels in (n.K, n.K, n.C)]
    read = [at.read(x, dtype) for x in given.values()]
    logs = at.read(logsumexp, at.accumulator(dtype))
    at.kernels("criss_cross_attention").backward(*read, logs, *(x.view for x in found))
    to_query, to_key, to_value = (x.result() for x in found)
    return to_query, to_key, to_value
