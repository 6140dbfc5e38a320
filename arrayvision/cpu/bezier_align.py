"""BezierAlign: bins along two cubic curves (`cpu/roi_bins.py`)."""

from arrayvision.cpu import roi_bins
from arrayvision.cpu.roi_bins import BEZIER


def forward(x, last, rois, scale, sampling, aligned, out):
    """x (B, H, W, C) if `last` else (B, C, H, W), rois (K, 17), out (K, C, oh, ow)."""
    roi_bins.forward(BEZIER, x, last, rois, None, scale, sampling, aligned, 0.0, out)


def backward(grad, rois, scale, sampling, aligned, out):
    """Fill out (B, C, H, W) with the features' gradient."""
    roi_bins.backward(BEZIER, grad, rois, None, scale, sampling, aligned, 0.0, out)
