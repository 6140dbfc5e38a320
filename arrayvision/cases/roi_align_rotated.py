"""Calls of `roi_align_rotated`."""

from arrayvision import ops
from arrayvision.cases import regions


def _backward(grad, input, rois, output_size, **how):
    return (ops.roi_align_rotated_backward(grad, rois, input.shape, **how),)


def _case(ratio, aligned, clockwise):
    how = dict(output_size=(3, 2), spatial_scale=0.5, sampling_ratio=ratio, aligned=aligned, clockwise=clockwise)
    name = f"roi_align_rotated, {ratio}"
    return regions.case(name, "roi_align_rotated", regions.roi_align_rotated, _backward, how, rois=regions.rotated())


CASES = (_case(0, True, False), _case(2, False, True))
