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


def test_patches_reach_the_code_that_uses_a_name_and_are_taken_back():
    run(
        """
        from unittest.mock import patch
        import arrayvision.ops, arrayvision.torch_bridge.cnn.bricks.transformer as ours
        import mmcv.ops, mmcv.cnn.bricks.transformer as theirs
        original = ours.build_norm_layer
        for _ in range(2):  # the second time, the served module has the name already
            with patch("mmcv.cnn.bricks.transformer.build_norm_layer", side_effect=original) as called:
                theirs.PatchEmbed(3, 8, norm_cfg=dict(type="LN"))
            assert called.call_count == 1
            assert ours.build_norm_layer is original and theirs.build_norm_layer is original
        of_arrays, of_tensors = arrayvision.ops.nms, mmcv.ops.nms
        with patch("mmcv.ops.nms") as called:
            assert arrayvision.ops.nms is of_arrays and mmcv.ops.nms is called
        assert mmcv.ops.nms is of_tensors
        with patch("mmcv.cnn.bricks.norm.no_name_of_ours", 3, create=True):
            assert mmcv.cnn.bricks.norm.no_name_of_ours == 3
        assert not hasattr(mmcv.cnn.bricks.norm, "no_name_of_ours")
        """
    )


@needs_mmengine
def test_reports_have_the_entries_that_mmcv_adds():
    run(
        """
        import sys, mmcv
        from mmcv.utils import collect_env
        from mmcv.utils.env import collect_env as same
        report = collect_env()
        assert collect_env is same and report["MMCV"] == mmcv.__version__ and report["sys.platform"] == sys.platform
        for name in ("Python", "CUDA available", "PyTorch", "PyTorch compiling details", "GCC", "MMCV Compiler",
                     "MMCV CUDA Compiler", "MMEngine", "arrayvision"):
            assert name in report, name
        assert report["MMCV Compiler"].startswith("LLVM ")
        sys.modules["mmengine.utils.dl_utils"] = None  # without mmengine, what is known without it
        assert {"sys.platform", "PyTorch", "OpenCV", "MMCV"} <= set(collect_env())
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


@pytest.mark.parametrize("method", ["spawn", "forkserver"] if os.name == "posix" else ["spawn"])
def test_processes_that_are_started_serve_it_too(tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import multiprocessing
            import arrayvision.openmmlab
            import mmcv

            def version(queue):
                queue.put(mmcv.__version__)

            if __name__ == "__main__":
                arrayvision.openmmlab.install("2.0.1")
                context = multiprocessing.get_context("{method}")
                queue = context.SimpleQueue()
                process = context.Process(target=version, args=(queue,))
                process.start()
                process.join()
                print(process.exitcode, queue.get() if process.exitcode == 0 else None)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "arrayvision.openmmlab", str(script)], capture_output=True, text=True
    )
    assert done.stdout == "0 2.0.1\n", done.stderr


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
def test_files_come_from_the_back_ends_of_mmengine(tmp_path):
    run(
        """
        import sys
        from unittest.mock import patch
        import cv2, mmcv, numpy as np
        from mmengine.fileio import FileClient, HTTPBackend, register_backend
        from mmengine.fileio.backends import BaseStorageBackend

        files = {"shelf://a.png": cv2.imencode(".png", np.full((2, 3, 3), 7, np.uint8))[1].tobytes()}

        @register_backend("shelf", prefixes="shelf")
        class Shelf(BaseStorageBackend):
            def get(self, path): return memoryview(files[path])
            def get_text(self, path): raise AssertionError
            def put(self, content, path): files[path] = content

        assert (mmcv.imread("shelf://a.png") == 7).all()
        files["b"] = files["shelf://a.png"]
        assert mmcv.imread("b", backend_args={"backend": "shelf"}).shape == (2, 3, 3)
        assert mmcv.imwrite(np.zeros((4, 5), np.uint8), "shelf://c.png")
        assert mmcv.imread("shelf://c.png", "unchanged").shape == (4, 5)
        assert mmcv.transforms.LoadImageFromFile()({"img_path": "shelf://c.png"})["img_shape"] == (4, 5)
        FileClient.register_backend("old", Shelf)
        assert mmcv.imread("b", file_client_args={"backend": "old"}).shape == (2, 3, 3)
        decoded = np.zeros((1, 1, 3), np.uint8)
        with patch.object(HTTPBackend, "get", return_value=decoded):
            assert mmcv.imread("http://h/d.jpg") is decoded
        path = sys.argv[1] + "/e.png"
        mmcv.imwrite(decoded, path)
        for backend in ("disk", "local"):
            assert mmcv.imread(path, file_client_args={"backend": backend}).shape == (1, 1, 3)
        @register_backend("cellar", prefixes="cellar")
        class Cellar(Shelf):
            def __init__(self): raise ImportError("please install cellar_client")

        try:
            mmcv.imread("cellar://a.png")
        except ImportError as error:
            assert "cellar_client" in str(error)
        else:
            raise SystemExit("no ImportError")
        mmcv.imwrite(decoded, "memory://f.png")  # which mmengine doesn't know and fsspec does
        assert mmcv.imread("memory://f.png").shape == (1, 1, 3)
        """,
        str(tmp_path),
    )


def test_a_decoder_can_be_turned_off():
    run(
        """
        import mmcv
        from unittest.mock import patch
        for backend, symbol in (("pillow", "Image"), ("turbojpeg", "TurboJPEG"), ("tifffile", "tifffile")):
            with patch(f"mmcv.image.io.{symbol}", None):
                try:
                    mmcv.use_backend(backend)
                except ImportError:
                    continue
            raise SystemExit(f"{backend} was not turned off")
        import sys
        from mmcv.image import io
        import PIL.Image
        assert io.Image is PIL.Image
        assert io.imread_backend == "cv2" and io.imread_flags["unchanged"] == -1
        mmcv.use_backend("pillow")
        assert io.imread_backend == "pillow"
        sys.modules["tifffile"] = None
        assert io.tifffile is None
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
@pytest.mark.parametrize(
    "before", ["import mmcv.cnn", "import mmengine.model", "from mmengine.registry import MODELS; MODELS.get('FFN')"]
)
def test_layers_are_modules_of_mmengine(before):
    run(
        f"""
        {before}
        import mmengine.model
        from mmengine.config import Config
        from mmengine.utils.dl_utils.parrots_wrapper import SyncBatchNorm
        from mmcv.cnn import build_activation_layer, build_norm_layer
        from mmcv.cnn.bricks.transformer import FFN, BaseModule
        assert BaseModule is mmengine.model.BaseModule and issubclass(FFN, BaseModule)
        assert type(FFN(8, 8).layers) is mmengine.model.Sequential
        assert isinstance(build_norm_layer(dict(type="SyncBN"), 4)[1], SyncBatchNorm)
        assert build_activation_layer(Config(dict(type="LeakyReLU", negative_slope=0.5))).negative_slope == 0.5
        assert len(build_activation_layer([dict(type="ReLU"), dict(type="Tanh")])) == 2
        """
    )


@needs_mmengine
def test_layers_imported_before_install_count_as_modules_of_mmengine():
    code = """
        import arrayvision.torch_bridge.cnn
        from arrayvision.torch_bridge.cnn.bricks.transformer import FFN
        import arrayvision.openmmlab
        arrayvision.openmmlab.install()
        import mmengine.model
        assert issubclass(FFN, mmengine.model.BaseModule) and isinstance(FFN(8, 8).layers, mmengine.model.Sequential)
        """
    subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], check=True, timeout=300)


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
