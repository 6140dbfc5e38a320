"""Detectors and pipelines of mmdet 3.3 on random weights: forward, one training step, predictions."""

import importlib.util

import pytest

from tests.openmmlab.test_install import run

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(importlib.util.find_spec("mmdet") is None, reason="mmdet is not installed"),
]

DETECT = """
    import logging, os, sys
    import torch
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    import mmdet
    from mmengine.config import Config
    from mmengine.logging import MessageHub
    from mmdet.registry import MODELS
    from mmdet.testing import demo_mm_inputs
    from mmdet.utils import register_all_modules

    register_all_modules()
    configs = os.path.join(os.path.dirname(mmdet.__file__), ".mim", "configs")
    MessageHub.get_current_instance().update_info("iter", 0)  # YOLOX asks for the trainer's step
    shapes = [[3, 128, 128], [3, 120, 126]]

    def parts(cfg):
        '''A config and every one inside it.'''
        if isinstance(cfg, dict):
            yield cfg
        for inner in cfg.values() if isinstance(cfg, dict) else cfg if isinstance(cfg, (list, tuple)) else ():
            yield from parts(inner)

    def small(cfg):
        '''Less of the same: a ResNet of depth 18, fewer regions; and detections of any score, as random weights give low ones.'''
        cfg.backbone.init_cfg = None
        neck = cfg.get("neck", {})
        neck = neck[0] if isinstance(neck, list) else neck
        own = {"plugins", "dcn", "sac"} & set(cfg.backbone)  # which only deeper ones have
        if cfg.backbone.type == "ResNet" and neck.get("type") == "FPN" and not own:
            cfg.backbone.depth, neck.in_channels = 18, [64, 128, 256, 512]
        for part in parts(cfg):
            if part.get("type") == "RandomSampler":
                part.num = min(part.num, 64)
            if "score_thr" in part:
                part.score_thr = 0.0
            if "max_per_img" in part:  # of the detections, and of the regions that a second stage looks at
                part.max_per_img = 20
        return cfg

    def build(name):
        cfg = small(Config.fromfile(os.path.join(configs, name + ".py")).model)
        torch.manual_seed(0)
        model = MODELS.build(cfg)
        model.init_weights()
        for norm in model.modules():
            if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm):
                norm.momentum = 1.0  # predictions with the statistics of the training step
        return model, cfg.data_preprocessor

    def step(model, cfg):
        kinds = dict(with_mask=bool(cfg.get("pad_mask")), with_semantic=bool(cfg.get("pad_seg")))
        data = model.data_preprocessor(demo_mm_inputs(2, shapes, num_classes=80, **kinds), True)
        losses = model(**data, mode="loss")
        total, logged = model.parse_losses(losses)
        assert torch.isfinite(total) and total > 0, logged
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        optimizer = torch.optim.SGD(model.parameters(), 1e-4)
        total.backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
        optimizer.step()
        moved = [n for n, p in model.named_parameters() if not torch.equal(p, before[n])]
        assert any(n.startswith("backbone") for n in moved) and any("head" in n for n in moved), moved[:5]
        model.eval()
        with torch.no_grad():
            data = model.data_preprocessor(demo_mm_inputs(2, shapes, num_classes=80), False)
            predictions = model(**data, mode="predict")
        assert len(predictions) == 2
        for sample in predictions:
            if "pred_panoptic_seg" in sample:
                assert sample.pred_panoptic_seg.sem_seg.shape == (1, *sample.ori_shape)
                continue
            found = sample.pred_instances
            assert len(found) > 0 and found.scores.shape == found.labels.shape == (len(found),)
            assert found.bboxes.shape == (len(found), 4) and torch.isfinite(found.bboxes).all()
            if cfg.get("pad_mask"):
                assert found.masks.shape == (len(found), *sample.ori_shape) and found.masks.dtype == torch.bool

    for name in sys.argv[1:]:
        step(*build(name))
        print(name, "ran")
"""

DETECTORS = {  # those that use other parts of mmcv than the ones before; small() makes most of them ones of a ResNet-18
    "dense": (
        "retinanet/retinanet_r50_fpn_1x_coco",
        "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco",
        "gfl/gfl_r50_fpn_1x_coco",
        "atss/atss_r50_fpn_1x_coco",
        "foveabox/fovea_r50_fpn_4xb4-1x_coco",
        "yolof/yolof_r50-c5_8xb8-1x_coco",
        "centernet/centernet_r18_8xb16-crop512-140e_coco",
        "libra_rcnn/libra-retinanet_r50_fpn_1x_coco",
    ),
    "other backbones": (
        "yolo/yolov3_d53_8xb8-320-273e_coco",
        "yolo/yolov3_mobilenetv2_8xb24-320-300e_coco",
        "yolox/yolox_tiny_8xb8-300e_coco",
        "rtmdet/rtmdet_tiny_8xb32-300e_coco",
        "regnet/faster-rcnn_regnetx-400MF_fpn_ms-3x_coco",
        "hrnet/fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco",
        "swin/retinanet_swin-t-p4-w7_fpn_1x_coco",
    ),
    "attention": (
        "detr/detr_r50_8xb2-150e_coco",
        "conditional_detr/conditional-detr_r50_8xb2-50e_coco",
        "sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco",
        "empirical_attention/faster-rcnn_r50-attn1111_fpn_1x_coco",
        "gcnet/mask-rcnn_r50-gcb-r16-c3-c5_fpn_1x_coco",
    ),
    "deformable": (
        "deformable_detr/deformable-detr_r50_16xb2-50e_coco",
        "dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco",
        "dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco",
        "detectors/cascade-rcnn_r50-sac_1x_coco",
        "dyhead/atss_r50-caffe_fpn_dyhead_1x_coco",
        "carafe/faster-rcnn_r50_fpn-carafe_1x_coco",
    ),
    "two stages": (
        "faster_rcnn/faster-rcnn_r50_fpn_1x_coco",
        "faster_rcnn/faster-rcnn_r50_fpn_soft-nms_1x_coco",
        "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco",
        "gn+ws/faster-rcnn_r50_fpn_gn-ws-all_1x_coco",
        "pafpn/faster-rcnn_r50_pafpn_1x_coco",
        "dcn/faster-rcnn_r50_fpn_dpool_1x_coco",
    ),
    "masks": (
        "mask_rcnn/mask-rcnn_r50_fpn_1x_coco",
        "point_rend/point-rend_r50-caffe_fpn_ms-1x_coco",
        "yolact/yolact_r50_1xb8-55e_coco",
        "condinst/condinst_r50_fpn_ms-poly-90k_coco_instance",
        "panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco",
        "maskformer/maskformer_r50_ms-16xb1-75e_coco",
    ),
}


@pytest.mark.parametrize("names", DETECTORS.values(), ids=DETECTORS)
def test_detectors(names):
    said = run(DETECT, *names)
    assert len([line for line in said.splitlines() if line.endswith(" ran")]) == len(names)


def test_a_training_pipeline_of_a_config():
    run(
        """
        import os, tempfile
        import cv2, numpy as np, torch
        import mmdet
        from mmengine.config import Config
        from mmengine.dataset import Compose
        from mmdet.utils import register_all_modules
        register_all_modules()
        from mmdet.registry import TRANSFORMS
        import mmcv.transforms
        configs = os.path.join(os.path.dirname(mmdet.__file__), ".mim", "configs")
        cfg = Config.fromfile(os.path.join(configs, "_base_/datasets/coco_detection.py"))
        path = os.path.join(tempfile.mkdtemp(), "picture.jpg")
        img = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8), (9, 9), 3)
        cv2.imwrite(path, img)
        sample = dict(img_path=path, img_id=1, height=60, width=90, instances=[
            dict(bbox=[10, 10, 50, 40], bbox_label=3, ignore_flag=0), dict(bbox=[0, 5, 20, 25], bbox_label=7, ignore_flag=0)])
        for compose in (Compose, mmcv.transforms.Compose):
            np.random.seed(0)
            packed = compose(cfg.train_pipeline)(dict(sample))
            assert packed["inputs"].shape == (3, 800, 1200) and packed["inputs"].dtype == torch.uint8
            meta, boxes = packed["data_samples"].metainfo, packed["data_samples"].gt_instances.bboxes
            assert meta["scale_factor"] == (1200 / 90, 800 / 60) and meta["ori_shape"] == (60, 90)
            wanted = torch.tensor([[10., 10, 50, 40], [0, 5, 20, 25]])
            if meta["flip"]:
                wanted[:, [0, 2]] = 90 - wanted[:, [2, 0]]
            torch.testing.assert_close(boxes.tensor, wanted * (800 / 60))
            whole = cv2.resize(cv2.imread(path), (1200, 800))
            assert np.array_equal(packed["inputs"].numpy(), (whole[:, ::-1] if meta["flip"] else whole).transpose(2, 0, 1))
        assert issubclass(TRANSFORMS.get("Resize"), mmcv.transforms.Resize)
        assert TRANSFORMS.get("Resize") is not mmcv.transforms.Resize
        print(meta)
        """
    )
