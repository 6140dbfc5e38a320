"""Launches of deform_roi_pool.cu; the functions and arguments of `cpu/deform_roi_pool.py`."""

from arrayvision.cuda import roi_bins, runtime
from arrayvision.cuda.roi_bins import ALIGN, layout, sharing
from arrayvision.cuda.sums import round_sums, zero_sums
from arrayvision.cuda.types import FLOATS, c_type

KERNELS = runtime.Kernels(
    "deform_roi_pool.cu", [*roi_bins.expressions(ALIGN), *(f"offset_gradient<{T}>" for T in FLOATS)]
)


def forward(x, last, rois, offset, scale, sampling, gamma, out):
    """x (B, H, W, C) if `last` else (B, C, H, W), rois (K, 5), offset (K, 2, oh, ow) or None, out (K, C, oh, ow)."""
    roi_bins.forward(KERNELS, ALIGN, x, last, rois, offset, scale, sampling, True, False, gamma, out)


def backward(grad, x, last, rois, offset, scale, sampling, gamma, out, out_offset):
    """Fill out (B, C, H, W) with the features' gradient, out_offset (K, 2, oh, ow) with the offset's (both may be None)."""
    roi_bins.backward(KERNELS, ALIGN, grad, rois, offset, scale, sampling, True, False, gamma, out)
    if out_offset is None:
        return
    shape = layout(x, last)
    k, _, oh, ow = grad.shape
    sums, n = zero_sums(out_offset), sharing(k * oh * ow, last)
    if 0 not in shape:
        KERNELS.launch(
            f"offset_gradient<{c_type(grad)}>", n, n, k, grad, x, last, rois, offset, *shape, oh, ow, scale, sampling, gamma,
            sums,
        )  # fmt: skip
    round_sums(KERNELS, sums, out_offset)
