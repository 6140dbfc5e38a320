"""Calls of `riroi_align_rotated`."""

from arrayvision import ops
from arrayvision.cases import regions


def _backward(grad, features, rois, out_size, **how):
    return (ops.riroi_align_rotated_backward(grad, rois, features.shape, **how),)


_HOW = dict(out_size=(3, 2), spatial_scale=0.5, num_samples=2, num_orientations=4, clockwise=True)
CASES = (
    regions.case(
        "riroi_align_rotated", "riroi_align_rotated", regions.riroi_align_rotated, _backward, _HOW,
        maps="features", rois=regions.rotated(),
    ),
)  # fmt: skip
