"""Launches of prroi_pool.cu; the functions and arguments of `cpu/prroi_pool.py`."""

from arrayvision.cuda import roi_bins, runtime
from arrayvision.cuda.roi_bins import PRECISE, layout, sharing
from arrayvision.cuda.runtime import zeros
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, c_type

KERNELS = runtime.Kernels(
    "prroi_pool.cu",
    [*roi_bins.expressions(PRECISE), *(f"{k}<{T}>" for k in ("edge_gradient", "roi_gradient") for T in FLOATS)],
)


def forward(x, last, rois, scale, out):
    """x (B, H, W, C) if `last` else (B, C, H, W), rois (K, 5), out (K, C, oh, ow)."""
    roi_bins.forward(KERNELS, PRECISE, x, last, rois, None, scale, 0, True, False, 0.0, out)


def backward(grad, x, last, rois, scale, out, out_rois):
    """Fill out (B, C, H, W) with the features' gradient and out_rois (K, 5) with the regions'."""
    roi_bins.backward(KERNELS, PRECISE, grad, rois, None, scale, 0, True, False, 0.0, out)
    k, _, oh, ow = grad.shape
    kind, shape = c_type(grad), layout(x, last)
    edges = zeros(grad, (k, 4, oh, ow), DTYPES[accumulator(kind)])
    if 0 not in shape:
        n = sharing(k * oh * ow, last)
        KERNELS.launch(f"edge_gradient<{kind}>", n, n, k, grad, x, last, rois, *shape, oh, ow, scale, edges)
    KERNELS.launch(f"roi_gradient<{kind}>", k, k, edges, oh, ow, scale, out_rois)
