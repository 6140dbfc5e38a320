"""`import mmcv` served by this package. Each test runs in an interpreter of its own: install() is for a whole process."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

needs_mmengine = pytest.mark.skipif(importlib.util.find_spec("mmengine") is None, reason="mmengine is not installed")
pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def run(code, *arguments, fails=False):
    """Run code after install() in a new interpreter; what it printed."""
    start = "import arrayvision.openmmlab as openmmlab\nopenmmlab.install()\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", start + textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )
    assert (done.returncode != 0) == fails, done.stderr[-3000:]
    return done.stderr if fails else done.stdout


def test_the_layout_and_its_names():
    run(
        """
        import mmcv, arrayvision
        assert mmcv.__version__ == "2.1.0" and mmcv.version_info == (2, 1, 0)
        from mmcv.version import parse_version_info
        assert parse_version_info("2.0.0rc1") == (2, 0, 0, 0, "rc", 1)
        assert parse_version_info("1.2") == (1, 2, 0, 0, 0, 0)
        import arrayvision.image, arrayvision.transforms, arrayvision.visualization, arrayvision.video
        assert mmcv.imread is arrayvision.image.imread
        assert mmcv.Resize is arrayvision.transforms.Resize
        assert mmcv.imshow is arrayvision.visualization.imshow and mmcv.flowread is arrayvision.video.flowread
        assert mmcv.quantize is arrayvision.arraymisc.quantize
        from mmcv.image import imresize
        from mmcv.image.geometric import _scale_size, imrescale
        assert _scale_size((10, 20), 0.25) == (3, 5) and _scale_size((10, 20), (2, 0.5)) == (20, 10)
        from mmcv.transforms.utils import cache_randomness
        from mmcv.transforms.processing import Pad
        from mmcv.utils import IS_CUDA_AVAILABLE, collect_env
        """
    )


def test_modules_of_layers():
    run(
        """
        import arrayvision.torch_bridge.cnn as cnn
        from arrayvision.torch_bridge.cnn import bricks
        from mmcv.cnn import ConvModule, ResNet, fuse_conv_bn, RFSearchHook
        from mmcv.cnn.bricks.transformer import FFN, build_dropout
        from mmcv.cnn.bricks.hsigmoid import HSigmoid
        from mmcv.cnn.bricks.non_local import _NonLocalNd, NonLocal1d
        from mmcv.cnn.bricks.norm import infer_abbr as norm
        from mmcv.cnn.bricks.plugin import infer_abbr as plugin
        from mmcv.cnn.bricks.conv_ws import conv_ws_2d
        from mmcv.cnn.utils.flops_counter import flops_to_string
        from mmcv.cnn.bricks.wrappers import NewEmptyTensorOp, obsolete_torch_version
        assert ConvModule is cnn.ConvModule and HSigmoid is bricks.HSigmoid and norm is not plugin
        import mmcv.cnn.bricks.wrappers as wrappers
        assert wrappers.Conv2d is bricks.Conv2d
        namespace = {}
        exec("from mmcv.cnn import *", namespace)
        assert namespace["NonLocal2d"] is cnn.NonLocal2d and "importlib" not in namespace
        assert "ConvModule" in dir(__import__("mmcv").cnn)
        """
    )


def test_a_function_and_the_module_of_its_name():
    run(
        """
        from mmcv.ops.nms import batched_nms
        import mmcv.ops.nms
        from mmcv.ops import nms
        assert callable(nms) and callable(mmcv.ops.nms) and nms is mmcv.ops.nms
        import sys
        assert sys.modules["mmcv.ops.nms"].batched_nms is batched_nms
        import torch
        dets, kept = nms(torch.tensor([[0., 0, 4, 4], [0, 0, 4, 3]]), torch.tensor([.5, .9]), 0.5)
        assert kept.tolist() == [1]
        """
    )


def test_what_is_not_in_the_layout_is_not_found():
    run(
        """
        import importlib, mmcv
        for name in ("mmcv.nothing", "mmcv.cnn.nothing", "mmcv.runner", "mmcv.registry", "mmcv.cnn.checkpoint"):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                assert error.name == name
            else:
                raise AssertionError(name)
        import mmcv.ops
        for module, name in ((mmcv, "nothing"), (mmcv.ops, "NoSuchOperator"), (mmcv.cnn, "importlib")):
            assert not hasattr(module, name), name
        """
    )


def test_an_operator_that_is_not_there_is_an_error_when_it_is_used():
    """Whichever operators are there: each can be imported, and each that is missing says so when it is called."""
    run(
        """
        import importlib, mmcv.ops
        from arrayvision.openmmlab import _OPERATORS
        missing = 0
        for name in sorted(_OPERATORS):
            operator = getattr(mmcv.ops, name)
            assert callable(operator), name
            if operator.__module__ not in ("mmcv.ops", "arrayvision.openmmlab"):
                continue
            missing += 1
            try:
                operator(1)
            except ImportError as error:
                assert f"mmcv.ops.{name} is not in this version of arrayvision" in str(error)
            else:
                raise AssertionError(name)
            if name[0].isupper():
                class Mine(operator):
                    pass
                assert not isinstance(3, operator)
        print(missing, "missing")
        """
    )


def test_functions_of_the_compiled_extension_are_errors_when_they_are_used():
    """Projects load them when they are imported."""
    run(
        """
        from mmcv.utils import ext_loader
        extension = ext_loader.load_ext("_ext", ["hard_voxelize_forward", "nms"])
        try:
            extension.hard_voxelize_forward(1, 2)
        except ImportError as error:
            assert "mmcv._ext.hard_voxelize_forward is not in this version of arrayvision" in str(error)
        else:
            raise AssertionError
        assert callable(extension.nms) and not hasattr(extension, "roi_align_forward")
        """
    )


def test_a_real_mmcv_is_refused(tmp_path):
    (tmp_path / "mmcv.py").write_text("__version__ = '2.2.0'\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import mmcv; import arrayvision.openmmlab as o\n"
        "try:\n    o.install()\nexcept RuntimeError as error:\n    print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "mmcv 2.2.0 is already imported, from" in said and "before anything imports mmcv" in said


def test_install_twice_and_with_a_version():
    run(
        """
        import mmcv
        openmmlab.install(version="2.0.1")
        assert mmcv.__version__ == "2.0.1" and mmcv.version_info == (2, 0, 1)
        import sys
        assert sum(type(finder).__name__ == "_Finder" for finder in sys.meta_path) == 1
        """
    )


def test_running_a_script_and_a_module(tmp_path):
    (tmp_path / "helper.py").write_text("VALUE = 3\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import json, sys, mmcv, helper\nprint(json.dumps([__name__, sys.argv[1:], mmcv.__version__, helper.VALUE]))\n"
    )
    root = str(pathlib.Path(__file__).parent.parent.parent)
    environment = {**os.environ, "PYTHONPATH": root}
    for target, cwd in ((str(script), root), ("-m script", str(tmp_path))):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "arrayvision.openmmlab", *target.split(), "--flag", "x"],
            capture_output=True,
            text=True,
            cwd=cwd,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == ["__main__", ["--flag", "x"], "2.1.0", 3]
    done = subprocess.run([sys.executable, "-m", "arrayvision.openmmlab"], capture_output=True, text=True, cwd=root)
    assert done.returncode == 2 and "usage:" in done.stdout


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_spawned_processes_have_mmcv(tmp_path, method):
    """They import the script before they run anything of it, and find this package wherever it is."""
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, mmcv\n"
        "def tell(queue):\n    queue.put([mmcv.__version__, mmcv.__file__])\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    queue = context.Queue()\n"
        "    process = context.Process(target=tell, args=(queue,))\n"
        "    process.start()\n"
        "    process.join()\n"
        "    assert process.exitcode == 0 and queue.get(timeout=9) == [mmcv.__version__, mmcv.__file__]\n"
    )
    root = str(pathlib.Path(__file__).parent.parent.parent)
    start = f"import sys; sys.path.insert(0, {root!r}); import arrayvision.openmmlab as o; o.main([{str(script)!r}])"
    command = [sys.executable, "-W", "ignore", "-c", start]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr


# ---- with mmengine ---------------------------------------------------------------------------------------------------
@needs_mmengine
def test_a_registered_operator_that_is_not_there_can_be_looked_up():
    run(
        """
        from mmengine.registry import MODELS as theirs
        from arrayvision.registry import MODELS as ours
        from mmcv.cnn import build_conv_layer
        for name in ("Absent", "absent"):
            ours.register_lazy(name, "arrayvision.torch_bridge.ops", "NoSuchOperator")
            assert name in theirs and theirs.get(name).__name__ == name and theirs.get("Nothing") is None
            for build in (theirs.build, ours.build, build_conv_layer):
                try:
                    build(dict(type=name), **({"in_channels": 1} if build is build_conv_layer else {}))
                except ImportError as error:
                    assert "needs the operator NoSuchOperator of arrayvision.torch_bridge.ops" in str(error)
                else:
                    raise AssertionError(name)
        """
    )


@needs_mmengine
def test_registries_find_each_other():
    run(
        """
        from mmengine.registry import DefaultScope, HOOKS, MODELS as theirs, TRANSFORMS as their_transforms, Registry
        import mmcv.transforms
        from arrayvision.registry import MODELS as ours, TRANSFORMS
        assert mmcv.transforms.TRANSFORMS is their_transforms is mmcv.transforms.builder.TRANSFORMS
        from mmcv.cnn import ConvModule, build_activation_layer, build_norm_layer
        assert theirs.get("ConvModule") is ConvModule and "BN" in theirs
        assert theirs.build(dict(type="ConvModule", in_channels=1, out_channels=2, kernel_size=1)).out_channels == 2
        assert theirs.module_dict["FFN"] is ours.get("FFN")
        assert dict(theirs.module_dict.items())["ContextBlock"].__name__ == "ContextBlock"
        assert their_transforms.build(dict(type="Resize", scale=(2, 3))).scale == (2, 3)
        assert HOOKS.get("RFSearchHook").__name__ == "RFSearchHook"
        from mmengine.hooks import Hook
        assert issubclass(HOOKS.get("RFSearchHook"), Hook)

        import torch
        @theirs.register_module()
        class FancyAct(torch.nn.ReLU):
            pass
        assert type(build_activation_layer(dict(type="FancyAct"))) is FancyAct

        child = Registry("model", parent=theirs, scope="project", locations=[])
        @child.register_module()
        class ProjectNorm(torch.nn.BatchNorm2d):
            pass
        @child.register_module(name="ReLU")
        class OtherReLU(torch.nn.ReLU):
            pass
        with DefaultScope.overwrite_default_scope("project"):
            assert build_norm_layer(dict(type="ProjectNorm"), 3)[0] == "bn"
            assert type(build_activation_layer(dict(type="ReLU"))) is OtherReLU
            assert ConvModule(1, 2, 1, norm_cfg=dict(type="ProjectNorm")).bn.num_features == 2
        assert type(build_activation_layer(dict(type="ReLU"))) is torch.nn.ReLU
        assert type(build_activation_layer(dict(type="project.ReLU"))) is OtherReLU
        for registry in (theirs, ours):
            try:
                registry.build(dict(type="Convmodule"))
            except KeyError as error:
                assert "Convmodule" in str(error)
        try:
            ours.build(dict(type="ProjectNorn", _scope_="project"))
        except KeyError as error:
            assert "is not registered" in str(error)

        @their_transforms.register_module()
        class Mine(mmcv.transforms.BaseTransform):
            def transform(self, results):
                return {"mine": 1}
        assert mmcv.transforms.Compose([dict(type="Mine")])({}) == {"mine": 1}
        try:
            theirs.register_module("ConvModule", module=FancyAct)
        except KeyError as error:
            assert "already registered" in str(error)
        else:
            raise AssertionError
        """
    )


@needs_mmengine
def test_init_cfg_is_carried_out_by_mmengine():
    run(
        """
        import logging, torch
        from torch import nn
        from mmengine.model import BaseModule
        from mmcv.cnn.bricks.transformer import FFN, BaseTransformerLayer
        ffn = FFN(8, 16, init_cfg=[dict(type="Constant", val=2, layer="Linear"), dict(type="Bias" if 0 else "Constant",
                  val=3, override=dict(name="gamma2")) if 0 else dict(type="Normal", std=0, mean=1, layer="Nothing")])
        assert isinstance(ffn, BaseModule)
        ffn.init_weights()
        assert (ffn.layers[0][0].weight == 2).all() and ffn.is_init

        class Model(BaseModule):
            def __init__(self):
                super().__init__(init_cfg=dict(type="Xavier", layer="Conv2d", distribution="uniform", bias=0.5))
                self.conv = nn.Conv2d(1, 2, 3)
                self.layer = BaseTransformerLayer(
                    attn_cfgs=dict(type="MultiheadAttention", embed_dims=8, num_heads=2),
                    ffn_cfgs=dict(type="FFN", feedforward_channels=16, init_cfg=dict(type="Constant", val=7, layer="Linear")),
                    operation_order=("self_attn", "ffn"))
        model = Model()
        logging.disable(logging.CRITICAL)
        model.init_weights()
        assert (model.conv.bias == 0.5).all()
        assert (model.layer.ffns[0].layers[0][0].weight == 7).all()
        assert not hasattr(model.layer, "_params_init_info")
        """
    )


@needs_mmengine
def test_configs_of_mmengine_build():
    run(
        """
        from mmengine.config import Config
        from mmcv.cnn import build_conv_layer, ConvModule
        from mmcv.transforms import Compose
        import numpy as np
        cfg = Config(dict(
            model=dict(type="ConvModule", in_channels=3, out_channels=4, kernel_size=1, norm_cfg=dict(type="GN", num_groups=2),
                       act_cfg=dict(type="LeakyReLU", negative_slope=0.2)),
            pipeline=[dict(type="Resize", scale=(8, 6)), dict(type="RandomFlip", prob=0.0), dict(type="Pad", size_divisor=4)]))
        from mmengine.registry import MODELS
        assert MODELS.build(cfg.model).gn.num_groups == 2 and cfg.model.type == "ConvModule"
        assert Compose(cfg.pipeline)(dict(img=np.zeros((3, 4, 3), np.uint8)))["img"].shape == (8, 8, 3)
        """
    )


@needs_mmengine
def test_configs_written_as_python_import_classes(tmp_path):
    config = tmp_path / "config.py"
    config.write_text(
        textwrap.dedent(
            """
            from mmcv.cnn import ConvModule
            from mmcv.ops import RoIAlign
            from mmcv.transforms import RandomFlip
            from mmcv.transforms.processing import Resize
            from torch.nn import GELU, BatchNorm2d

            model = dict(type=ConvModule, in_channels=3, out_channels=4, kernel_size=1,
                         norm_cfg=dict(type=BatchNorm2d), act_cfg=dict(type=GELU))
            pipeline = [dict(type=Resize, scale=(3, 4)), dict(type=RandomFlip, prob=1.0)]
            roi = dict(type=RoIAlign)
            """
        )
    )
    said = run(
        """
        import sys
        import numpy as np, torch
        from mmengine.config import Config
        from mmengine.registry import MODELS
        from mmcv.transforms import Compose
        cfg = Config.fromfile(sys.argv[1], lazy_import=True)
        layer = MODELS.build(cfg.model)
        assert type(layer.bn) is torch.nn.BatchNorm2d and type(layer.activate) is torch.nn.GELU
        assert Compose(cfg.pipeline)(dict(img=np.zeros((9, 9, 3), np.uint8)))["img"].shape == (4, 3, 3)
        cfg.dump(sys.argv[1] + ".dumped.py")
        print(open(sys.argv[1] + ".dumped.py").read())
        """,
        str(config),
    )
    assert "type='mmcv.cnn.ConvModule'" in said and "type='mmcv.ops.RoIAlign'" in said
