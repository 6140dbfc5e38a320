"""Launches of roi_pool.cu; the functions and arguments of `cpu/roi_pool.py`."""

import math

from arrayvision.cuda import runtime
from arrayvision.cuda.loops import divider, rows
from arrayvision.cuda.roi_bins import blocks, gather_maxima, laid_last, layout, maxima_expressions, tasks
from arrayvision.cuda.runtime import deterministic
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.turned import TURN
from arrayvision.cuda.types import FLOATS, SIXTEEN, c_type, together

KERNELS = runtime.Kernels(
    "roi_pool.cu",
    [
        *(f"{k}<{T}>" for k in ("pool_pixels", "spread_pixels") for T in FLOATS),
        *maxima_expressions("ChosenPixels"),
        *(f"pool_pixels_last<{T}, {v}>" for T in FLOATS for v in (1, SIXTEEN[T])),
        *TURN,
        *ROUND_SUMS,
    ],
)


def forward(x, last, rois, scale, out, which):
    """Maxima of x, (B, H, W, C) if `last` else (B, C, H, W), into out (K, C, oh, ow); `which` gets pixels, -1 for none."""
    oh, ow = out.shape[2:]
    shape, kind = layout(x, last), c_type(x)
    x, last = laid_last(KERNELS, x, last, out.shape)
    if last:
        KERNELS.launch(
            f"pool_pixels_last<{kind}, {together(shape[1], x)}>", blocks(out.shape), divider("uint32_t", ow), x, rois, *shape, oh, ow,
            scale, out, which,
        )  # fmt: skip
        return
    for n, divided, part in tasks(rois.shape[0], shape[1], oh * ow, False):
        KERNELS.launch(
            f"pool_pixels<{kind}>",
            n,
            *divided,
            x,
            rows(rois, part),
            *shape,
            oh,
            ow,
            scale,
            rows(out, part),
            rows(which, part),
        )


def backward(grad, which, rois, out):
    """Fill out (B, C, H, W) with the features' gradient."""
    if deterministic(grad):
        gather_maxima(KERNELS, "ChosenPixels", grad, which, rois, 1.0, 0, False, out)
        return
    _, channels, oh, ow = grad.shape
    batch, _, h, w = out.shape
    sums, n = zero_sums(out), math.prod(grad.shape)
    KERNELS.launch(f"spread_pixels<{c_type(grad)}>", n, n, grad, which, rois, batch, channels, h * w, oh * ow, sums)
    round_sums(KERNELS, sums, out)
