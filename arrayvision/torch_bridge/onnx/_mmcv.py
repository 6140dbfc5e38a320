"""The operators of the older convention, domain "mmcv", by the names, attributes and inputs that runtimes know them by."""

from __future__ import annotations

from collections.abc import Callable

import torch

from arrayvision.ops.corner_pool import MODES
from arrayvision.torch_bridge.onnx._boxes import LOWEST, by_score
from arrayvision.torch_bridge.onnx._filters import _size
from arrayvision.torch_bridge.onnx._pooling import no_choice
from arrayvision.torch_bridge.onnx._table import TRANSLATIONS, anew, choose, count, greatest, node, translation

NAMES: dict[str, str] = {}  # an operator's form in this domain, for the docs


def mmcv(name: str, kinds: str) -> Callable:
    """Enter a translation of this domain."""
    NAMES[name] = kinds
    return translation(name, kinds, "mmcv")


def _regions(size, scale, ratio, **more):
    return dict(output_height=size[0], output_width=size[1], spatial_scale=scale, sampling_ratio=ratio, **more)


def _pooled(kind, inputs, rois, size, attributes):
    return node(f"mmcv::{kind}", inputs, attributes, (rois.shape[0], inputs[0].shape[1], *size))


@mmcv("roi_align", "MMCVRoIAlign")
def roi_align(input, rois, size, scale, ratio, aligned):
    attributes = _regions(size, scale, ratio, mode="avg", aligned=int(aligned))
    return _pooled("MMCVRoIAlign", (input, rois), rois, size, attributes)


@mmcv("roi_align_max", "MMCVRoIAlign")
def roi_align_max(input, rois, size, scale, ratio, aligned):
    attributes = _regions(size, scale, ratio, mode="max", aligned=int(aligned))
    found = _pooled("MMCVRoIAlign", (input, rois), rois, size, attributes)
    return found, no_choice(found)


@mmcv("roi_align_rotated", "MMCVRoIAlignRotated")
def roi_align_rotated(input, rois, size, scale, ratio, aligned, clockwise):
    attributes = _regions(size, scale, ratio, mode="avg", aligned=int(aligned), clockwise=int(clockwise))
    return _pooled("MMCVRoIAlignRotated", (input, rois), rois, size, attributes)


@mmcv("deform_roi_pool", "MMCVDeformRoIPool")
def deform_roi_pool(input, offset, rois, size, scale, ratio, gamma):
    inputs = (input, rois) if offset is None else (input, rois, offset)
    return _pooled("MMCVDeformRoIPool", inputs, rois, size, _regions(size, scale, ratio, gamma=gamma))


@mmcv("border_align", "MMCVBorderAlign")
def border_align(input, boxes, steps):
    shape = input.shape[0], input.shape[1] // 4, boxes.shape[1], 4
    found = node("mmcv::MMCVBorderAlign", (input, boxes), dict(pool_size=steps), shape)
    return found, no_choice(found)


@mmcv("corner_pool", "MMCVCornerPool")
def corner_pool(input, mode):
    return node("mmcv::MMCVCornerPool", (input,), dict(mode=MODES.index(mode)), input.shape)


@mmcv("prroi_pool", "PrRoIPool")
def prroi_pool(features, rois, size, scale):
    attributes = dict(pooled_height=size[0], pooled_width=size[1], spatial_scale=scale)
    return _pooled("PrRoIPool", (features, rois), rois, size, attributes)


@mmcv("rotated_feature_align", "MMCVRotatedFeatureAlign")
def rotated_feature_align(input, boxes, scale, points):
    attributes = dict(spatial_scale=scale, points=points)
    return node("mmcv::MMCVRotatedFeatureAlign", (input, boxes), attributes, input.shape)


def _reassembled(kind, features, masks, kernel_size, group_size, scale_factor):
    images, channels, height, width = features.shape
    attributes = dict(kernel_size=kernel_size, group_size=group_size, scale_factor=float(scale_factor))
    shape = images, channels, height * scale_factor, width * scale_factor
    return node(f"mmcv::{kind}", (features, masks), attributes, shape)


@mmcv("carafe", "MMCVCARAFE")
def carafe(features, masks, kernel_size, group_size, scale_factor):
    return _reassembled("MMCVCARAFE", features, masks, kernel_size, group_size, scale_factor)


@mmcv("carafe_naive", "MMCVCARAFENaive")
def carafe_naive(features, masks, kernel_size, group_size, scale_factor):
    return _reassembled("MMCVCARAFENaive", features, masks, kernel_size, group_size, scale_factor)


@mmcv("criss_cross_attention", "MMCVCAWeight, Softmax, MMCVCAMap")
def criss_cross_attention(query, key, value):
    images, _, height, width = value.shape
    energies = node("mmcv::MMCVCAWeight", (query, key), {}, (images, height + width - 1, height, width))
    out = node("mmcv::MMCVCAMap", (energies.softmax(1), value), {}, value.shape)
    return out, energies.logsumexp(1)


@mmcv("deform_conv2d", "MMCVDeformConv2d")
def deform_conv2d(input, offset, weight, stride, padding, dilation, groups, deform_groups):
    attributes = dict(
        stride=list(stride), padding=list(padding), dilation=list(dilation), groups=groups or 1,
        deformable_groups=deform_groups or 1, bias=0, im2col_step=32,
    )  # fmt: skip
    shape = input.shape[0], weight.shape[0], *_size(input, weight, stride, padding, dilation)
    return node("mmcv::MMCVDeformConv2d", (input, offset, weight), attributes, shape)


@mmcv("modulated_deform_conv2d", "MMCVModulatedDeformConv2d")
def modulated_deform_conv2d(
    input, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups
):  # fmt: skip
    attributes = dict(
        stride=list(stride), padding=list(padding), dilation=list(dilation), groups=groups or 1,
        deformable_groups=deform_groups or 1,
    )  # fmt: skip
    shape = input.shape[0], weight.shape[0], *_size(input, weight, stride, padding, dilation)
    inputs = (input, offset, mask, weight) if bias is None else (input, offset, mask, weight, bias)
    return node("mmcv::MMCVModulatedDeformConv2d", inputs, attributes, shape)


@mmcv("masked_conv2d", "MMCVMaskedConv2d")
def masked_conv2d(features, mask, weight, bias, padding):
    shape = features.shape[0], weight.shape[0], *_size(features, weight, (1, 1), padding, (1, 1))
    bias = features.new_zeros(weight.shape[0]) if bias is None else bias
    attributes = dict(stride=[1, 1], padding=list(padding))
    return node("mmcv::MMCVMaskedConv2d", (features, mask, weight, bias), attributes, shape)


@mmcv("psa_mask", "MMCVPSAMask")
def psa_mask(input, kind, mask_size):
    height, width = input.shape[2:]
    attributes = dict(psa_type=0 if kind == "collect" else 1, mask_size=list(mask_size))
    return node("mmcv::MMCVPSAMask", (input,), attributes, (input.shape[0], height * width, height, width))


def _suppressed(boxes, scores, iou_threshold, offset, score_threshold, max_num):
    """The indices of kept boxes, class by class: the operator fills with -1 what it doesn't find."""
    attributes = dict(
        center_point_box=0, max_output_boxes_per_class=max(max_num, 0), iou_threshold=iou_threshold,
        score_threshold=score_threshold if score_threshold > 0 else LOWEST, offset=offset,
    )  # fmt: skip
    number = boxes.shape[0] if max_num <= 0 else torch.sym_min(boxes.shape[0], max_num)
    inputs = boxes[None].float(), scores[None].float()
    shape = scores.shape[0] * number, 3
    found = node("mmcv::NonMaxSuppression", inputs, attributes, shape, torch.int32)[:, 2].long()
    return found[(found >= 0).nonzero()[:, 0]]


@mmcv("nms", "NonMaxSuppression")
def nms(boxes, scores, iou_threshold, offset, score_threshold, max_num):
    return _suppressed(boxes, scores[None], iou_threshold, offset, score_threshold, max_num)


@mmcv("batched_nms", "NonMaxSuppression")
def batched_nms(boxes, scores, idxs, kind, numbers, method, class_agnostic, max_num):
    iou_threshold, offset, score_threshold, *_ = numbers
    if kind != "nms":
        return TRANSLATIONS[""]["batched_nms"](
            boxes, scores, idxs, kind, numbers, method, class_agnostic, max_num
        )  # fmt: skip
    if class_agnostic or idxs is None:
        inds = nms(boxes, scores, iou_threshold, int(offset), score_threshold, max_num)
        return scores[inds], inds
    own = idxs.long()
    own = own - torch.cat([own, own.new_zeros(1)]).min()
    rows = choose(count(greatest(own + 1), boxes)[:, None] == own, scores, -torch.inf)
    inds = by_score(scores, _suppressed(boxes, rows, iou_threshold, int(offset), score_threshold, -1))
    inds = anew(inds[:max_num]) if max_num > 0 else inds
    return scores[inds], inds


def torch_translations() -> dict[Callable, Callable]:
    """torch's own operators that the convention names: for `custom_translation_table`."""
    from onnx.defs import OpSchema
    from onnxscript.values import Op, Opset

    kind, domain = OpSchema.FormalParameter, Opset("mmcv", 1)
    floats = ["tensor(float16)", "tensor(float)", "tensor(double)"]

    def operator(name, inputs, outputs, attributes):
        schema = OpSchema(
            name, "mmcv", 1,
            inputs=[kind(n, "T") for n in inputs],
            outputs=[kind(n, "I" if n == "indices" else "T") for n in outputs],
            type_constraints=[("T", floats, ""), ("I", ["tensor(int64)"], "")],
            attributes=[OpSchema.Attribute(n, OpSchema.AttrType.INT) for n in attributes],
        )  # fmt: skip
        return Op(domain, name, schema)

    how = ["interpolation_mode", "padding_mode", "align_corners"]
    samples = operator("grid_sampler", ["input", "grid"], ["output"], how)
    maxima, minima = (operator(name, ["input"], ["output", "indices"], ["dim"]) for name in ("cummax", "cummin"))

    def grid_sampler(input, grid, interpolation_mode: int = 0, padding_mode: int = 0, align_corners: bool = False):
        return samples(
            input, grid, interpolation_mode=interpolation_mode, padding_mode=padding_mode,
            align_corners=int(align_corners),
        )  # fmt: skip

    def cummax(self, dim: int):
        return maxima(self, dim=dim)

    def cummin(self, dim: int):
        return minima(self, dim=dim)

    aten = torch.ops.aten
    return {
        aten.grid_sampler_2d.default: grid_sampler,
        aten.grid_sampler.default: grid_sampler,
        aten.cummax.default: cummax,
        aten.cummin.default: cummin,
    }
