"""Rotation-invariant RoIAlign: rotated RoIAlign, then each group of orientation channels turned by the region's angle."""

import numpy as np

from arrayvision.cpu import kernel, roi_align_rotated
from arrayvision.cpu.threads import claim, parallel_for


@kernel
def turn_some(x, rois, orientations, back, out, turn, grain, n):
    """out[k, c, o] = (1 - f) x[k, c, o - i] + f x[k, c, o - i + 1], i and f the whole part and the rest of the angle in
    orientations; `back`, the transposed map. x and out (K, C * orientations, bins)."""
    start = claim(turn, grain)
    while start < n:
        for r in range(start, min(start + grain, n)):
            turns = np.float64(rois[r, 5]) * orientations / (2 * np.pi)
            if not np.isfinite(turns):
                out[r] = np.nan
                continue
            whole = np.floor(turns)
            f = x.dtype.type(turns - whole)
            g, shift = 1 - f, int(whole % orientations)
            for c in range(0, x.shape[1], orientations):
                for o in range(orientations):
                    if back:
                        p, q = (o + shift) % orientations, (o + shift - 1) % orientations
                    else:
                        p, q = (o - shift) % orientations, (o - shift + 1) % orientations
                    a, b, to = x[r, c + p], x[r, c + q], out[r, c + o]
                    for k in range(to.shape[0]):
                        to[k] = g * a[k] + f * b[k]
        start = claim(turn, grain)


def _turn(x, rois, orientations, back, out):
    k, channels, oh, ow = x.shape
    parallel_for(
        turn_some, k, max(1, 50_000 // max(channels * oh * ow, 1)),
        x.reshape(k, channels, oh * ow), rois, orientations, back, out.reshape(k, channels, oh * ow),
        cost=channels * oh * ow,
    )  # fmt: skip


def forward(x, last, rois, scale, samples, orientations, clockwise, out):
    """Pool x, (B, H, W, C) if `last` else (B, C, H, W), into out (K, C, oh, ow)."""
    pooled = np.empty_like(out)
    roi_align_rotated.forward(x, last, rois, scale, samples, False, clockwise, pooled)
    if out.size:
        _turn(pooled, rois, orientations, False, out)


def backward(grad, rois, scale, samples, orientations, clockwise, out):
    """Fill out (B, C, H, W) with the features' gradient."""
    turned = np.empty(grad.shape, grad.dtype)
    if grad.size:
        _turn(grad, rois, orientations, True, turned)
    turned.flags.writeable = False
    roi_align_rotated.backward(turned, rois, scale, samples, False, clockwise, out)
