"""Models that leave torch: every operator exported, run by onnxruntime at two sizes, and compared."""

import copy
import functools
import logging
import re
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
OLD = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13)
pytestmark = [
    pytest.mark.skipif(OLD, reason="export to ONNX needs a newer torch"),
    pytest.mark.filterwarnings("ignore"),  # the exporter's own, of torch's internals
]

from arrayvision import cases  # noqa: E402
from arrayvision.cases.boxes_in_space import boxes as solid, flat  # noqa: E402
from arrayvision.cases.rotated_boxes import corners  # noqa: E402
from arrayvision.torch_bridge import onnx as bridge, ops  # noqa: E402
from arrayvision.torch_bridge.onnx._table import TRANSLATIONS  # noqa: E402
from tools import onnx as page_tables  # noqa: E402

ALONE = "voxelization-dynamic"  # each point's voxel, which is arithmetic
NONE = dict.fromkeys(page_tables.untranslated(), "there is no translation") | bridge.REASONS
CASES = [case for case in cases.cases() if case.function not in NONE or case.name == ALONE]
# Letters of sizes that the graph is exported for any of; others are fixed by weights, or what a case is about.
ANY = dict(
    active_rotated_filter="", assign_score_withk="BPN", bbox_overlaps="", bias_act="N", border_align="BN", convex_iou="NK",
    corner_pool="NHW", criss_cross_attention="NHW", deform_conv2d="B", modulated_deform_conv2d="B", filtered_lrelu="NHW",
    fused_bias_leakyrelu="N", knn="M", masked_conv2d="N", multi_scale_deformable_attn="BQ", points_in_polygons="BM",
    psa_mask="N", rotated_feature_align="BHW", three_interpolate="BN", tin_shift="NT", upfirdn2d="NHW", filter2d="NHW",
    upsample2d="NHW", downsample2d="NHW", gather_points="BM", grouping_operation="M", ball_query="M",
    furthest_point_sample_with_dist="B", carafe="N", carafe_naive="N", correlation="N", voxelization="N",
)  # fmt: skip
REGIONS = "KHW"


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Without the exporter's log; and its table of torch's operators, which takes a second, is made once."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    make = ONNXRegistry.from_torchlib

    def table(opset_version=18):
        made = copy.copy(_table(make, opset_version))
        made.functions = {target: [*functions] for target, functions in made.functions.items()}
        return made

    logging.disable(logging.CRITICAL)
    monkeypatch.setattr(ONNXRegistry, "from_torchlib", staticmethod(table))
    yield
    logging.disable(logging.NOTSET)


@functools.cache
def _table(make, opset_version):
    return make(opset_version)


def flatten(found):
    return [found] if isinstance(found, torch.Tensor) else [x for part in found for x in flatten(part)]


class Model(torch.nn.Module):
    """A function of tensors."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def session(program):
    """A checked graph of standard operators, for onnxruntime."""
    proto = program.model_proto
    onnx.checker.check_model(proto, full_check=True)
    assert {node.domain for node in proto.graph.node} | {f.domain for f in proto.functions} <= {"", "ai.onnx"}
    assert next(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")) >= 18
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(session, args):
    return session.run(None, {slot.name: x.numpy() for slot, x in zip(session.get_inputs(), args, strict=False)})


def compare(got, expected, tolerance=1e-5):
    for a, b in zip(got, flatten(expected), strict=True):
        b = b.detach().numpy()
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a.astype(np.float64), b.astype(np.float64), rtol=tolerance, atol=tolerance)


def exported(function, args, axes):
    """The graph of a function of tensors, for any length of the axes that are listed for each."""
    shapes = tuple(dict.fromkeys(some, torch.export.Dim.DYNAMIC) for some in axes)
    return torch.onnx.export(
        Model(function).eval(), tuple(args), dynamo=True, dynamic_shapes=(shapes,), verbose=False
    )  # fmt: skip


def any_letters(case):
    return "" if "stacked" in case.name else ANY.get(case.function, REGIONS if case.indexed == "B" else "BMNK")


def tensors(case, less=()):
    """A case's inputs in float32; axes of the letters in `less` are shorter by one."""
    found = []
    for name, x in case.inputs.items():
        for axis, letter in enumerate(case.shapes[name].split() if name in case.shapes else ()):
            if letter in less and len(letter) == 1 and x.shape[axis] > 2:
                x = np.take(x, range(x.shape[axis] - 1), axis)
        found.append(torch.from_numpy(np.array(x, np.float32 if x.dtype.kind == "f" else None)))
    return found


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_operator(case):
    letters = any_letters(case)

    def function(*args):
        return getattr(ops, case.function)(**dict(zip(case.inputs, args, strict=True)), **case.arguments)

    def axes(name):
        shape = case.shapes[name].split() if name in case.shapes else ()
        return [k for k, letter in enumerate(shape) if letter in letters and case.inputs[name].shape[k] > 2]

    args = tensors(case)
    made = session(exported(function, args, map(axes, case.inputs)))
    for given in (args, tensors(case, letters)):
        compare(run(made, given), function(*given), 3e-5)


# ---- suppression ------------------------------------------------------------------------------------------------------
def upright(rng, n):
    xy = rng.uniform(0, 40, (n, 2))
    return np.concatenate([xy, xy + rng.uniform(4, 30, (n, 2))], 1)


def turned(rng, n):
    return np.stack([*rng.uniform(0, 40, (2, n)), *rng.uniform(4, 40, (2, n)), rng.uniform(-3, 3, n)], 1)


def quadrilaterals(rng, n):
    return corners(turned(rng, n)).reshape(-1, 8)


def by_class(**cfg):
    return lambda boxes, scores, labels: ops.batched_nms(boxes, scores, labels, cfg or None)


def of_the_better(function):
    """Suppression of as many boxes as pass a filter; of one box, none does."""

    def call(boxes, scores, labels):
        some = (scores > 0.2).nonzero()[:, 0]
        return function(boxes[some], scores[some], labels[some])

    return call


SUPPRESSIONS = {
    "batched_nms, filtered": (upright, of_the_better(by_class(iou_threshold=0.3))),
    "batched_nms, rotated, filtered": (turned, of_the_better(by_class(type="nms_rotated", iou_threshold=0.3))),
    "batched_nms, soft, filtered": (upright, of_the_better(by_class(type="soft_nms", iou_threshold=0.3))),
    "nms": (upright, lambda boxes, scores, labels: ops.nms(boxes, scores, 0.4)),
    "nms, limits": (upright, lambda boxes, scores, labels: ops.nms(boxes, scores, 0.4, 1, 0.3, 5)),
    "soft_nms, linear": (upright, lambda boxes, scores, labels: ops.soft_nms(boxes, scores)),
    "soft_nms, gaussian": (upright, lambda boxes, scores, labels: ops.soft_nms(boxes, scores, 0.3, 0.4, 0.2, "gaussian", 1)),
    "soft_nms, naive": (upright, lambda boxes, scores, labels: ops.soft_nms(boxes, scores, 0.3, 0.5, 0.1, "naive")),
    "nms_rotated": (turned, lambda boxes, scores, labels: ops.nms_rotated(boxes, scores, 0.2, labels, False)),
    "nms_quadri": (quadrilaterals, lambda boxes, scores, labels: ops.nms_quadri(boxes, scores, 0.2)),
    "batched_nms": (upright, by_class(iou_threshold=0.3, score_threshold=0.1)),
    "batched_nms, limit": (upright, by_class(iou_threshold=0.3, max_num=9)),
    "batched_nms, agnostic": (upright, by_class(iou_threshold=0.3, class_agnostic=True)),
    "batched_nms, soft": (upright, by_class(type="soft_nms", iou_threshold=0.3, max_num=12)),
    "batched_nms, rotated": (turned, by_class(type="nms_rotated", iou_threshold=0.3, max_num=12)),
    "batched_nms, quadri": (quadrilaterals, by_class(type="nms_quadri", iou_threshold=0.3)),
    "batched_nms, none": (upright, by_class()),
    "nms3d": (solid, lambda boxes, scores, labels: ops.nms3d(boxes, scores, 0.1)),
    "nms3d_normal": (solid, lambda boxes, scores, labels: ops.nms3d_normal(boxes, scores, 0.1)),
    "nms_bev": (flat, lambda boxes, scores, labels: ops.nms_bev(boxes, scores, 0.1)),
    "nms_bev, limits": (flat, lambda boxes, scores, labels: ops.nms_bev(boxes, scores, 0.1, 12, 6)),
    "nms_normal_bev": (flat, lambda boxes, scores, labels: ops.nms_normal_bev(boxes, scores, 0.1)),
}  # fmt: skip


IN_HALF = "nms", "batched_nms", "nms_rotated", "batched_nms, soft"  # graphs that differ in what is cast


@pytest.mark.parametrize(
    "name, dtype", [*((name, torch.float32) for name in SUPPRESSIONS), *((name, torch.float16) for name in IN_HALF)]
)
def test_suppression(name, dtype):
    """Scores with ties; as many results as the data make."""
    make, function = SUPPRESSIONS[name]
    rng = np.random.default_rng(0)

    def given(n):
        boxes, scores, labels = make(rng, n), rng.permutation(n) // 2 / n, rng.integers(-1, 4, n)
        return [torch.from_numpy(boxes).to(dtype), torch.from_numpy(scores).to(dtype), torch.from_numpy(labels)]

    args = given(30)
    uses_labels = "batched" in name or name == "nms_rotated"
    call = function if uses_labels else lambda boxes, scores: function(boxes, scores, None)
    inputs = 3 if uses_labels else 2
    shapes = (tuple({0: "n"} for _ in range(inputs)),)
    program = torch.onnx.export(
        Model(call).eval(), tuple(args[:inputs]), dynamo=True, dynamic_shapes=shapes, verbose=False
    )  # fmt: skip
    made = session(program)
    if "soft" not in name and ("normal" in name or name in ("nms", "nms, limits")):
        assert [node.op_type for node in program.model_proto.graph.node].count("NonMaxSuppression") == 1
    for n in (30, 17, 1):
        args = given(n)[:inputs]
        compare(run(made, args), call(*args), 1e-5 if dtype is torch.float32 else torch.finfo(dtype).eps)


# ---- what can't be ----------------------------------------------------------------------------------------------------
REFUSED = {case.function: case for case in cases.cases() if case not in CASES}


@pytest.mark.parametrize("function", sorted(REFUSED))
def test_what_has_no_form_is_named_at_export(function):
    case = REFUSED[function]

    def call(*args):
        return getattr(ops, case.function)(**dict(zip(case.inputs, args, strict=True)), **case.arguments)

    with pytest.raises(Exception, match=f"arrayvision.{function} can't be exported to ONNX: {NONE[function]}"):
        torch.onnx.export(Model(call).eval(), tuple(tensors(case)), dynamo=True, verbose=False)


def test_every_operator_is_exported_or_refused():
    assert page_tables.operators() >= {*TRANSLATIONS[""], *bridge.REASONS}
    tested = {case.function for case in CASES} | {name.partition(",")[0] for name in SUPPRESSIONS}
    inner = {"bias_act", "falling", "grouping_operation", "roi_align_max", "upfirdn2d", "voxel_of_points"}
    assert {*TRANSLATIONS[""]} <= tested | inner


def test_the_page_says_what_the_code_has():
    page = page_tables.PAGE.read_text()
    assert page == page_tables.rewritten(page) and all(head in page for head in page_tables.HEADS)


EXAMPLES = re.findall(r"```python\n(.*?)```", page_tables.PAGE.read_text(), re.S)


def test_examples_of_the_page(tmp_path, monkeypatch):
    """One after the other, as a reader pastes them."""
    monkeypatch.chdir(tmp_path)
    space: dict = {}
    for example in EXAMPLES:
        exec(example, space)
    expected = ops.roi_align(space["features"], space["rois"], (7, 7), 0.25)
    compare([space["pooled"]], expected)


# ---- models -----------------------------------------------------------------------------------------------------------
class Detector(torch.nn.Module):
    """Two stages, as Faster R-CNN's: regions from anchors, suppressed, pooled, classified, suppressed by class; and a
    deformable convolution in its middle."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = torch.nn.Conv2d(3, 8, 3, 4, 1)
        self.deformed = ops.ModulatedDeformConv2dPack(8, 8, 3, 1, 1)
        torch.nn.init.normal_(self.deformed.conv_offset.weight, std=0.1)
        self.scores, self.deltas = torch.nn.Conv2d(8, 1, 1), torch.nn.Conv2d(8, 4, 1)
        self.align = ops.RoIAlign(4, 0.25, 2)
        self.heads = torch.nn.Linear(8 * 16, 3)

    def forward(self, image):
        features = self.deformed(self.stem(image).relu())
        height, width = features.shape[2:]
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        y, x = (4 * at.flatten().to(image.dtype) for at in (y, x))
        boxes = torch.stack([x - 8, y - 8, x + 8, y + 8], 1) + self.deltas(features)[0].flatten(1).T
        scores = self.scores(features)[0].flatten().sigmoid()
        boxes = ops.nms(boxes, scores, 0.6, max_num=20)[0][:, :4]
        pooled = self.align(features, torch.cat([torch.zeros_like(boxes[:, :1]), boxes], 1))
        best, labels = self.heads(pooled.flatten(1)).softmax(1).max(1)
        dets, inds = ops.batched_nms(boxes, best, labels, dict(type="nms", iou_threshold=0.4))
        return dets, labels[inds]


@pytest.fixture(scope="module")
def detector():
    return Detector().eval()


def test_a_detector_whole(detector):
    image = torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        program = torch.onnx.export(
            detector, (image,), dynamo=True, dynamic_shapes=({2: "height", 3: "width"},), verbose=False
        )  # fmt: skip
        kinds = [node.op_type for node in program.model_proto.graph.node]
        assert {"RoiAlign", "DeformConv", "NonMaxSuppression"} <= set(kinds)
        made = session(program)
        for given in (image, torch.randn(1, 3, 80, 56, generator=torch.Generator().manual_seed(1))):
            dets, labels = run(made, [given])
            expected = detector(given)
            assert len(expected[0]) > 5
            compare([dets, labels], expected, 1e-4)


class Pooled(Detector):
    """Its features of given regions."""

    def forward(self, image, rois):
        return self.align(self.deformed(self.stem(image).relu()), rois)


def test_half_precision_from_an_exported_program():
    """The graph may be recorded first, by torch.export; the regions are in float32, and have what one may not hold in half."""
    half, rng = Pooled().eval().half(), torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, 32, 32, generator=rng).half()
    rois = torch.tensor([[0, 2.25, 3.5, 20.125, 30], [0, 0, 0, 31, 31]])
    with torch.no_grad():
        program = torch.export.export(half, (image, rois))
        found = run(session(torch.onnx.export(program, dynamo=True, verbose=False)), [image, rois])
        assert found[0].dtype == np.float16
        compare(found, half(image, rois), 4e-3)


LOADED = """
import sys
import torch
import arrayvision.torch_bridge.ops

model = torch._inductor.aoti_load_package(sys.argv[1])
torch.save(list(model(*torch.load(sys.argv[2]))), sys.argv[3])
"""


@pytest.mark.alone
def test_a_package_of_aotinductor_in_another_process(tmp_path):
    """Which imports the bridge alone; compiling it takes a minute or two."""

    def call(boxes, scores, features):
        dets, inds = ops.nms(boxes, scores, 0.5, max_num=8)
        rois = torch.cat([torch.zeros_like(dets[:, :1]), dets[:, :4]], 1)
        return ops.roi_align(features, rois, 2, 0.5), inds

    rng = np.random.default_rng(0)
    inputs = [upright(rng, 30), rng.random(30), rng.standard_normal((1, 3, 20, 20))]
    inputs = [torch.from_numpy(x).float() for x in inputs]
    package, given, found = (str(tmp_path / name) for name in ("model.pt2", "given.pt", "found.pt"))
    torch._inductor.aoti_compile_and_package(torch.export.export(Model(call), tuple(inputs)), package_path=package)
    torch.save(inputs, given)
    done = subprocess.run(
        [sys.executable, "-c", LOADED, package, given, found], capture_output=True, text=True, timeout=300
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    compare([x.numpy() for x in torch.load(found)], call(*inputs))


# ---- the older convention ---------------------------------------------------------------------------------------------
KINDS = [
    "MMCVRoIAlign",
    "MMCVRoIAlignRotated",
    "MMCVBorderAlign",
    "MMCVCAWeight",
    "MMCVCAMap",
    "MMCVCornerPool",
    "MMCVDeformConv2d",
    "MMCVModulatedDeformConv2d",
    "MMCVDeformRoIPool",
    "MMCVMaskedConv2d",
    "MMCVPSAMask",
    "NonMaxSuppression",
    "grid_sampler",
    "cummax",
    "cummin",
]
CALLS = {case.name: case for case in CASES if case.function in TRANSLATIONS["mmcv"]}


def evaluated(program, args):
    """By the reference implementations, and the kinds of the domain's nodes."""
    from onnx.reference import ReferenceEvaluator

    from arrayvision.torch_bridge.onnx import reference

    proto = program.model_proto
    assert "mmcv" in {o.domain for o in proto.opset_import}
    evaluator = ReferenceEvaluator(proto, new_ops=reference.OPERATORS)
    found = evaluator.run(None, {slot.name: x.numpy() for slot, x in zip(proto.graph.input, args, strict=True)})
    return found, {node.op_type for node in proto.graph.node if node.domain == "mmcv"}


def test_the_convention_is_whole():
    from arrayvision.torch_bridge.onnx import reference

    assert {kind.__name__ for kind in reference.OPERATORS} >= set(KINDS)


@pytest.mark.parametrize("name", CALLS)
def test_operators_of_the_older_convention(name):
    case = CALLS[name]

    def function(*args):
        return getattr(ops, case.function)(**dict(zip(case.inputs, args, strict=True)), **case.arguments)

    args = tensors(case)
    program = bridge.export(Model(function).eval(), tuple(args), domain="mmcv", verbose=False)
    found, kinds = evaluated(program, args)
    own = "roi_align_max" if case.arguments.get("pool_mode") == "max" else case.function
    assert kinds == {kind for kind in bridge.NAMES[own].split(", ") if kind != "Softmax"}
    compare(found, function(*args), 3e-5)


@pytest.mark.parametrize("name", ["nms, limits", "batched_nms", "batched_nms, limit", "batched_nms, agnostic"])
def test_suppression_of_the_older_convention(name):
    make, function = SUPPRESSIONS[name]
    rng = np.random.default_rng(0)
    args = [torch.from_numpy(x) for x in (make(rng, 30), rng.permutation(30) // 2 / 30, rng.integers(0, 4, 30))]
    args = [x.float() if x.is_floating_point() else x for x in args]
    call = function if "batched" in name else lambda boxes, scores: function(boxes, scores, None)
    args = args if "batched" in name else args[:2]
    found, kinds = evaluated(bridge.export(Model(call).eval(), tuple(args), domain="mmcv", verbose=False), args)
    assert kinds == {"NonMaxSuppression"}
    compare(found, call(*args))


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_samples_of_the_older_convention(mode, padding):
    rng = np.random.default_rng(0)
    args = [
        torch.from_numpy(x).float() for x in (rng.standard_normal((2, 3, 5, 6)), rng.uniform(-1.6, 1.6, (2, 4, 5, 2)))
    ]

    def call(image, grid):
        return [
            torch.nn.functional.grid_sample(image, grid, mode, padding, align_corners=corners)
            for corners in (False, True)
        ]

    found, kinds = evaluated(bridge.export(Model(call).eval(), tuple(args), domain="mmcv", verbose=False), args)
    assert kinds == {"grid_sampler"}
    compare(found, call(*args))


def test_running_maxima_of_the_older_convention():
    args = [torch.from_numpy(np.random.default_rng(0).integers(0, 4, (2, 3, 7))).float()]

    def call(x):
        return [*torch.cummax(x, 1), *torch.cummin(x, -1)]

    found, kinds = evaluated(bridge.export(Model(call).eval(), tuple(args), domain="mmcv", verbose=False), args)
    assert kinds == {"cummax", "cummin"}
    compare(found, call(*args))


def test_another_domain_is_an_error():
    with pytest.raises(ValueError, match="export: domain must be"):
        bridge.export(Model(torch.relu), (torch.zeros(1),), domain="mmdeploy")
