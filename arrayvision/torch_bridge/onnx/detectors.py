"""Detectors of mmdet 3 as functions of an image, which `torch.export` can record::

    torch.onnx.export(detectors.Detector(model).eval(), (image,), dynamo=True)

Between its layers, mmdet asks how many boxes there are and takes another way if there are none, and it counts with tensors
that hold the sizes of maps. Neither can be recorded. While a `Detector` runs, what does so is replaced by functions that give
the same and don't ask.
"""

from __future__ import annotations

import contextlib
import sys

import torch
from torch import Tensor, nn

from arrayvision.torch_bridge.ops import batched_nms

__all__ = ["Detector"]


class Detector(nn.Module):
    """A detector of mmdet 3, from an image to its boxes.

    Parameters
    ----------
    model : mmdet.models.BaseDetector
        One of a single stage whose head selects boxes as mmdet's `BaseDenseHead` does (RetinaNet, FCOS, ATSS, RTMDet ...),
        a Faster or Cascade R-CNN, or a Deformable DETR; without masks.

    Notes
    -----
    The functions of mmdet that are replaced while it runs are so for all threads of the process.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the model predicts for an image.

        Parameters
        ----------
        image : Tensor (1, 3, H, W)
            As the model's `data_preprocessor` gives it: normalized, and of a size that the model takes.

        Returns
        -------
        boxes : Tensor (K, 4), or (K, 5) of rotated ones
            In pixels of the image.
        scores : Tensor (K,)
            Falling.
        labels : Tensor (K,), int64
        """
        from mmdet.structures import DetDataSample

        size = _Size(image.shape[2:])
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size))
        with _recordable():
            (sample,) = self.model.predict(image, [sample], rescale=False)
        found = sample.pred_instances
        return found.bboxes, found.scores, found.labels


class _Size(tuple):
    """A size in the description of an image, which mmdet copies again and again; numbers that aren't known can't be."""

    def __deepcopy__(self, memo):
        return self


@contextlib.contextmanager
def _recordable():
    """mmdet whose predictions can be recorded."""
    from mmdet.models import detectors
    from mmdet.models.dense_heads import base_dense_head, rpn_head
    from mmdet.models.layers.transformer import deformable_detr_layers
    from mmdet.models.roi_heads import bbox_heads, roi_extractors
    from mmengine.structures import BaseDataElement, InstanceData

    sizes: list[tuple] = []  # of the levels, in numbers

    def shape_as_tensor(x):
        sizes.append(tuple(x.shape[2:]))
        return torch.stack([torch.full((), n, dtype=torch.int64, device=x.device) for n in x.shape])

    def told_sizes(function, at):
        """The function, with numbers for the argument that holds the sizes of levels in a tensor."""

        def call(*args, **kwargs):
            args = [*args]
            args[at] = sizes[-args[at].shape[0] :]
            return function(*args, **kwargs)

        return call

    encoder, deformable = deformable_detr_layers.DeformableDetrTransformerEncoder, detectors.DeformableDETR
    points = staticmethod(told_sizes(encoder.get_encoder_reference_points, 0))
    proposals = told_sizes(deformable.gen_encoder_output_proposals, 3)
    store = BaseDataElement.__setattr__
    with contextlib.ExitStack() as stack:

        def replace(owner, **values):
            for name, value in values.items():
                if name in vars(owner):
                    stack.callback(setattr, owner, name, vars(owner)[name])
                else:
                    stack.callback(delattr, owner, name)
                setattr(owner, name, value)

        replace(InstanceData, __setattr__=store, __setitem__=store, __getitem__=_some)
        replace(base_dense_head.BaseDenseHead, _bbox_post_process=_selected)
        replace(rpn_head.RPNHead, _predict_by_feat_single=_proposed)
        replace(bbox_heads.BBoxHead, _predict_by_feat_single=_classified)
        replace(roi_extractors.SingleRoIExtractor, forward=_pooled)
        replace(encoder, get_encoder_reference_points=points)
        replace(deformable, gen_encoder_output_proposals=proposals)
        replace(torch, _shape_as_tensor=shape_as_tensor, linspace=_linspace)
        # While an ONNX graph is made, mmdet takes ways of its own, which import what it no longer has.
        replace(torch.onnx, is_in_onnx_export=lambda: False)
        for name, module in [*sys.modules.items()]:
            if name.startswith("mmdet.models."):
                replace(module, len=_length)
                if "filter_scores_and_topk" in vars(module):
                    replace(module, filter_scores_and_topk=_filter_scores_and_topk)
        yield


def _length(x):
    """`len`, which a size that only the runtime knows may be."""
    return x.shape[0] if isinstance(x, Tensor) else len(x)


_TORCH_LINSPACE = torch.linspace


def _linspace(start, end, steps, **options):
    """`torch.linspace`, of a number of steps that need not be known."""
    if isinstance(steps, int):
        return _TORCH_LINSPACE(start, end, steps, **options)
    return torch.arange(steps, **options) * ((end - start) / (steps - 1)) + start


def _some(self, rows):
    """`InstanceData.__getitem__` of rows, which doesn't ask how many there are."""
    if isinstance(rows, str):
        return getattr(self, rows)
    found = self.__class__(metainfo=self.metainfo)
    for name, values in self.items():
        found[name] = values[rows]
    return found


def _filter_scores_and_topk(scores, score_thr, topk, results=None):
    """The best of a level's scores (N, classes), each with its label; those too low at -inf, for they are left out at the end."""
    classes = scores.shape[1]
    best, order = torch.where(scores > score_thr, scores, -torch.inf).reshape(-1).sort(descending=True)
    if topk > 0:
        most = torch.sym_min(topk, best.shape[0])
        best, order = best[:most], order[:most]
    rows, labels = order // classes, order % classes
    if isinstance(results, dict):
        results = {name: values[rows] for name, values in results.items()}
    elif results is not None:
        results = [values[rows] for values in results] if isinstance(results, list) else results[rows]
    return best, labels, rows, results


def _kept(results, kinds, cfg):
    """Of detections, those that are no smaller than wanted and that suppression leaves."""
    from mmdet.structures.bbox import get_box_tensor, get_box_wh

    fine = results.scores > -torch.inf
    if cfg.get("min_bbox_size", -1) >= 0:
        width, height = get_box_wh(results.bboxes)
        fine = fine & (width > cfg.min_bbox_size) & (height > cfg.min_bbox_size)
    results = results[fine.nonzero()[:, 0]]
    dets, inds = batched_nms(
        get_box_tensor(results.bboxes), results.scores, results[kinds], {**cfg.nms, "max_num": cfg.max_per_img}
    )
    results = results[inds]
    results.scores = dets[:, -1]
    return results


def _selected(self, results, cfg, rescale=False, with_nms=True, img_meta=None):
    """`BaseDenseHead._bbox_post_process`."""
    if "score_factors" in results:
        results.scores = results.scores * results.pop("score_factors")
    return _kept(results, "labels", cfg)


def _proposed(self, cls_score_list, bbox_pred_list, score_factor_list, mlvl_priors, img_meta, cfg=None, **_):
    """`RPNHead._predict_by_feat_single`."""
    from mmdet.structures.bbox import cat_boxes
    from mmengine.structures import InstanceData

    cfg = self.test_cfg if cfg is None else cfg
    found = []
    for level, (scores, deltas, boxes) in enumerate(zip(cls_score_list, bbox_pred_list, mlvl_priors, strict=True)):
        scores = scores.permute(1, 2, 0).reshape(-1, self.cls_out_channels)
        scores = scores.sigmoid() if self.use_sigmoid_cls else scores.softmax(-1)[:, :-1]
        deltas = deltas.permute(1, 2, 0).reshape(-1, self.bbox_coder.encode_size)
        scores, _, _, (deltas, boxes) = _filter_scores_and_topk(scores, -1, cfg.get("nms_pre", -1), [deltas, boxes])
        found.append((scores, deltas, boxes, torch.full_like(scores, level, dtype=torch.int64)))
    scores, deltas, boxes, levels = zip(*found, strict=True)
    results = InstanceData()
    results.bboxes = self.bbox_coder.decode(cat_boxes(boxes), torch.cat(deltas), max_shape=img_meta["img_shape"])
    results.scores, results.level_ids = torch.cat(scores), torch.cat(levels)
    results = _kept(results, "level_ids", cfg)
    size = results.scores.shape[0]
    if not isinstance(size, int):
        torch._check(size >= 1)  # what is recorded is the way of images that have a region
    results.labels = torch.zeros_like(results.scores, dtype=torch.int64)
    del results.level_ids
    return results


def _classified(self, roi, cls_score, bbox_pred, img_meta, rescale=False, rcnn_test_cfg=None):
    """`BBoxHead._predict_by_feat_single`."""
    from mmdet.structures.bbox import get_box_tensor
    from mmengine.structures import InstanceData

    cfg = rcnn_test_cfg
    scores = self.loss_cls.get_activation(cls_score) if self.custom_cls_channels else cls_score.softmax(-1)
    scores = scores[:, :-1]
    classes = scores.shape[1]
    each = 1 if self.reg_class_agnostic else classes  # boxes of a region
    regions = roi[:, 1:].repeat_interleave(each, 0)
    boxes = self.bbox_coder.decode(
        regions, bbox_pred.reshape(-1, self.bbox_coder.encode_size), max_shape=img_meta["img_shape"]
    )
    at = (scores > cfg.score_thr).reshape(-1).nonzero()[:, 0]
    labels = at % classes
    boxes = get_box_tensor(boxes)[at // classes if each == 1 else at]
    dets, inds = batched_nms(boxes, scores.reshape(-1)[at], labels, {**cfg.nms, "max_num": cfg.max_per_img})
    results = InstanceData()
    results.bboxes, results.scores, results.labels = dets[:, :-1], dets[:, -1], labels[inds]
    return results


def _pooled(self, feats, rois, roi_scale_factor=None):
    """`SingleRoIExtractor.forward`."""
    rois = rois.type_as(feats[0])
    levels = self.map_roi_levels(rois, len(feats))
    if roi_scale_factor is not None:
        rois = self.roi_rescale(rois, roi_scale_factor)
    if len(feats) == 1:
        return self.roi_layers[0](feats[0], rois)
    out = feats[0].new_zeros(rois.shape[0], self.out_channels, *self.roi_layers[0].output_size)
    for level, (features, layer) in enumerate(zip(feats, self.roi_layers, strict=False)):
        there = (levels == level).nonzero()[:, 0]
        out = out.index_put((there,), layer(features, rois[there]))
    return out
