"""Calls of every public function and module with arguments that are wrong in all ways; `python -m tests.torch_bridge.fuzz 100000`.

A call may succeed, or raise our own TypeError or ValueError whose text begins with the function's or the module's name.
Anything else (another error, torch's own words, a warning) is a finding.
"""

from __future__ import annotations

import collections
import inspect
import random
import sys
import warnings

import numpy as np
import torch

from arrayvision import cases, ops as array_ops
from arrayvision.operators import OPERATORS
from arrayvision.torch_bridge import ops

BOXES = np.array([[0, 0, 4, 4], [1, 1, 5, 5], [9, 9, 11, 12.0]])
SCORES = np.array([0.5, 0.25, 0.75])
LABELS = np.array([0, 1, 0])
FEATURES = np.linspace(-1, 1, 2 * 4 * 5 * 6).reshape(2, 4, 5, 6)
KERNELS = np.array([[0, 1, 1, 0, 0, 0], *[[0] * 6] * 3, [0, 0, 0, 2, 2, 0]])
ROIS = np.array([[0, 0.5, 0.5, 3, 3], [1, 1, 0, 4, 5]])
POINTS = np.array([[[0.25, 0.5]], [[0.75, 0.5]]])
CLOUD = np.linspace(-1, 1, 30).reshape(2, 5, 3)
FIVE = np.concatenate([BOXES, SCORES[:, None]], 1)
QUADS = BOXES[:, [0, 1, 2, 1, 2, 3, 0, 3]]

_ATTENTION = dict(
    value=FEATURES.reshape(2, 15, 2, 4), value_spatial_shapes=np.array([[2, 3], [3, 3]]),
    sampling_locations=np.linspace(0, 1, 96).reshape(2, 3, 2, 2, 2, 2), attention_weights=np.ones((2, 3, 2, 2, 2)),
)  # fmt: skip

FUNCTIONS: dict = {
    "batched_nms": dict(boxes=BOXES, scores=SCORES, idxs=LABELS, nms_cfg=dict(type="nms", iou_threshold=0.5), class_agnostic=False),
    "contour_expand": dict(kernel_mask=FEATURES[:, 0], internal_kernel_label=KERNELS, min_kernel_area=1, kernel_num=2),
    "pixel_group": dict(
        score=FEATURES[0, 0], mask=FEATURES[1, 0], embedding=FEATURES[0].transpose(1, 2, 0), kernel_label=KERNELS,
        kernel_contour=KERNELS, kernel_region_num=3, distance_threshold=0.8,
    ),
    "nms": dict(boxes=BOXES, scores=SCORES, iou_threshold=0.5, offset=0, score_threshold=0.0, max_num=-1),
    "nms_match": dict(dets=FIVE, iou_threshold=0.5),
    "nms_quadri": dict(dets=QUADS, scores=SCORES, iou_threshold=0.5, labels=None),
    "nms3d": dict(boxes=np.ones((3, 7)), scores=SCORES, iou_threshold=0.5),
    "nms3d_normal": dict(boxes=np.ones((3, 7)), scores=SCORES, iou_threshold=0.5),
    "nms_bev": dict(boxes=np.ones((3, 5)), scores=SCORES, thresh=0.5, pre_max_size=4, post_max_size=2),
    "nms_normal_bev": dict(boxes=np.ones((3, 5)), scores=SCORES, thresh=0.5),
    "nms_rotated": dict(dets=FIVE, scores=SCORES, iou_threshold=0.5, labels=LABELS, clockwise=True),
    "soft_nms": dict(boxes=BOXES, scores=SCORES, iou_threshold=0.3, sigma=0.5, min_score=1e-3, method="linear", offset=0),
    "calc_square_dist": dict(point_feat_a=CLOUD, point_feat_b=CLOUD[:, :3], norm=True),
    "get_sampler_cls": dict(sampler_type="FS"),
    "abs_img_point_to_rel_img_point": dict(abs_img_points=POINTS, img=(5, 6), spatial_scale=1.0),
    "bilinear_grid_sample": dict(im=FEATURES, grid=POINTS[:, :, None] * 2 - 1, align_corners=False),
    "conv2d": dict(input=FEATURES, weight=FEATURES[:, :, :2, :3], bias=None, stride=1, padding=0, dilation=1, groups=1),
    "conv_transpose2d": dict(input=FEATURES, weight=FEATURES[0, :, :2, :3, None].transpose(0, 3, 1, 2), bias=None, stride=1, padding=0,
                             output_padding=0, groups=1, dilation=1),
    "denormalize": dict(grid=POINTS),
    "generate_grid": dict(num_grid=2, size=(2, 3), device="cpu"),
    "get_compiler_version": dict(),
    "get_compiling_cuda_version": dict(),
    "get_shape_from_feature_map": dict(x=FEATURES),
    "normalize": dict(grid=POINTS),
    "multi_scale_deformable_attn_pytorch": _ATTENTION,
    "point_sample": dict(input=FEATURES, points=POINTS, align_corners=False),
    "rel_roi_point_to_abs_img_point": dict(rois=ROIS, rel_roi_points=POINTS),
    "rel_roi_point_to_rel_img_point": dict(rois=ROIS, rel_roi_points=POINTS, img=(5, 6), spatial_scale=0.5),
}  # fmt: skip
for _case in cases.cases():
    if _case.function not in FUNCTIONS:
        _signature = inspect.signature(getattr(ops, _case.function)).parameters
        _defaults = {n: p.default for n, p in _signature.items() if p.default is not p.empty}
        FUNCTIONS[_case.function] = _defaults | dict(_case.inputs) | dict(_case.arguments)

SITES = np.array([[0, 1, 1], [0, 1, 2], [1, 3, 0]])
SPARSE = ops.SparseConvTensor(torch.ones(3, 4), torch.from_numpy(SITES), [4, 5], 2)
DEEP = ops.SparseConvTensor(torch.ones(3, 4), torch.from_numpy(SITES[:, [0, 1, 1, 2]]), [4, 4, 5], 2)
HYPER = ops.SparseConvTensor(torch.ones(3, 4), torch.from_numpy(SITES[:, [0, 1, 1, 2, 2]]), [4, 4, 5, 5], 2)
FUNCTIONS["SparseConvTensor"] = dict(
    features=FEATURES[0, 0, :3], indices=SITES, spatial_shape=(4, 5), batch_size=2, grid=None
)
FUNCTIONS["SparseModule"] = dict()
FUNCTIONS["scatter_nd"] = dict(indices=SITES, updates=SCORES, shape=(2, 4, 5))
_SPARSE = dict(
    in_channels=4, out_channels=2, kernel_size=3, stride=1, padding=1, dilation=1, groups=1, bias=True, indice_key=None
)
_SPARSE_POOL = dict(kernel_size=2, stride=2, padding=0, dilation=1)
_SIZED = dict(output_size=(2, 3), spatial_scale=0.5)
_CONV = dict(in_channels=4, out_channels=6, kernel_size=2, stride=2, padding=0, dilation=1, groups=2)
_GROUPED = dict(points_xyz=CLOUD, center_xyz=CLOUD[:, :2], features=CLOUD.swapaxes(1, 2))
_SAMPLED = dict(points=CLOUD, features=CLOUD.swapaxes(1, 2), npoint=2)
MODULES: dict = {  # the constructor's arguments, and the call's
    "DFPSSampler": (dict(), _SAMPLED),
    "FFPSSampler": (dict(), _SAMPLED),
    "FSSampler": (dict(), _SAMPLED),
    "GroupAll": (dict(use_xyz=True), dict(xyz=CLOUD, new_xyz=CLOUD, features=CLOUD.swapaxes(1, 2))),
    "PointsSampler": (
        dict(num_point=[1, 2], fps_mod_list=["F-FPS", "D-FPS"], fps_sample_range_list=[3, -1]),
        dict(points_xyz=CLOUD, features=CLOUD.swapaxes(1, 2)),
    ),
    "QueryAndGroup": (
        dict(max_radius=0.5, sample_num=3, min_radius=0.0, use_xyz=True, normalize_xyz=True, uniform_sample=True,
             return_unique_cnt=True), _GROUPED,
    ),
    "CARAFEPack": (
        dict(channels=4, scale_factor=2, up_kernel=3, up_group=2, encoder_kernel=3, encoder_dilation=2, compressed_channels=2),
        dict(x=FEATURES),
    ),
    "CornerPool": (dict(mode="top"), dict(x=FEATURES)),
    "DeformConv2d": (
        _CONV | dict(deform_groups=2, bias=False, im2col_step=32), dict(x=FEATURES, offset=FEATURES.repeat(4, 1)[:, :, :2, :3]),
    ),
    "DeformConv2dPack": (_CONV | dict(deform_groups=2, bias=False, im2col_step=32), dict(x=FEATURES)),
    "CrissCrossAttention": (dict(in_channels=8), dict(x=np.concatenate([FEATURES] * 2, 1))),
    "DeformRoIPoolPack": (_SIZED | dict(output_channels=4, deform_fc_channels=8), dict(input=FEATURES, rois=ROIS)),
    "ModulatedDeformConv2d": (
        _CONV | dict(deform_groups=2, bias=True),
        dict(x=FEATURES, offset=FEATURES.repeat(4, 1)[:, :, :2, :3], mask=FEATURES.repeat(2, 1)[:, :, :2, :3]),
    ),
    "ModulatedDeformConv2dPack": (_CONV | dict(deform_groups=2, bias=True), dict(x=FEATURES)),
    "MaskedConv2d": (
        dict(in_channels=4, out_channels=2, kernel_size=3, stride=1, padding=1, dilation=1, groups=1, bias=True),
        dict(input=FEATURES, mask=np.ones((2, 5, 6))),
    ),
    "ModulatedDeformRoIPoolPack": (_SIZED | dict(output_channels=4, deform_fc_channels=8), dict(input=FEATURES, rois=ROIS)),
    "FusedBiasLeakyReLU": (dict(num_channels=4, negative_slope=0.2, scale=1.5), dict(input=FEATURES)),
    "DynamicScatter": (
        dict(voxel_size=(1, 1, 1), point_cloud_range=(0, 0, 0, 4, 4, 4), average_points=True),
        dict(points=BOXES, coors=np.zeros((len(BOXES), 3), np.int64)),
    ),
    "MultiScaleDeformableAttention": (
        dict(embed_dims=8, num_heads=2, num_levels=2, num_points=2, im2col_step=64, dropout=0.1, batch_first=True,
             norm_cfg=None, init_cfg=None, value_proj_ratio=1.0),
        dict(query=FEATURES.reshape(2, 15, 8)[:, :3], key=None, value=FEATURES.reshape(2, 15, 8), identity=None, query_pos=None,
             key_padding_mask=np.zeros((2, 15), bool), reference_points=np.full((2, 3, 2, 4), 0.5),
             spatial_shapes=np.array([[2, 3], [3, 3]]), level_start_index=np.array([0, 6])),
    ),
    "SAConv2d": (_CONV | dict(kernel_size=3, padding=1, bias=True, use_deform=True), dict(x=FEATURES)),
    "SigmoidFocalLoss": (dict(gamma=2.0, alpha=0.25, weight=None, reduction="mean"), dict(input=BOXES, target=LABELS)),
    "SimpleRoIAlign": (_SIZED | dict(aligned=True), dict(features=FEATURES, rois=ROIS)),
    "SoftmaxFocalLoss": (dict(gamma=2.0, alpha=0.25, weight=None, reduction="mean"), dict(input=BOXES, target=LABELS)),
    **{
        f"{kind}{len(x.spatial_shape)}d": (_SPARSE, dict(input=x))
        for x in (SPARSE, DEEP, HYPER)
        for kind in ("SparseConv", "SparseConvTranspose", "SubMConv")
        if x is not HYPER or kind != "SparseConvTranspose"
    },
    "SparseConvolution": (dict(ndim=2, **_SPARSE, subm=False, output_padding=0, transposed=True, inverse=False), dict(input=SPARSE)),
    **{
        f"SparseInverseConv{d}d": (dict(in_channels=4, out_channels=2, kernel_size=3, indice_key="a", bias=True), dict(input=x))
        for d, x in ((2, SPARSE), (3, DEEP))
    },
    "SparseMaxPool": (dict(ndim=2, **_SPARSE_POOL, subm=False), dict(input=SPARSE)),
    "SparseMaxPool2d": (_SPARSE_POOL, dict(input=SPARSE)),
    "SparseMaxPool3d": (_SPARSE_POOL, dict(input=DEEP)),
    "SparseSequential": (dict(a=torch.nn.Identity(), b=ops.ToDense()), dict(input=SPARSE)),
    "RemoveGrid": (dict(), dict(x=SPARSE)),
    "ToDense": (dict(), dict(x=SPARSE)),
    "Voxelization": (
        dict(voxel_size=(1, 1, 1), point_cloud_range=(0, 0, 0, 4, 4, 4), max_num_points=3, max_voxels=(5, 6)),
        dict(input=BOXES),
    ),
    "SyncBatchNorm": (
        dict(num_features=4, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, group=None, stats_mode="N"),
        dict(input=FEATURES),
    ),
}  # fmt: skip


def of_cases():
    """Modules whose constructor and call take what a case of their function has, and defaults."""
    found, rows = {}, {row.name: row for row in OPERATORS}
    for case in cases.cases():
        for name in rows[case.function].modules:
            kind = getattr(ops, name)
            if name in FUNCTIONS or not isinstance(kind, type):
                continue
            made = []
            for function, given in ((kind.__init__, case.arguments), (kind.forward, {**case.inputs, **case.arguments})):
                wanted = list(inspect.signature(function).parameters.values())[1:]
                values = {p.name: given.get(p.name, p.default) for p in wanted if p.kind is p.POSITIONAL_OR_KEYWORD}
                made.append(values)
            if not any(value is inspect.Parameter.empty for values in made for value in values.values()):
                found.setdefault(name, tuple(made))
    return found


MODULES = of_cases() | MODULES
ALSO = {  # a function's errors may name one that it is made of, and a module's its function
    **dict.fromkeys(("DeformConv2d", "DeformConv2dPack", "SAConv2d"), ("deform_conv2d",)),
    **dict.fromkeys(("ModulatedDeformConv2d", "ModulatedDeformConv2dPack"), ("modulated_deform_conv2d",)),
    "DFPSSampler": ("furthest_point_sample",),
    "FFPSSampler": ("furthest_point_sample_with_dist",),
    "FSSampler": ("furthest_point_sample", "furthest_point_sample_with_dist"),
    "PointsSampler": ("furthest_point_sample", "furthest_point_sample_with_dist"),
    "QueryAndGroup": ("ball_query", "grouping_operation"),
    "DeformRoIPoolPack": ("deform_roi_pool",),
    "MultiScaleDeformableAttention": ("multi_scale_deformable_attn",),
    "multi_scale_deformable_attn_pytorch": ("multi_scale_deformable_attn",),
    "ModulatedDeformRoIPoolPack": ("deform_roi_pool",),
    "rel_roi_point_to_rel_img_point": ("rel_roi_point_to_abs_img_point", "abs_img_point_to_rel_img_point"),
    "FusedBiasLeakyReLU": ("fused_bias_leakyrelu", "bias_act"),
    "fused_bias_leakyrelu": ("bias_act",),
    **dict.fromkeys(("filter2d", "upsample2d", "downsample2d"), ("upfirdn2d",)),
    "abs_img_point_to_rel_img_point": ("get_shape_from_feature_map",),
    **dict.fromkeys(
        (n for n in MODULES if n.startswith(("Sparse", "SubM"))),
        ("sparse_conv_pairs", "sparse_conv", "sparse_max_pool"),
    ),
    "SparseSequential": ("ToDense",),
}
NUMBERS = (
    0, 1, -1, 2, 3, 7, 2**31, 2**40, -(2**40), 2**63, 2**70, -(2**70), 10**400, 0.0, 0.5, -0.5, 1e-300, 1e39, 1e308, -1e308,
    float("nan"), float("inf"), -float("inf"), 1j, True, False, np.float32(0.5), np.int64(3), np.float64("nan"), np.bool_(True),
)  # fmt: skip
OTHERS = (
    None, "", "mean", "1", "cpu", "cuda:7", "meta", b"x", (), [], (1,), (2, 2), [3, 1], (1, 2, 3), (-1, 2), (2.5, 1), ("a", 1),
    (None, 2), [[1, 2]], (2**40, 1), {}, {"type": "nms"}, object(), type, len, Ellipsis, slice(3), range(2), {1, 2},
    {"type": "soft_nms", "sigma": 0}, {"type": "nms", "iou_threshold": None}, {"iou_threshold": "0.5", "max_num": 2**70},
    {"iou_threshold": 0.5, "class_agnostic": 3}, {"type": [], "iou_threshold": 0.5}, {"type": "nms_rotated", "iou_threshold": 0.5},
    {1: 2}, {"iou_threshold": 0.5, "type": "soft_nms", "method": 3}, {"iou_threshold": 0.5, "offset": 2**70},
)  # fmt: skip
DTYPES = [
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.uint8, torch.int32, torch.int64, torch.bool,
    torch.complex64, torch.complex128, torch.uint16, torch.uint32, torch.uint64,
]  # fmt: skip
NUMPY = ["float16", "float32", "float64", "int8", "uint64", "int64", "bool", "complex64", "U3", "O", "M8[s]", ">f4"]


def changed(x, rng, torch_too=True):
    """An array that is not as it was."""
    with np.errstate(all="ignore"):
        return _changed(np.array(x), rng, torch_too)


def _changed(x, rng, torch_too):
    kind = rng.randrange(16)
    if kind == 0:
        x = x[..., :-1] if x.ndim else x
    elif kind == 1:
        x = x[None]
    elif kind == 2:
        x = x[0] if x.shape and len(x) else x
    elif kind == 3:
        x = x.reshape(-1)
    elif kind == 4:
        x = x[:0] if x.ndim else x
    elif kind == 5:
        x = x[:-1] if x.ndim else x
    elif kind == 6:
        x = np.array(x.reshape(-1)[0] if x.size else 0)
    elif kind == 7:
        x = x.astype(float) * rng.choice([np.nan, np.inf, -1.0, 1e30, -1e30, 1e-30, 2**31, 1e300])
    elif kind == 8:
        x = np.where(np.indices(x.shape).sum(0) % 3 == 0, rng.choice([np.nan, np.inf, -7, 1e20, 2**33]), x)
    elif kind == 9:
        x = x.T
    elif kind == 10:
        x = x[..., :0] if x.ndim else x
    elif kind == 11:
        x = np.concatenate([x, x]) if x.ndim else x
    if not torch_too:
        return x.astype(rng.choice(NUMPY)) if rng.random() < 0.4 else x
    return x


def tensor(x, rng):
    """A tensor of those values, or of another kind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.from_numpy(np.array(x))
        kind = rng.randrange(24)
        if kind < 6:
            made = made.to(rng.choice(DTYPES))
        elif kind == 6:
            made = made.to("meta")
        elif kind == 7:
            made = made.to_sparse()
        elif kind == 8:
            made = torch.nn.Parameter(made, requires_grad=made.is_floating_point())
        elif kind == 9:
            made = made.expand(2, *made.shape)
        elif kind == 10:
            made = torch._neg_view(made) if made.is_floating_point() else made
        elif kind == 11:
            made = torch.quantize_per_tensor(made.float(), 0.1, 0, torch.qint8)
        elif kind == 12:
            return [made]
        elif kind == 13:
            return list(made) if made.dim() else [made]
        elif kind == 14:
            return np.array(x)
        elif kind == 15 and made.dim() == 2 and made.shape[1] == 5:
            return [made[:1, 1:], made[1:, 1:]]
        if made.is_floating_point() and rng.random() < 0.3 and not made.is_quantized:
            made = made.detach().requires_grad_()
    return made


def value(given, rng, arrays):
    """What is given instead of an argument."""
    if isinstance(given, np.ndarray) and rng.random() < 0.6:
        x = changed(given, rng, not arrays)
        return x if arrays else tensor(x, rng)
    if rng.random() < 0.5:
        return rng.choice(NUMBERS)
    if rng.random() < 0.7:
        return rng.choice(OTHERS)
    x = changed(rng.choice([BOXES, SCORES, LABELS, FEATURES, ROIS, np.array(2.0)]), rng, not arrays)
    return x if arrays else tensor(x, rng)


def arguments(base, rng, arrays, changes):
    """The arguments, some of them changed."""
    made = {
        n: torch.from_numpy(np.array(a)) if isinstance(a, np.ndarray) and not arrays else a for n, a in base.items()
    }
    for n in rng.sample(sorted(base), min(changes, len(base))):
        made[n] = value(base[n], rng, arrays)
    if not arrays and rng.random() < 0.3:
        made = {
            n: a.detach().clone().requires_grad_() if type(a) is torch.Tensor and a.dtype == torch.float64 and a.layout is torch.strided else a
            for n, a in made.items()
        }  # fmt: skip
    return made


def described(a):
    if isinstance(a, torch.Tensor):
        return f"<{a.dtype} {tuple(a.shape)} {a.device} {a.layout}{' grad' if a.requires_grad else ''}>"
    if isinstance(a, np.ndarray):
        return f"<{a.dtype} {a.shape}>"
    if isinstance(a, (list, tuple)):
        return f"{type(a).__name__}[{', '.join(map(described, a))}]"
    return repr(a)[:60]


def fine(error, names):
    return isinstance(error, (TypeError, ValueError)) and any(str(error).startswith(f"{name}: ") for name in names)


def summed(out):
    if isinstance(out, torch.Tensor):
        return out.double().sum() if out.requires_grad else 0
    return sum(map(summed, out)) if isinstance(out, (list, tuple)) else 0


def attempt(kind, name, rng):
    """One call; what was found, or None."""
    arrays = kind == "arrays"
    changes = rng.choice([1, 1, 1, 2, 2, 3])
    names = (name, *ALSO.get(name, ()))
    if kind == "module":
        construct, call = MODULES[name]
        cut = rng.random() < 0.4
        construct = arguments(construct, rng, False, changes if cut else 0)
        call = arguments(call, rng, False, 0 if cut else changes)
        lower = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
        names += tuple(n for n in FUNCTIONS if n.replace("_", "") == lower.replace("_", ""))
        given = {**construct, **call}
    else:
        given = arguments(FUNCTIONS[name], rng, arrays, changes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            with torch.random.fork_rng(devices=[]):
                if kind == "module":
                    module = getattr(ops, name)(**construct)
                    out = module.double()(**call) if rng.random() < 0.8 else module(**call)
                else:
                    out = getattr(array_ops if arrays else ops, name)(**given)
            total = summed(out)
            if isinstance(total, torch.Tensor) and total.device.type == "cpu":
                total.backward()
        except MemoryError:
            return None  # a result that no memory holds
        except Exception as error:
            if fine(error, names) or "can't allocate memory" in str(error):
                return None
            said = f"{type(error).__name__}: {str(error)[:160]}"
            return f"{kind} {name}({', '.join(f'{n}={described(a)}' for n, a in given.items())}) -> {said}"
    return None


def subjects():
    """Every function and module: (kind, name)."""
    found = [("function", n) for n in FUNCTIONS] + [("module", n) for n in MODULES]
    return found + [("arrays", n) for n in FUNCTIONS if hasattr(array_ops, n)]


def run(count, seed=0, stop=50):
    """That many calls; the findings."""
    rng, found, listed = random.Random(seed), [], subjects()
    for k in range(count):
        finding = attempt(*listed[k % len(listed)], rng)
        if finding is not None:
            found.append(finding)
            if len(found) >= stop:
                break
    return found


if __name__ == "__main__":
    import faulthandler

    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    faulthandler.dump_traceback_later(3000, exit=True)
    seen: collections.Counter = collections.Counter()
    for text in run(count, seed, 10**9):
        kind = (text.split("(")[0], text.rsplit(" -> ")[-1][:70])
        seen[kind] += 1
        if seen[kind] == 1:
            print(text[:600], flush=True)
    print(sum(seen.values()), "findings of", len(seen), "kinds in", count, "calls")
