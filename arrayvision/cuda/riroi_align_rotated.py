"""Launches of riroi_align_rotated.cu; the functions and arguments of `cpu/riroi_align_rotated.py`."""

from arrayvision.cuda import roi_bins, runtime
from arrayvision.cuda.loops import divider
from arrayvision.cuda.roi_bins import BLOCK_CHANNELS, ROTATED, laid_last, layout, listed
from arrayvision.cuda.runtime import empty
from arrayvision.cuda.sums import round_sums
from arrayvision.cuda.types import DTYPES, FLOATS, SIXTEEN, accumulator, c_type, together

KERNELS = runtime.Kernels(
    "riroi_align_rotated.cu",
    [
        *(f"{k}<{T}>" for k in ("pool_turned", "turn_back") for T in FLOATS),
        *(f"pool_turned_last<{T}, {v}>" for T in FLOATS for v in (1, SIXTEEN[T])),
        *roi_bins.gradient_expressions(ROTATED, ("float", "double")),
    ],
)


def forward(x, last, rois, scale, samples, orientations, clockwise, out):
    """Pool x, (B, H, W, C) if `last` else (B, C, H, W), into out (K, C, oh, ow)."""
    k, channels, oh, ow = out.shape
    shape = layout(x, last)
    x, last = laid_last(KERNELS, x, last, out.shape)
    own = BLOCK_CHANNELS // orientations * orientations  # channels of a block, in whole groups
    dividers = listed(shape, out.shape, samples) if last and own else None
    if dividers is not None:
        each = together(channels, x)
        KERNELS.launch(
            f"pool_turned_last<{c_type(x)}, {each if own % each == 0 else 1}>", (k, -(-channels // own)), own,
            divider("uint32_t", orientations), *dividers, x, rois, *shape, oh, ow, scale, samples, clockwise, out,
        )  # fmt: skip
        return
    n = k * channels * oh * ow
    KERNELS.launch(
        f"pool_turned<{c_type(x)}>", n, n, x, last, rois, *shape, oh, ow, scale, samples, orientations, clockwise, out
    )


def backward(grad, rois, scale, samples, orientations, clockwise, out):
    """Fill out (B, C, H, W) with the features' gradient."""
    _, channels, oh, ow = grad.shape
    kind = accumulator(c_type(grad))
    turned = empty(grad, grad.shape, DTYPES[kind])
    count, all_numbers = grad.shape[0], channels * oh * ow
    KERNELS.launch(
        f"turn_back<{c_type(grad)}>", (count, min(-(-all_numbers // 2048), 65535)), all_numbers, divider("uint32_t", oh * ow),
        divider("uint32_t", orientations), grad, rois, out.shape[0], turned,
    )  # fmt: skip
    sums = out if kind == c_type(out) else empty(out, out.shape, DTYPES[kind])
    roi_bins.backward(KERNELS, ROTATED, turned, rois, None, scale, samples, False, clockwise, 0.0, sums)
    round_sums(KERNELS, sums, out)
