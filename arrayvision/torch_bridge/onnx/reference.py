"""Reference implementations of the operators of domain "mmcv", for `onnx.reference`::

    onnx.reference.ReferenceEvaluator("model.onnx", new_ops=reference.OPERATORS).run(None, {"image": image})

They are the array functions of `arrayvision.ops`, and NumPy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from arrayvision import ops

__all__ = ["OPERATORS"]  # noqa: F822  it is made when it is asked for, as it needs onnx
_FUNCTIONS: list[Callable] = []


def _entered(function):
    """An operator of the function's name: it is called with the inputs, and the attributes that the node has."""
    _FUNCTIONS.append(function)
    return function


@functools.cache
def _operators():
    try:
        from onnx.reference.op_run import OpRun
    except ImportError as error:
        raise ImportError('ONNX is not installed: pip install "arrayvision[onnx]"') from error

    def run(function):
        def _run(self, *inputs, **_):
            found = function(*inputs, **{a.name: getattr(self, a.name) for a in self.onnx_node.attribute})
            return tuple(np.ascontiguousarray(x) for x in (found if isinstance(found, tuple) else (found,)))

        return _run

    return [type(f.__name__, (OpRun,), {"op_domain": "mmcv", "_run": run(f), "__doc__": f.__doc__}) for f in _FUNCTIONS]


def __getattr__(name):
    if name == "OPERATORS":
        return _operators()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@_entered
def MMCVRoIAlign(input, rois, output_height, output_width, spatial_scale=1.0, sampling_ratio=0, mode="avg", aligned=1):
    size = output_height, output_width
    return ops.roi_align(input, rois, size, spatial_scale, sampling_ratio, mode, bool(aligned))


@_entered
def MMCVRoIAlignRotated(
    features, rois, output_height, output_width, spatial_scale=1.0, sampling_ratio=0, mode="avg", aligned=1, clockwise=0
):
    size = output_height, output_width
    return ops.roi_align_rotated(features, rois, size, spatial_scale, sampling_ratio, bool(aligned), bool(clockwise))


@_entered
def MMCVDeformRoIPool(
    input, rois, offset=None, output_height=1, output_width=1, spatial_scale=1.0, sampling_ratio=0, gamma=0.1
):
    return ops.deform_roi_pool(input, rois, offset, (output_height, output_width), spatial_scale, sampling_ratio, gamma)


@_entered
def MMCVBorderAlign(input, boxes, pool_size):
    return ops.border_align(input, boxes, pool_size)


@_entered
def MMCVCornerPool(input, mode):
    return ops.corner_pool(input, ("top", "bottom", "left", "right")[mode])


@_entered
def MMCVCARAFE(features, masks, kernel_size, group_size, scale_factor):
    return ops.carafe(features, masks, kernel_size, group_size, int(scale_factor))


@_entered
def MMCVCARAFENaive(features, masks, kernel_size, group_size, scale_factor):
    return ops.carafe_naive(features, masks, kernel_size, group_size, int(scale_factor))


@_entered
def PrRoIPool(features, rois, pooled_height, pooled_width, spatial_scale=1.0):
    return ops.prroi_pool(features, rois, (pooled_height, pooled_width), spatial_scale)


@_entered
def MMCVRotatedFeatureAlign(features, best_rbboxes, spatial_scale=1.0, points=1):
    return ops.rotated_feature_align(features, best_rbboxes, spatial_scale, points)


@_entered
def MMCVCAWeight(t, f):
    """The energies of each pixel with those of its row, then with the others of its column."""
    height = t.shape[2]
    rows = np.einsum("nchw,nchv->nvhw", t, f)
    columns = np.einsum("nchw,ncgw->nghw", t, f)
    others = [np.delete(columns[:, :, y], y, 1) for y in range(height)]
    return np.concatenate([rows, np.stack(others, 2)], 1)


@_entered
def MMCVCAMap(weight, value):
    """Values weighed in that order."""
    height, width = value.shape[2:]
    columns = np.stack([np.insert(weight[:, width:, y], y, 0, 1) for y in range(height)], 2)
    out = np.einsum("nvhw,nchv->nchw", weight[:, :width], value) + np.einsum("nghw,ncgw->nchw", columns, value)
    return out.astype(value.dtype)


@_entered
def MMCVDeformConv2d(
    input, offset, weight, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, deformable_groups=1, bias=0, im2col_step=32
):  # fmt: skip
    steps = tuple(stride), tuple(padding), tuple(dilation)
    return ops.deform_conv2d(input, offset, weight, *steps, groups, deformable_groups, bool(bias), im2col_step)


@_entered
def MMCVModulatedDeformConv2d(
    feature, offset, mask, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, deformable_groups=1
):  # fmt: skip
    steps = tuple(stride), tuple(padding), tuple(dilation)
    return ops.modulated_deform_conv2d(feature, offset, mask, weight, bias, *steps, groups, deformable_groups)


@_entered
def MMCVMaskedConv2d(features, mask, weight, bias, stride=(1, 1), padding=(0, 0)):
    if tuple(stride) != (1, 1):
        raise ValueError(f"MMCVMaskedConv2d: stride must be (1, 1), got {tuple(stride)}")
    return ops.masked_conv2d(features, mask, weight, bias, tuple(padding))


@_entered
def MMCVPSAMask(input, psa_type, mask_size):
    return ops.psa_mask(input, psa_type, tuple(mask_size))


@_entered
def NonMaxSuppression(
    boxes, scores, center_point_box=0, max_output_boxes_per_class=0, iou_threshold=0.0, score_threshold=0.0, offset=0
):
    """Rows (image, class, box), as many for each class; those that aren't found are -1."""
    if center_point_box:
        half = boxes[..., 2:] / 2
        boxes = np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], -1)
    images, classes, count = scores.shape
    most = min(max_output_boxes_per_class or count, count)
    out = np.full((images, classes, most, 3), -1, np.int32)
    for n, k in np.ndindex(images, classes):
        some = np.flatnonzero(scores[n, k] > score_threshold)
        kept = some[ops.nms(boxes[n, some], scores[n, k, some], iou_threshold, offset)[1]][:most]
        out[n, k, : len(kept)] = np.stack([np.full_like(kept, n), np.full_like(kept, k), kept], 1)
    return out.reshape(-1, 3)


@_entered
def grid_sampler(input, grid, interpolation_mode=0, padding_mode=0, align_corners=0):
    """Samples of maps (N, C, H, W) at points (N, h, w, 2) within [-1, 1], x first."""
    sizes, at = np.array(input.shape[:1:-1]), (grid + 1.0) / 2
    at = at * (sizes - 1) if align_corners else at * sizes - 0.5
    if padding_mode == 2:
        low, high = (0.0, sizes - 1.0) if align_corners else (-0.5, sizes - 0.5)
        span = np.maximum(high - low, 1e-12)
        turned = np.abs(at - low) % (2 * span)
        at = np.where(turned > span, 2 * span - turned, turned) + low
    if padding_mode:
        at = np.clip(at, 0, sizes - 1)
    x, y = np.rint(at[..., 0]) if interpolation_mode == 1 else at[..., 0], at[..., 1]
    y = np.rint(y) if interpolation_mode == 1 else y
    left, top, out = np.floor(x), np.floor(y), 0.0
    image = np.arange(len(input))[:, None, None]
    for i in (top, top + 1):
        for j in (left, left + 1):
            share = (1 - abs(y - i)) * (1 - abs(x - j))
            inside = (i >= 0) & (i < sizes[1]) & (j >= 0) & (j < sizes[0])
            row, column = (np.where(inside, k, 0).astype(np.int64) for k in (i, j))
            out = out + np.moveaxis(input[image, :, row, column] * (share * inside)[..., None], -1, 1)
    return np.asarray(out, input.dtype)


def _running(input, dim, better):
    values = better.accumulate(input, dim)
    place = np.arange(input.shape[dim]).reshape([-1 if k == dim % input.ndim else 1 for k in range(input.ndim)])
    return values, np.maximum.accumulate(np.where(input == values, place, 0), dim)


@_entered
def cummax(input, dim):
    """Running maxima, and where each is: the last of equal ones."""
    return _running(input, dim, np.maximum)


@_entered
def cummin(input, dim):
    """Running minima, and where each is: the last of equal ones."""
    return _running(input, dim, np.minimum)
