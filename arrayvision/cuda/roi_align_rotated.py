"""Launches of roi_align_rotated.cu; the functions and arguments of `cpu/roi_align_rotated.py`."""

from arrayvision.cuda import roi_bins, runtime
from arrayvision.cuda.roi_bins import ROTATED

KERNELS = runtime.Kernels("roi_align_rotated.cu", roi_bins.expressions(ROTATED))


def forward(x, last, rois, scale, sampling, aligned, clockwise, out):
    """Pool features x, (B, H, W, C) if `last` else (B, C, H, W), into out (K, C, oh, ow); rois (K, 6)."""
    roi_bins.forward(KERNELS, ROTATED, x, last, rois, None, scale, sampling, aligned, clockwise, 0.0, out)


def backward(grad, rois, scale, sampling, aligned, clockwise, out):
    """Fill out (B, C, H, W) with the features' gradient."""
    roi_bins.backward(KERNELS, ROTATED, grad, rois, None, scale, sampling, aligned, clockwise, 0.0, out)
