"""Detectors of mmdet 3.3 recorded and exported whole, on random weights, and run by onnxruntime."""

import importlib.util

import pytest

from tests.openmmlab.test_install import run
from tests.openmmlab.test_mmdet import DETECT

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(importlib.util.find_spec("mmdet") is None, reason="mmdet is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed"),
]

RECORDED = '''
    import warnings
    import numpy as np, onnx, onnxruntime
    from mmdet.registry import TASK_UTILS
    from mmdet.models import SingleRoIExtractor
    from mmdet.structures import DetDataSample
    from arrayvision.torch_bridge.onnx import detectors
    warnings.simplefilter("ignore")

    @TASK_UTILS.register_module()
    class TurnedCoder:
        """Rotated boxes from upright ones, or from rotated ones."""

        use_box_type, encode_size = False, 5

        def decode(self, boxes, deltas, max_shape=None):
            if boxes.shape[1] == 4:
                size = boxes[:, 2:] - boxes[:, :2]
                boxes = torch.cat([boxes[:, :2] + size / 2, size, size[:, :1] * 0], 1)
            size = boxes[:, 2:4]
            middle = boxes[:, :2] + deltas[:, :2] * size
            return torch.cat([middle, size * deltas[:, 2:4].clamp(-2, 2).exp(), boxes[:, 4:] + deltas[:, 4:]], 1)

    @MODELS.register_module()
    class TurnedExtractor(SingleRoIExtractor):
        def map_roi_levels(self, rois, num_levels):
            scale = (rois[:, 3] * rois[:, 4]).sqrt()
            return (scale / self.finest_scale + 1e-6).log2().floor().clamp(0, num_levels - 1).long()

    def turn(cfg):
        """Faster R-CNN of rotated boxes: its parts, with other coders, regions and suppression."""
        coder, suppression = dict(type="TurnedCoder"), dict(type="nms_rotated", iou_threshold=0.3)
        cfg.rpn_head.bbox_coder = cfg.roi_head.bbox_head.bbox_coder = coder
        cfg.roi_head.bbox_head.reg_class_agnostic = True
        cfg.roi_head.bbox_roi_extractor.type = "TurnedExtractor"
        cfg.roi_head.bbox_roi_extractor.roi_layer = dict(type="RoIAlignRotated", output_size=7, sampling_ratio=2)
        cfg.test_cfg.rpn.update(nms=suppression, nms_pre=30, min_bbox_size=-1)
        cfg.test_cfg.rcnn.nms = suppression

    NARROW = {256: 32, 128: 16, 1024: 64, 64: 8, 512: 64, 80: 6}  # numbers of channels, and of classes
    COUNTS = {"in_channels", "out_channels", "feat_channels", "fc_out_channels", "embed_dims", "num_feats",
              "feedforward_channels", "num_classes"}

    def tiny(cfg):
        """Narrow layers, and few of them: what torch takes to record a model grows with their number."""
        cfg = small(cfg)
        if cfg.type == "DeformableDETR":
            cfg.backbone.update(depth=18, out_indices=(2, 3))
            cfg.neck.update(in_channels=[32, 64], num_outs=2)
            cfg.encoder.num_layers = cfg.decoder.num_layers = 1
            cfg.encoder.layer_cfg.self_attn_cfg.num_levels = cfg.decoder.layer_cfg.cross_attn_cfg.num_levels = 2
            cfg.num_queries, cfg.num_feature_levels, cfg.bbox_head.embed_dims = 30, 2, 32
        elif cfg.type == "RetinaNet":
            cfg.neck.update(in_channels=[8, 16, 32, 64], num_outs=3)
            cfg.bbox_head.anchor_generator.strides = [8, 16, 32]
        else:
            cfg.neck.update(in_channels=[8, 16, 32, 64], num_outs=4)
            cfg.rpn_head.anchor_generator.strides = [4, 8, 16, 32]
        for part in parts(cfg):
            part.update({name: NARROW.get(part[name], part[name]) for name in COUNTS & set(part) if isinstance(part[name], int)})
            fewer = dict(num_groups=4, stacked_convs=1, nms_pre=60, score_thr=0.3)
            part.update({name: value for name, value in fewer.items() if name in part})
        cfg.backbone.base_channels = 8
        return cfg

    def tiny_model(name, turned):
        cfg = tiny(Config.fromfile(os.path.join(configs, name + ".py")).model)
        if turned:
            turn(cfg)
        torch.manual_seed(0)
        model = MODELS.build(cfg)
        model.init_weights()
        model.eval()
        for name, part in model.named_modules():  # weights of such a size that scores lie apart, at far levels too
            if isinstance(part, (torch.nn.Conv2d, torch.nn.Linear)):
                torch.nn.init.kaiming_normal_(part.weight)
                if "cls" in name:
                    part.weight.data *= 0.3
                    part.bias.data.zero_()
                elif "reg" in name:
                    part.weight.data *= 0.1
            elif isinstance(part, torch.nn.BatchNorm2d):
                part.momentum = 1
                part.train()
        model.extract_feat(torch.randn(1, 3, 160, 160))
        return model.eval()

    def predicted(model, image):
        size = tuple(image.shape[2:])
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, batch_input_shape=size))
        found = model.predict(image, [sample], rescale=False)[0].pred_instances
        return found.bboxes, found.scores, found.labels

    def compare(found, expected):
        assert 5 <= len(expected[1]) == len(found[1])
        assert expected[1].diff().max() < -1e-5, "scores are too near each other for an order"
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b.numpy(), rtol=1e-3, atol=1e-3)

    model = tiny_model(name, turned)
    images = [torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1)) for size in ((160, 192), (224, 160))]
    images = images[:sizes]
    any_size = ({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},)
    whole = detectors.Detector(model).eval()
    with torch.no_grad():
        expected = [predicted(model, image) for image in images]
        compare([x.numpy() for x in whole(images[0])], expected[0])
        program = torch.export.export(whole, (images[0],), dynamic_shapes=any_size if sizes > 1 else None)
'''

EXPORTED = """
        for image, wanted in zip(images, expected):
            compare([x.numpy() for x in program.module()(image)], wanted)
        proto = torch.onnx.export(program, dynamo=True, optimize=False, verbose=False).model_proto
    onnx.checker.check_model(proto, full_check=True)
    assert {node.domain for node in proto.graph.node} == {""}
    assert kinds <= {node.op_type for node in proto.graph.node}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    for image, wanted in zip(images, expected):
        compare(session.run(None, {session.get_inputs()[0].name: image.numpy()}), wanted)
"""

# In the other process, mmdet and `import mmcv` are not there.
PACKAGED = """
        import subprocess, tempfile
        package, given, found = (os.path.join(tempfile.mkdtemp(), name) for name in ("model.pt2", "given.pt", "found.pt"))
        torch._inductor.aoti_compile_and_package(program, package_path=package)
        torch.save(images, given)
    subprocess.run([sys.executable, "-c", loaded, package, given, found], check=True)
    for a, b in zip(torch.load(found), expected):
        compare([x.numpy() for x in a], b)
"""

LOADED = """
import sys
import torch
import arrayvision.torch_bridge.ops

model = torch._inductor.aoti_load_package(sys.argv[1])
torch.save([list(model(image)) for image in torch.load(sys.argv[2])], sys.argv[3])
assert not {"mmdet", "mmcv", "mmengine"} & set(sys.modules)
"""

# A config, whether its boxes are rotated, of how many sizes images are (what any size costs is seconds), and what the graph has.
FASTER = "faster_rcnn/faster-rcnn_r50_fpn_1x_coco"
DETECTORS = {
    "RetinaNet": ("retinanet/retinanet_r50_fpn_1x_coco", False, 2, {"NonMaxSuppression"}),
    "Faster R-CNN": (FASTER, False, 2, {"NonMaxSuppression", "RoiAlign"}),
    "Faster R-CNN of rotated boxes": (FASTER, True, 1, {"Loop"}),
    "Deformable DETR": ("deformable_detr/deformable-detr_r50_16xb2-50e_coco", False, 2, {"TopK"}),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_whole(name):
    given = f"    name, turned, sizes, kinds = {DETECTORS[name]}\n"
    run(DETECT + given + RECORDED + EXPORTED)


def test_a_detector_in_a_package_of_aotinductor():
    given = f"    name, turned, sizes, loaded = {FASTER!r}, False, 1, {LOADED!r}\n"
    run(DETECT + given + RECORDED + PACKAGED)
