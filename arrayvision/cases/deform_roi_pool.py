"""Calls of `deform_roi_pool`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import regions


def plain(input, rois, offset, output_size, spatial_scale, sampling_ratio, gamma):
    return regions.roi_align(input, rois, output_size, spatial_scale, sampling_ratio, True, "avg", offset, gamma)


def _backward(grad, input, rois, output_size, spatial_scale, sampling_ratio, gamma, offset=None):
    found = ops.deform_roi_pool_backward(grad, input, rois, offset, spatial_scale, sampling_ratio, gamma)
    return found if offset is not None else found[:1]


_OFFSET = np.random.default_rng(0).standard_normal((6, 2, 3, 2))
_HOW = dict(output_size=(3, 2), spatial_scale=0.5, sampling_ratio=2, gamma=0.3)
CASES = (
    regions.case(
        "deform_roi_pool", "deform_roi_pool", plain, _backward, _HOW,
        wrt=("input", "offset"), rois=regions.upright()[1:], offset=_OFFSET, shapes=dict(offset="K 2 3 2"),
    ),
    regions.case(
        "deform_roi_pool, no offset", "deform_roi_pool", lambda input, rois, *how: plain(input, rois, None, *how[:-1]),
        lambda grad, **given: _backward(grad, **{**given, "offset": None}), {**_HOW, "offset": None},
        rois=regions.upright()[1:],
    ),
)  # fmt: skip
