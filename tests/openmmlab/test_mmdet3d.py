"""Detectors of mmdet3d 1.4 on random weights and clouds: forward, two training steps, predictions."""

import importlib.util

import pytest

from tests.openmmlab.test_install import run

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(importlib.util.find_spec("mmdet3d") is None, reason="mmdet3d is not installed"),
]

DETECT = """
    import logging, os, sys
    import torch
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    import mmdet.models, mmdet3d.models
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmdet3d.registry import MODELS
    from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
    from mmengine.structures import InstanceData

    init_default_scope("mmdet3d")
    configs = os.path.join(os.path.dirname(mmdet3d.__file__), ".mim", "configs")
    SIDE = 12.8  # metres

    def parts(cfg):
        if isinstance(cfg, dict):
            yield cfg
        for inner in cfg.values() if isinstance(cfg, dict) else cfg if isinstance(cfg, (list, tuple)) else ():
            yield from parts(inner)

    def small(cfg):
        '''A field of 12.8 m, so that the map has few cells; and detections of any score, as random weights give low ones.'''
        for part in parts(cfg):
            if "point_cloud_range" in part:
                part.point_cloud_range = [0, -SIDE / 2, -3, SIDE, SIDE / 2, 1]
            for name in ("output_shape", "sparse_shape"):
                if name in part:
                    size = (cfg.voxel_encoder.get("voxel_size") or cfg.data_preprocessor.voxel_layer.voxel_size)[0]
                    part[name] = [*part[name][:-2], round(SIDE / size), round(SIDE / size)]
            if "ranges" in part:
                part.ranges = [[0, -SIDE / 2, r[2], SIDE, SIDE / 2, r[5]] for r in part.ranges]
            if "score_thr" in part:
                part.score_thr = 0.0
            if "nms_pre" in part:
                part.nms_pre = 50
        return cfg

    def batch():
        # Made here: mmdet3d.testing asks for packages of datasets.
        samples, clouds = [], []
        for seed in (0, 1):
            generator = torch.Generator().manual_seed(seed)
            boxes, cloud = torch.rand(3, 7, generator=generator), torch.rand(800, 4, generator=generator)
            boxes[:, :3] = boxes[:, :3] * torch.tensor([SIDE, SIDE, 0.2]) - torch.tensor([0, SIDE / 2, 1.8])
            boxes[:, 3:6] = torch.tensor([3.9, 1.6, 1.56])
            cloud[:, :3] = cloud[:, :3] * torch.tensor([SIDE, SIDE, 2]) - torch.tensor([0, SIDE / 2, 2])
            sample = Det3DDataSample(metainfo=dict(box_type_3d=LiDARInstance3DBoxes))
            sample.gt_instances_3d = InstanceData(
                bboxes_3d=LiDARInstance3DBoxes(boxes), labels_3d=torch.zeros(3, dtype=torch.long)
            )
            clouds.append(cloud)
            samples.append(sample)
        return dict(inputs=dict(points=clouds), data_samples=samples)

    for name in sys.argv[1:]:
        torch.manual_seed(0)
        model = MODELS.build(small(Config.fromfile(os.path.join(configs, name + ".py")).model))
        model.init_weights()
        model.train()
        optimizer, losses = torch.optim.SGD(model.parameters(), 1e-3), []
        for _ in range(2):
            total, logged = model.parse_losses(model(**model.data_preprocessor(batch(), True), mode="loss"))
            optimizer.zero_grad()
            total.backward()
            for parameter, p in model.named_parameters():
                assert p.grad is not None and p.grad.isfinite().all(), parameter
            optimizer.step()
            losses.append(float(total))
        assert losses[1] < losses[0], losses
        model.eval()
        with torch.no_grad():
            predictions = model(**model.data_preprocessor(batch(), False), mode="predict")
        for sample in predictions:
            found = sample.pred_instances_3d
            assert len(found) > 0 and found.bboxes_3d.tensor.isfinite().all()
            assert found.scores_3d.shape == found.labels_3d.shape == (len(found),)
        print(name, "ran")
"""


def test_detectors_train_and_predict():
    """Voxels of pillars and of cells, at most so many points in each or all; sparse convolution; anchors, suppression."""
    names = (
        "pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class",
        "dynamic_voxelization/pointpillars_dv_secfpn_8xb6-160e_kitti-3d-car",
        "second/second_hv_secfpn_8xb6-80e_kitti-3d-3class",
        "dynamic_voxelization/second_dv_secfpn_8xb6-80e_kitti-3d-car",
    )
    assert run(DETECT, *names).count("ran") == len(names)
