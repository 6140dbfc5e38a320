"""BorderAlign: the strongest feature along each border of boxes."""

from __future__ import annotations

from collections.abc import Sequence

from arrayvision import check
from arrayvision.array import arrays
from arrayvision.errors import InvalidValue
from arrayvision.ops import _roi
from arrayvision.typing import Array


def border_align(input: Array, boxes: Array, pool_size: int) -> Array:
    """The maximum of bilinear samples along each border of boxes.

    Parameters
    ----------
    input : array (B, 4 * C, H, W)
        Features for the top, left, bottom and right borders, in this order.
    boxes : array (B, N, 4)
        Each image's boxes (x1, y1, x2, y2), in the features' pixels; pixel i's centre is at i. Usually N is H * W.
    pool_size : int
        A border has pool_size + 1 samples, its ends among them.

    Returns
    -------
    array (B, C, N, 4)
        For the borders in the same order; in the features' dtype.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape or value is wrong; on the CPU, if a batch index is not within [0, B).

    Notes
    -----
    H. Qiu et al., "BorderDet: Border Feature for Dense Object Detection", 2020. A sample up to one pixel outside the map
    takes the border's value, one further outside is 0. A box with a NaN or infinite coordinate gives NaN.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(9.0).reshape(1, 1, 3, 3) * np.ones((1, 4, 1, 1))
    >>> border_align(ramp, np.array([[[0, 0, 1, 2.0]]]), 2)
    array([[[[1., 6., 7., 7.]]]])
    """
    return border_align_with_argmax(input, boxes, pool_size)[0]


def border_align_with_argmax(input: Array, boxes: Array, pool_size: int) -> tuple[Array, Array]:
    """`border_align`, and what its gradient needs.

    Parameters
    ----------
    input, boxes, pool_size
        As of `border_align`.

    Returns
    -------
    pooled : array (B, C, N, 4)
        The maxima. Of equal samples the first is taken.
    argmax : array (B, C, N, 4), int32
        Which of a border's samples they are; -1 is one outside the map.

    Raises
    ------
    TypeError, ValueError
        As `border_align`.
    """
    name = "border_align"
    at = arrays(name, input=input, boxes=boxes)
    dtype, real = _roi.features(at, "input", input)
    steps = _steps(name, pool_size)
    check.shape(name, "boxes", boxes, input.shape[0], "N", 4)
    at.real(boxes=boxes)
    if input.shape[1] % 4:
        raise InvalidValue(f"{name}: input must have a multiple of 4 channels, got {input.shape[1]}")
    shape = input.shape[0], input.shape[1] // 4, boxes.shape[1], 4
    out, which = at.empty(shape, dtype), at.empty(shape, "int32")
    at.kernels("border_align").forward(*_roi.read(at, input, dtype), at.read(boxes, real), steps, out.view, which.view)
    return out.result(), which.result()


def _steps(name, pool_size):
    steps = check.integer(name, "pool_size", pool_size, 1)
    if steps > 2**16:
        raise InvalidValue(f"{name}: pool_size must be at most 65536, got {steps}")
    return steps


def border_align_backward(
    grad: Array, argmax: Array, boxes: Array, input_shape: Sequence[int], pool_size: int
) -> Array:
    """The gradient of `border_align` for its features.

    Parameters
    ----------
    grad : array (B, C, N, 4)
        The gradient of the result.
    argmax : array (B, C, N, 4)
        What `border_align_with_argmax` said.
    boxes, pool_size
        As given to it.
    input_shape : (int, int, int, int)
        The features' shape (B, 4 * C, H, W).

    Returns
    -------
    array (B, 4 * C, H, W)
        In the dtype of grad; float16 and bfloat16 are summed in float32.

    Raises
    ------
    TypeError, ValueError
        As `border_align`.
    """
    name = "border_align_backward"
    at = arrays(name, grad=grad, argmax=argmax, boxes=boxes)
    shape, steps = _roi.input_shape(name, input_shape), _steps(name, pool_size)
    check.shape(name, "boxes", boxes, shape[0], "N", 4)
    if shape[1] % 4:
        raise InvalidValue(f"{name}: input_shape must have a multiple of 4 channels, got {shape[1]}")
    check.shape(name, "grad", grad, shape[0], shape[1] // 4, boxes.shape[1], 4)
    dtype, real = _roi.features(at, "grad", grad)
    at.real(boxes=boxes)
    check.shape(name, "argmax", argmax, *grad.shape)
    argmax = at.integers("int32", argmax=argmax)
    out = at.empty(shape, dtype)
    at.kernels("border_align").backward(at.read(grad, dtype), argmax, at.read(boxes, real), steps, out.view)
    return out.result()
