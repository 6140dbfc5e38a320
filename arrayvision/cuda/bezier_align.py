"""Launches of bezier_align.cu; the functions and arguments of `cpu/bezier_align.py`."""

from arrayvision.cuda import roi_bins, runtime
from arrayvision.cuda.roi_bins import BEZIER

KERNELS = runtime.Kernels("bezier_align.cu", roi_bins.expressions(BEZIER))


def forward(x, last, rois, scale, sampling, aligned, out):
    """x (B, H, W, C) if `last` else (B, C, H, W), rois (K, 17), out (K, C, oh, ow)."""
    roi_bins.forward(KERNELS, BEZIER, x, last, rois, None, scale, sampling, aligned, False, 0.0, out)


def backward(grad, rois, scale, sampling, aligned, out):
    """Fill out (B, C, H, W) with the features' gradient."""
    roi_bins.backward(KERNELS, BEZIER, grad, rois, None, scale, sampling, aligned, False, 0.0, out)
