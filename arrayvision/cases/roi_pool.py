"""Calls of `roi_pool`."""

from arrayvision import ops
from arrayvision.cases import regions


def _backward(grad, input, rois, output_size, spatial_scale):
    _, argmax = ops.roi_pool_with_argmax(input, rois, output_size, spatial_scale)
    return (ops.roi_pool_backward(grad, argmax, rois, input.shape),)


# Bins of which there are a power of two: their borders are exact in every dtype.
_HOW = dict(output_size=(4, 2), spatial_scale=0.5)
CASES = (regions.case("roi_pool", "roi_pool", regions.roi_pool, _backward, _HOW, rois=regions.upright()),)
