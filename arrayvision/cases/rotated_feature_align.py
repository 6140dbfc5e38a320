"""Calls of `rotated_feature_align`."""

from arrayvision import ops
from arrayvision.cases import regions


def _backward(grad, features, best_rbboxes, **how):
    return (ops.rotated_feature_align_backward(grad, best_rbboxes, **how),)


def plain(features, best_rbboxes, spatial_scale, points):
    return regions.rotated_feature_align(features, best_rbboxes, spatial_scale, points)


def _case(points):
    height, width = regions.SMALL[2:]
    return regions.case(
        f"rotated_feature_align, {points}", "rotated_feature_align", plain, _backward,
        dict(spatial_scale=0.5, points=points), maps="features",
        best_rbboxes=regions.positions()[:, :height, :width], shapes=dict(best_rbboxes="B H W 5"),
    )  # fmt: skip


CASES = (_case(1), _case(5))
