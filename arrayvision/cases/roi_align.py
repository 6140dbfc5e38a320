"""Calls of `roi_align`."""

from arrayvision import ops
from arrayvision.cases import regions


def plain(input, rois, output_size, spatial_scale, sampling_ratio, pool_mode, aligned):
    return regions.roi_align(input, rois, output_size, spatial_scale, sampling_ratio, aligned, pool_mode)


def _backward(grad, input, rois, output_size, spatial_scale, sampling_ratio, pool_mode, aligned):
    how = spatial_scale, sampling_ratio, aligned
    if pool_mode == "avg":
        return (ops.roi_align_backward(grad, rois, input.shape, *how),)
    _, argmax = ops.roi_align_with_argmax(input, rois, output_size, *how)
    return (ops.roi_align_max_backward(grad, argmax, rois, input.shape, *how),)


def _case(mode, ratio, aligned):
    how = dict(output_size=(3, 2), spatial_scale=0.5, sampling_ratio=ratio, pool_mode=mode, aligned=aligned)
    name = f"roi_align, {mode}, {ratio}"
    times = "any" if mode == "avg" else "once"
    return regions.case(name, "roi_align", plain, _backward, how, rois=regions.upright(), derivatives=times)


CASES = (_case("avg", 0, True), _case("avg", 2, False), _case("max", 2, True))
