import subprocess
import sys

import pytest

from arrayvision.registry import Registry


@pytest.fixture
def shapes():
    registry = Registry("SHAPES")

    @registry.register_module()
    class Circle:
        def __init__(self, radius, colour="red"):
            self.radius, self.colour = radius, colour

    registry.register_module(["Square", "Quad"], module=dict)
    return registry


def test_registers_by_decorator_by_call_and_under_several_names(shapes):
    assert set(shapes) == {"Circle", "Square", "Quad"}
    assert shapes.get("Quad") is dict is shapes.get("Square")
    assert len(shapes) == 3
    assert "Circle" in shapes and "Oval" not in shapes
    assert shapes.module_dict["Square"] is dict


def test_builds_from_a_name_or_a_class_and_leaves_the_config_alone(shapes):
    cfg = {"type": "Circle", "radius": 2}
    built = shapes.build(cfg)
    assert (built.radius, built.colour) == (2, "red")
    assert cfg == {"type": "Circle", "radius": 2}
    assert shapes.build({"type": shapes.get("Circle"), "radius": 3}).radius == 3
    assert shapes.build({"radius": 1}, default_args={"type": "Circle", "colour": "blue", "radius": 9}).colour == "blue"
    assert shapes.build({"type": "Circle", "radius": 1}, colour="green").colour == "green"


def test_a_taken_name_needs_force(shapes):
    with pytest.raises(KeyError, match="'Circle' is registered already"):
        shapes.register_module("Circle", module=list)
    shapes.register_module("Circle", force=True, module=list)
    assert shapes.get("Circle") is list


def test_a_wrong_name_gets_close_matches_and_a_hint(shapes):
    with pytest.raises(KeyError, match=r"'Cirle' is not registered; close matches: Circle\. .*import its module"):
        shapes.build({"type": "Cirle"})
    assert shapes.get("Cirle") is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r: r.build("Circle"), TypeError, "cfg must be a dict, got str"),
        (lambda r: r.build({"radius": 2}), KeyError, "must have the key 'type'"),
        (lambda r: r.build({"type": 3}), TypeError, "type must be a name or a class, got int"),
        (lambda r: r.register_module(module=3), TypeError, "module must be a class or a function, got int"),
        (lambda r: r.register_module(name=3, module=dict), TypeError, "name must be a str or several, got int"),
        (lambda r: r.register_module(force=1, module=dict), TypeError, "force must be True or False, got int"),
    ],
)
def test_refuses_nonsense(shapes, call, error, message):
    with pytest.raises(error, match=message):
        call(shapes)


def test_lazy_entries_are_imported_when_they_are_used(shapes):
    shapes.register_lazy("Lazy", "fractions", "Fraction")
    shapes.register_lazy("Absent", "fractions", "NoSuchOperator")
    shapes.register_lazy("Nowhere", "arrayvision.no_such_module", "Operator")
    from fractions import Fraction

    assert shapes.build({"type": "Lazy", "numerator": 1, "denominator": 2}) == Fraction(1, 2)
    with pytest.raises(ImportError, match="'Absent' needs the operator NoSuchOperator of fractions"):
        shapes.build({"type": "Absent"})
    with pytest.raises(ImportError, match=r"'Nowhere' needs the operator Operator of arrayvision\.no_such_module"):
        shapes.get("Nowhere")
    assert set(shapes.module_dict) == {"Circle", "Square", "Quad", "Lazy"}


def test_the_registries_fill_themselves():
    code = (
        "import sys; from arrayvision.registry import MODELS, TRANSFORMS; assert 'torch' not in sys.modules; "
        "assert 'Resize' in TRANSFORMS; assert 'torch' not in sys.modules; "
        "assert MODELS.build({'type': 'ConvModule', 'in_channels': 1, 'out_channels': 1, 'kernel_size': 1}).with_bias"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_first_look_up_from_many_threads_sees_all_names(tmp_path, monkeypatch):
    import threading

    (tmp_path / "fills_slowly.py").write_text(
        "import time\nfrom shapes_under_test import SHAPES\nassert SHAPES.get('Early') is None\ntime.sleep(0.3)\n"
        "SHAPES.register_module('Late', module=dict)\n"
    )
    (tmp_path / "shapes_under_test.py").write_text(
        "from arrayvision.registry import Registry\nSHAPES = Registry('SHAPES', ('fills_slowly',))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from shapes_under_test import SHAPES

    found = []
    threads = [threading.Thread(target=lambda: found.append(SHAPES.get("Late"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [dict] * 4


MODEL_NAMES = """
    Conv1d Conv2d Conv3d Conv ConvWS ConvAWS Conv2dAdaptivePadding DCN DCNv2 SAC SparseConv2d SparseConv3d
    SparseConvTranspose2d SparseConvTranspose3d SparseInverseConv2d SparseInverseConv3d SubMConv2d SubMConv3d
    BN BN1d BN2d BN3d SyncBN MMSyncBN GN LN IN IN1d IN2d IN3d
    ReLU LeakyReLU PReLU RReLU ReLU6 ELU Sigmoid Tanh SiLU GELU Clamp Clip HSigmoid HSwish Swish
    zero reflect replicate nearest bilinear deconv deconv3d pixel_shuffle carafe Dropout DropPath
    ConvModule ContextBlock NonLocal2d GeneralizedAttention CrissCrossAttention MultiScaleDeformableAttention
    MultiheadAttention FFN BaseTransformerLayer TransformerLayerSequence
"""
TRANSFORM_NAMES = """
    LoadImageFromFile LoadAnnotations Compose KeyMapper TransformBroadcaster RandomChoice RandomApply Normalize Resize Pad
    CenterCrop RandomGrayscale MultiScaleFlipAug TestTimeAug RandomChoiceResize RandomFlip RandomResize ToTensor ImageToTensor
"""


def test_every_name_that_configs_use_is_registered():
    from arrayvision.registry import MODELS, TRANSFORMS

    assert not [name for name in MODEL_NAMES.split() if name not in MODELS]
    assert not [name for name in TRANSFORM_NAMES.split() if name not in TRANSFORMS]
    assert all(TRANSFORMS.get(name).__name__ == name for name in TRANSFORM_NAMES.split())
