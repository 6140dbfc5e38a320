"""Calls of `prroi_pool`."""

from arrayvision import ops
from arrayvision.cases import regions


def _rois():
    rois = regions.upright()
    rois[-1, 3:] += 5  # without an area there is no derivative by its coordinates
    return rois[1:]


def _backward(grad, features, rois, output_size, spatial_scale):
    return ops.prroi_pool_backward(grad, features, rois, spatial_scale)


_HOW = dict(output_size=(3, 2), spatial_scale=0.5)
CASES = (
    regions.case(
        "prroi_pool", "prroi_pool", regions.prroi_pool, _backward, _HOW,
        maps="features", wrt=("features", "rois"), rois=_rois(),
    ),
)  # fmt: skip
