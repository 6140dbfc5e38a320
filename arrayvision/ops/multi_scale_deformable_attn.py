"""Multi-scale deformable attention: weighted sums of samples of several levels' maps."""

from __future__ import annotations

import numpy as np

from arrayvision import check
from arrayvision.array import arrays, replay
from arrayvision.typing import Array


def multi_scale_deformable_attn(
    value: Array,
    value_spatial_shapes: Array,
    sampling_locations: Array,
    attention_weights: Array,
    value_level_start_index: Array | None = None,
) -> Array:
    """Let each query sum what its heads sample of the maps of several levels.

    Parameters
    ----------
    value : array (B, S, heads, channels)
        The maps' pixels, level after level, row by row.
    value_spatial_shapes : array (L, 2)
        (height, width) of each level, as integers. All levels have S pixels together.
    sampling_locations : array (B, Q, heads, L, P, 2)
        Where to sample each level, P points for each query and head: (x, y) as shares of the map's width and height, so
        that (0, 0) is its upper left corner and (1, 1) its lower right one.
    attention_weights : array (B, Q, heads, L, P)
        What each sample counts.
    value_level_start_index : array (L,), optional
        Where each level's pixels begin; one behind another without it.

    Returns
    -------
    array (B, Q, heads * channels)
        In the dtype of value (float16 and bfloat16 are computed in float32); locations and weights may have another.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong; on the CPU, if the levels don't have S pixels, or one is not within them.

    Notes
    -----
    X. Zhu et al., "Deformable DETR: Deformable Transformers for End-to-End Object Detection", 2021. Samples are bilinear, with
    pixels' centres at halves, and the map is 0 outside. A sample further than a pixel outside is 0, and so is one whose
    location is NaN or infinite; a NaN among the weights gives NaN elsewhere. A pixel that has no share in a sample doesn't
    count, whatever it holds. On a GPU, whose values aren't looked at, a level that is not within the S pixels is 0.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(4.0).reshape(1, 4, 1, 1)  # one level of 2 x 2 pixels, one head, one channel
    >>> centre = np.full((1, 1, 1, 1, 1, 2), 0.5)
    >>> multi_scale_deformable_attn(ramp, np.array([[2, 2]]), centre, np.ones((1, 1, 1, 1, 1)))
    array([[[1.5]]])
    """
    given = value, value_spatial_shapes, sampling_locations, attention_weights, value_level_start_index
    return replay(_attention, given)


def _attention(value, value_spatial_shapes, sampling_locations, attention_weights, value_level_start_index):
    at, dtype, read = _checked(
        "multi_scale_deformable_attn", None, value, value_spatial_shapes, sampling_locations, attention_weights,
        value_level_start_index,
    )  # fmt: skip
    batch, queries = attention_weights.shape[:2]
    out = at.empty((batch, queries, value.shape[2] * value.shape[3]), dtype)
    at.kernels("multi_scale_deformable_attn").forward(*read, out.view)
    return out.result()


def multi_scale_deformable_attn_backward(
    grad: Array,
    value: Array,
    value_spatial_shapes: Array,
    sampling_locations: Array,
    attention_weights: Array,
    value_level_start_index: Array | None = None,
) -> tuple[Array, Array, Array]:
    """The gradients of `multi_scale_deformable_attn` for its value, locations and weights.

    Parameters
    ----------
    grad : array (B, Q, heads * channels)
        The gradient of the result.
    value, value_spatial_shapes, sampling_locations, attention_weights, value_level_start_index
        As given to `multi_scale_deformable_attn`.

    Returns
    -------
    for_value : array (B, S, heads, channels)
        In the dtype of grad.
    for_locations, for_weights : arrays of their shapes
        In the dtype of grad, in float32 beside a 16-bit one.

    Raises
    ------
    TypeError, ValueError
        As `multi_scale_deformable_attn`.

    Notes
    -----
    Where a sample lies on a row or column of pixels' centres, its value is not smooth: for the location, it is the derivative
    towards greater coordinates. Samples that count as 0 have no gradient.
    """
    at, dtype, read = _checked(
        "multi_scale_deformable_attn_backward", grad, value, value_spatial_shapes, sampling_locations, attention_weights,
        value_level_start_index,
    )  # fmt: skip
    real = at.accumulator(dtype)
    out = at.empty(tuple(value.shape), dtype)
    moved = [at.empty(tuple(x.shape), real) for x in (sampling_locations, attention_weights)]
    at.kernels("multi_scale_deformable_attn").backward(at.read(grad, dtype), *read, out.view, *(x.view for x in moved))
    return out.result(), moved[0].result(), moved[1].result()


def _checked(name, grad, value, shapes, locations, weights, starts):
    """The arrays of a call, the dtype to compute in, and what the kernels see of all but `grad`."""
    at = arrays(
        name, value=value, value_spatial_shapes=shapes, sampling_locations=locations, attention_weights=weights,
        value_level_start_index=starts, grad=grad,
    )  # fmt: skip
    n = at.sizes(
        value="B S M D", value_spatial_shapes="L 2", sampling_locations="B Q M L P 2", attention_weights="B Q M L P",
        value_level_start_index="L ?",
    )  # fmt: skip
    dtype = at.floats(value=value) if grad is None else at.floats(grad=grad)
    at.real(value=value, sampling_locations=locations, attention_weights=weights)
    if grad is not None:
        check.shape(name, "grad", grad, n.B, n.Q, n.M * n.D)
    at.require(n.S < 2**31, f"value must have fewer than 2**31 pixels, got {n.S}")
    sizes = at.integers(least=0, value_spatial_shapes=shapes)
    begins = None if starts is None else at.integers(least=0, value_level_start_index=starts)
    if at.backend == "cpu":
        pixels = [int(h) * int(w) for h, w in sizes]
        at.require(
            sum(pixels) == n.S and max(map(int, np.reshape(sizes, -1)), default=0) < 2**31,
            f"value_spatial_shapes must have as many pixels as value, {n.S}, got {sum(pixels)}",
        )
        if begins is not None:
            for level, (begin, size) in enumerate(zip(map(int, begins), pixels, strict=True)):
                at.require(
                    begin + size <= n.S,
                    f"value_level_start_index must leave each level within value's {n.S} pixels, got {begin} for level {level} "
                    f"of {size}",
                )
    real = at.accumulator(dtype)
    return at, dtype, (at.read(value, dtype), sizes, begins, at.read(locations, real), at.read(weights, real))
