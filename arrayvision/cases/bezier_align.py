"""Calls of `bezier_align`."""

from arrayvision import ops
from arrayvision.cases import regions


def _backward(grad, input, beziers, output_size, **how):
    return (ops.bezier_align_backward(grad, beziers, input.shape, **how),)


def _case(ratio, aligned):
    how = dict(output_size=(3, 2), spatial_scale=0.5, sampling_ratio=ratio, aligned=aligned)
    name = f"bezier_align, {ratio}"
    return regions.case(name, "bezier_align", regions.bezier_align, _backward, how, beziers=regions.curves())


CASES = (_case(2, True), _case(3, False))
