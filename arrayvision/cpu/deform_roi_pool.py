"""Deformable RoI pooling: RoIAlign whose bins are moved (`cpu/roi_bins.py`)."""

from arrayvision.cpu import roi_bins
from arrayvision.cpu.roi_bins import Align, Moved, pooling


def _kind(offset, scale, sampling, gamma):
    return pooling(Align if offset is None else Moved, scale, sampling, True, gamma)


def forward(x, last, rois, offset, scale, sampling, gamma, out):
    """x (B, H, W, C) if `last` else (B, C, H, W), rois (K, 5), offset (K, 2, oh, ow) or None, out (K, C, oh, ow)."""
    roi_bins.forward(_kind(offset, scale, sampling, gamma), x, last, rois, offset, out)


def backward(grad, x, last, rois, offset, scale, sampling, gamma, out, out_offset):
    """Fill out (B, C, H, W) with the features' gradient, out_offset (K, 2, oh, ow) with the offset's (both may be None)."""
    moved = _kind(offset, scale, sampling, gamma)
    roi_bins.backward(moved, grad, rois, offset, out)
    if out_offset is not None:
        roi_bins.edges(moved, grad, x, last, rois, offset, out_offset)
