"""Precise RoI pooling: exact averages of the bilinear surface (`cpu/roi_bins.py`)."""

import numpy as np

from arrayvision.cpu import roi_bins
from arrayvision.cpu.roi_bins import Precise, pooling


def forward(x, last, rois, scale, out):
    """x (B, H, W, C) if `last` else (B, C, H, W), rois (K, 5), out (K, C, oh, ow)."""
    roi_bins.forward(pooling(Precise, scale), x, last, rois, None, out)


def backward(grad, x, last, rois, scale, out, out_rois):
    """Fill out (B, C, H, W) with the features' gradient and out_rois (K, 5) with the regions'."""
    roi_bins.backward(pooling(Precise, scale), grad, rois, None, out)
    k, _, oh, ow = grad.shape
    edges = np.zeros((k, 4, oh, ow), grad.dtype)
    roi_bins.edges(pooling(Precise, scale), grad, x, last, rois, None, edges)
    with np.errstate(over="ignore", invalid="ignore"):
        by_corner(edges, scale, out_rois)


def by_corner(edges, scale, out_rois):
    """Sum bins' gradients by their edges to the regions' by their corners."""
    oh, ow = edges.shape[2:]
    share_y, share_x = (np.arange(n + 1, dtype=edges.dtype) / max(n, 1) for n in (oh, ow))
    top, bottom, left, right = edges.transpose(1, 0, 2, 3)
    top, bottom, left, right = top.sum(2), bottom.sum(2), left.sum(1), right.sum(1)
    out_rois[:, 0] = 0
    out_rois[:, 1] = (left * (1 - share_x[:-1]) + right * (1 - share_x[1:])).sum(1) * scale
    out_rois[:, 2] = (top * (1 - share_y[:-1]) + bottom * (1 - share_y[1:])).sum(1) * scale
    out_rois[:, 3] = (left * share_x[:-1] + right * share_x[1:]).sum(1) * scale
    out_rois[:, 4] = (top * share_y[:-1] + bottom * share_y[1:]).sum(1) * scale
