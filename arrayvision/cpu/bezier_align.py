"""BezierAlign: bins along two cubic curves (`cpu/roi_bins.py`)."""

from arrayvision.cpu import roi_bins
from arrayvision.cpu.roi_bins import Bezier, pooling


def forward(x, last, rois, scale, sampling, aligned, out):
    """x (B, H, W, C) if `last` else (B, C, H, W), rois (K, 17), out (K, C, oh, ow)."""
    roi_bins.forward(pooling(Bezier, scale, sampling, aligned), x, last, rois, None, out)


def backward(grad, rois, scale, sampling, aligned, out):
    """Fill out (B, C, H, W) with the features' gradient."""
    roi_bins.backward(pooling(Bezier, scale, sampling, aligned), grad, rois, None, out)
