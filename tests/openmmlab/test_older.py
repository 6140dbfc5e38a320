"""Names that public projects import from mmcv beside its operators and layers: they are there, and do what they say."""

import inspect
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from arrayvision import image
from arrayvision.older import cnn, image as older_image, ops as older, transforms, utils
from arrayvision.torch_bridge import ops
from arrayvision.torch_bridge.cnn.bricks import wrappers
from arrayvision.torch_bridge.cnn.utils import flops_counter

NAMES = """
mmcv.cnn.bricks: SiLU
mmcv.cnn.bricks.activation: SiLU
mmcv.cnn.utils.flops_counter: add_batch_counter_hook_function add_batch_counter_variables_or_reset
mmcv.cnn.utils.flops_counter: add_flops_counter_variable_or_reset add_flops_counting_methods batch_counter_hook
mmcv.cnn.utils.flops_counter: compute_average_flops_cost conv_flops_counter_hook deconv_flops_counter_hook
mmcv.cnn.utils.flops_counter: empty_flops_counter_hook flops_to_string get_model_complexity_info get_modules_mapping
mmcv.cnn.utils.flops_counter: get_model_parameters_number is_supported_instance linear_flops_counter_hook
mmcv.cnn.utils.flops_counter: norm_flops_counter_hook params_to_string pool_flops_counter_hook print_model_with_flops
mmcv.cnn.utils.flops_counter: relu_flops_counter_hook remove_batch_counter_hook_function
mmcv.cnn.utils.flops_counter: remove_flops_counter_hook_function reset_flops_count start_flops_count stop_flops_count
mmcv.cnn.utils.flops_counter: upsample_flops_counter_hook
mmcv.image.colorspace: convert_color_factory
mmcv.image.geometric: _scale_size imread_backend pillow_interp_codes
mmcv.image.io: TJCS_RGB TJPF_BGR TJPF_GRAY jpeg
mmcv.image.photometric: imread_backend
mmcv.ops: Conv2d ConvTranspose2d Linear MaxPool2d NMSop RotatedFeatureAlignFunction SoftNMSop bilinear_grid_sample
mmcv.ops.bbox: ext_module
mmcv.ops.bias_act: EasyDict activation_funcs
mmcv.ops.cc_attention: NEG_INF_DIAG
mmcv.ops.deform_conv: IS_MLU_AVAILABLE
mmcv.ops.deprecated_wrappers: Conv2d_deprecated ConvTranspose2d_deprecated Linear_deprecated MaxPool2d_deprecated
mmcv.ops.diff_iou_rotated: EPSILON SortVertices box1_in_box2 box2corners box_in_box box_intersection build_vertices
mmcv.ops.diff_iou_rotated: calculate_area diff_iou_rotated_2d diff_iou_rotated_3d oriented_box_intersection_2d sort_indices
mmcv.ops.fused_bias_leakyrelu: bias_leakyrelu_ref
mmcv.ops.modulated_deform_conv: IS_MLU_AVAILABLE IS_NPU_AVAILABLE
mmcv.ops.multi_scale_deform_attn: IS_CUDA_AVAILABLE IS_MLU_AVAILABLE IS_NPU_AVAILABLE
mmcv.ops.nms: NMSop SoftNMSop array_like_type
mmcv.ops.point_sample: bilinear_grid_sample
mmcv.ops.rotated_feature_align: RotatedFeatureAlignFunction
mmcv.ops.sparse_conv: SparseConv2d SparseConv3d SparseConv4d SparseConvTranspose2d SparseConvTranspose3d SparseConvolution
mmcv.ops.sparse_conv: SparseInverseConv2d SparseInverseConv3d SubMConv2d SubMConv3d SubMConv4d
mmcv.ops.sparse_functional: SparseConvFunction SparseInverseConvFunction SparseMaxPoolFunction SubMConvFunction indice_conv
mmcv.ops.sparse_functional: indice_inverse_conv indice_maxpool indice_subm_conv
mmcv.ops.sparse_modules: RemoveGrid SparseModule SparseSequential ToDense is_sparse_conv is_spconv_module
mmcv.ops.sparse_ops: fused_indice_conv get_conv_output_size get_deconv_output_size get_indice_pairs indice_conv
mmcv.ops.sparse_ops: indice_conv_backward indice_maxpool indice_maxpool_backward
mmcv.ops.sparse_pool: SparseMaxPool SparseMaxPool2d SparseMaxPool3d
mmcv.ops.sparse_structure: SparseConvTensor scatter_nd
mmcv.transforms.processing: Number _scale_size
mmcv.utils.ext_loader: check_ops_exist get_fake_func has_return_value_ops load_ext
mmcv.utils.parrots_jit: jit parrots_jit_option skip_no_elena
mmcv.video.optflow: dequantize quantize
mmcv.visualization.image: ColorType
mmcv.visualization.optflow: rgb2bgr
"""


def test_they_can_be_imported():
    """And none is a stand-in for something that is missing."""
    lines = [line.split(": ") for line in NAMES.strip().splitlines()]
    imports = "\n".join(f"from {module} import {', '.join(names.split())}" for module, names in lines)
    checks = "\n".join(
        f"assert 'is not in this version' not in str(getattr({name}, '__doc__', '')), '{name}'"
        for _, names in lines
        for name in names.split()
    )
    code = f"""
from arrayvision import openmmlab
openmmlab.install()
{imports}
{checks}
import mmcv
mmcv.use_backend("pillow")
from mmcv.image import geometric, photometric
assert geometric.imread_backend == photometric.imread_backend == "pillow"
import mmcv.ops, mmcv.cnn
assert issubclass(mmcv.ops.Conv2d, mmcv.cnn.Conv2d) and mmcv.ops.Conv2d is not mmcv.cnn.Conv2d
try:
    ext_module.psamask_forward(1)
except ImportError as error:
    assert "psamask_forward is not in this version of arrayvision: it is of mmcv's compiled extension" in str(error)
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and "fine" in done.stdout, done.stderr[-2000:]


# ---- suppression -----------------------------------------------------------------------------------------------------
def test_suppression_by_apply():
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 30, 30]])
    scores = torch.tensor([0.5, 0.9, 0.7])
    assert older.NMSop.apply(boxes, scores, 0.5, 0, 0, -1).tolist() == [1, 2]
    assert older.NMSop.apply(boxes, scores, 0.5, 0, 0.8, 1).tolist() == [1]
    for number, method in enumerate(("naive", "linear", "gaussian")):
        got = older.SoftNMSop.apply(boxes, scores, 0.3, 0.5, 1e-3, number, 0)
        for a, b in zip(got, ops.soft_nms(boxes, scores, 0.3, 0.5, 1e-3, method), strict=True):
            assert torch.equal(a, b)


# ---- layers ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d", "Linear", "MaxPool2d"])
def test_deprecated_layers(name):
    layer, newer = getattr(older, name), getattr(wrappers, name)
    assert layer is getattr(older, f"{name}_deprecated") and issubclass(layer, newer)
    kinds = [p.kind for p in inspect.signature(layer.__init__).parameters.values()]
    assert kinds[1:] == [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]
    arguments = {"MaxPool2d": (2,), "Linear": (3, 4)}.get(name, (3, 4, 2))
    with pytest.warns(DeprecationWarning, match=rf"{name} of the operators is deprecated") as warned:
        made = layer(*arguments)
    assert warned[0].filename == __file__
    x = torch.randn(2, 3) if name == "Linear" else torch.randn(2, 3, 6, 6)
    plain = newer(*arguments)
    plain.load_state_dict(made.state_dict())
    assert torch.equal(made(x), plain(x))


# ---- intersections of rotated boxes ----------------------------------------------------------------------------------
def rotated(n, seed):
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(2, n, 5, generator=generator, dtype=torch.float64) * torch.tensor([4, 4, 3, 3, 6.0])
    return boxes + torch.tensor([0, 0, 0.5, 0.5, -3.0])


def shared(first, second):
    return older.oriented_box_intersection_2d(older.box2corners(first), older.box2corners(second))[0]


def test_corners():
    corners = older.box2corners(torch.tensor([[[1.0, 2, 4, 2, torch.pi / 2]]]))
    torch.testing.assert_close(corners[0, 0], torch.tensor([[0.0, 4], [0, 0], [2, 0], [2, 4]]), atol=1e-6, rtol=0)


def test_the_area_that_boxes_share():
    shapely = pytest.importorskip("shapely", reason="the oracle is shapely, which isn't installed")
    first, second = rotated(150, 0), rotated(150, 1)
    second[0, :10] = first[0, :10]  # equal
    second[0, 10:20] = first[0, 10:20] * torch.tensor([1, 1, 0.5, 0.5, 1])  # within
    second[0, 20:30, :2] = first[0, 20:30, :2] + 50  # apart
    first[1, :10, 4] = second[1, :10, 4] = 0  # axis-aligned
    second[1, :10, :4] = first[1, :10, :4] + torch.tensor([0.25, 0, 0, 0])  # edges on one line
    got = shared(first, second)
    assert got.shape == (2, 150)
    polygons = [shapely.polygons(older.box2corners(boxes).numpy().reshape(-1, 4, 2)) for boxes in (first, second)]
    np.testing.assert_allclose(got.numpy().ravel(), shapely.area(shapely.intersection(*polygons)), atol=1e-4)


def test_its_parts():
    first, second = (older.box2corners(rotated(20, seed)) for seed in (2, 3))
    points, crosses = older.box_intersection(first, second)
    assert points.shape == (2, 20, 4, 4, 2) and crosses.shape == (2, 20, 4, 4) and crosses.any()
    assert (points[~crosses] == 0).all()
    inside = older.box_in_box(first, second)
    assert torch.equal(inside[0], older.box1_in_box2(first, second)) and inside[1].shape == (2, 20, 4)
    vertices, mask = older.build_vertices(first, second, *inside, points, crosses)
    assert vertices.shape == (2, 20, 24, 2) and mask.shape == (2, 20, 24)
    order = older.sort_indices(vertices, mask)
    assert order.shape == (2, 20, 9) and order.dtype == torch.int64
    area, selected = older.calculate_area(order, vertices)
    assert area.shape == (2, 20) and selected.shape == (2, 20, 9, 2)
    for row, valid, total in zip(order.flatten(0, 1), mask.flatten(0, 1), mask.sum(-1).flatten(), strict=True):
        count = min(int(total), 8)
        corners = row[:count].tolist()
        assert valid[corners].all() and len(set(corners)) == count
        assert not count or row[count] == row[0]
        assert not valid[row[count + 1 if count else 0 :]].any()
    assert older.EPSILON == 1e-8


def test_its_gradient():
    first, second = rotated(6, 4).requires_grad_(), rotated(6, 5).requires_grad_()
    assert torch.autograd.gradcheck(shared, (first, second), atol=1e-4)


# ---- counting operations ---------------------------------------------------------------------------------------------
def test_hooks_count_as_the_counter_does():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Upsample(scale_factor=2),
        nn.ConvTranspose2d(8, 4, 3), nn.Flatten(), nn.Linear(4 * 12 * 12, 5),
    ).eval()  # fmt: skip
    wanted = flops_counter.get_model_complexity_info(model, (3, 12, 12), False, False)
    cnn.reset_flops_count(model)
    cnn.start_flops_count(model)
    model(torch.zeros(2, 3, 12, 12))
    model(torch.zeros(1, 3, 12, 12))
    assert model.__batch_counter__ == 3 and cnn.compute_average_flops_cost(model) == wanted
    assert model[0].__params__ == 8 * 28 and sum(getattr(m, "__flops__", 0) for m in model) == 3 * wanted[0]
    cnn.stop_flops_count(model)
    model(torch.zeros(5, 3, 12, 12))
    assert model.__batch_counter__ == 3
    assert not any(m._forward_hooks for m in model.modules())
    cnn.reset_flops_count(model)
    assert model.__batch_counter__ == 0 and model[0].__flops__ == 0


def test_one_hook_at_a_time():
    for hook, layer, x in (
        (cnn.conv_flops_counter_hook, nn.Conv2d(3, 8, 3), torch.zeros(1, 3, 9, 9)),
        (cnn.deconv_flops_counter_hook, nn.ConvTranspose2d(3, 8, 3), torch.zeros(1, 3, 9, 9)),
        (cnn.linear_flops_counter_hook, nn.Linear(9, 4), torch.zeros(1, 9)),
        (cnn.norm_flops_counter_hook, nn.BatchNorm2d(3), torch.zeros(1, 3, 9, 9)),
        (cnn.relu_flops_counter_hook, nn.ReLU(), torch.zeros(1, 3, 9, 9)),
        (cnn.pool_flops_counter_hook, nn.AvgPool2d(3), torch.zeros(1, 3, 9, 9)),
        (cnn.upsample_flops_counter_hook, nn.Upsample(scale_factor=2), torch.zeros(1, 3, 9, 9)),
        (cnn.empty_flops_counter_hook, nn.ReLU(), torch.zeros(1, 3, 9, 9)),
    ):
        counted = flops_counter.get_model_complexity_info(layer, tuple(x.shape[1:]), False, False)[0]
        cnn.add_flops_counter_variable_or_reset(layer)
        layer.register_forward_hook(hook)
        layer(x)
        if hook is cnn.empty_flops_counter_hook:
            assert layer.__flops__ == 0
        else:
            assert layer.__flops__ == counted > 0 and cnn.get_modules_mapping()[type(layer)] is hook
    counting = nn.Identity()
    cnn.add_batch_counter_variables_or_reset(counting)
    with pytest.warns(UserWarning, match="without positional arguments"):
        cnn.batch_counter_hook(counting, (), None)
    assert counting.__batch_counter__ == 1


# ---- images and the rest ---------------------------------------------------------------------------------------------
def test_images():
    from PIL import Image

    img = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    assert older_image.convert_color_factory("bgr", "hsv") is image.bgr2hsv
    convert = older_image.convert_color_factory("bgr", "lab")
    np.testing.assert_array_equal(convert(img), image.imconvert(img, "bgr", "lab"))
    assert convert.__name__ == "bgr2lab"
    codes = older_image.pillow_interp_codes
    assert codes["bilinear"] == Image.Resampling.BILINEAR
    assert set(codes) >= {"nearest", "bilinear", "bicubic", "box", "lanczos", "hamming"}
    assert older_image.imread_backend == image.io.imread_backend == "cv2"
    assert (older_image.TJCS_RGB, older_image.TJPF_BGR, older_image.TJPF_GRAY, older_image.jpeg) == (0, 1, 6, None)
    assert transforms._scale_size((10, 20), 1.5) == (15, 30) and isinstance(1, transforms.Number)


def test_names_without_a_module():
    for module in (older, older_image):
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            module.nothing  # noqa: B018
    assert older.IS_MLU_AVAILABLE is False and isinstance(older.IS_CUDA_AVAILABLE, bool)
    with pytest.raises(AttributeError):
        older.IS_NOTHING_AVAILABLE  # noqa: B018


def test_a_function_that_warns_and_raises():
    with pytest.warns(UserWarning, match="this_op is not supported"), pytest.raises(KeyError, match="why"):
        utils.get_fake_func("this_op", KeyError("why"))(1, two=2)
    assert "nms_match" in utils.has_return_value_ops
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        utils.get_fake_func("x", KeyError())


def test_bilinear_grid_sample():
    x, grid = torch.randn(2, 3, 5, 6, dtype=torch.float64), torch.rand(2, 4, 7, 2, dtype=torch.float64) * 2.4 - 1.2
    for corners in (False, True):
        wanted = nn.functional.grid_sample(x, grid, align_corners=corners)
        assert torch.equal(ops.bilinear_grid_sample(x, grid, corners), wanted)
    assert ops.bilinear_grid_sample(torch.zeros(2, 3, 0, 6), grid).shape == (2, 3, 4, 7)
    with pytest.raises(ValueError, match=r"grid must have shape \(N, rows, columns, 2\)"):
        ops.bilinear_grid_sample(x, grid[..., 0])
    with pytest.raises(ValueError, match="as many rows as im"):
        ops.bilinear_grid_sample(x, grid[:1])


def test_what_lies_around_activations():
    kind = older.EasyDict(def_alpha=0)
    kind.def_alpha = 1
    assert kind == {"def_alpha": 1} and kind.def_alpha == 1
    del kind.def_alpha
    for action in (lambda: kind.def_alpha, lambda: delattr(kind, "def_alpha")):
        with pytest.raises(AttributeError, match="def_alpha"):
            action()
    x = torch.tensor([[-1.0, 2]], dtype=torch.double)
    torch.testing.assert_close(older.activation_funcs["lrelu"].func(x, alpha=0.5), x.new_tensor([[-0.5, 2]]))
    torch.testing.assert_close(older.activation_funcs["elu"].func(x), torch.nn.functional.elu(x))
    assert older.activation_funcs["swish"].def_gain == 2**0.5
    torch.testing.assert_close(older.bias_leakyrelu_ref(x, None, 0.1, 1), x.new_tensor([[-0.1, 2]]))
    torch.testing.assert_close(older.bias_leakyrelu_ref(x, x[0], 0.1, 2.0), x.new_tensor([[-0.4, 8]]))
    assert older.NEG_INF_DIAG(2, "cpu").tolist() == [[-torch.inf, 0], [0, -torch.inf]]
