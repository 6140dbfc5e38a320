"""`import mmcv` served by this package, for code written for mmcv 2.x and the OpenMMLab projects.

    import arrayvision.openmmlab
    arrayvision.openmmlab.install()

or ``python -m arrayvision.openmmlab SCRIPT ARGS...`` (``-m MODULE`` for a module). After that `mmcv` and every module of
its 2.x layout can be imported; their names are looked up here when they are used, nothing is copied. mmengine's
registries, if it is installed, and ours find each other's names.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import pathlib
import sys
import types
from typing import Any

from arrayvision.registry import MODELS, TRANSFORMS, Registry

VERSION = "2.1.0"

# ---- the layout ------------------------------------------------------------------------------------------------------
_CNN, _OPS = "arrayvision.torch_bridge.cnn", "arrayvision.torch_bridge.ops"
_ROOTS = {"cnn": _CNN, "ops": _OPS}  # the others are where their names say

_PAGES = {  # package -> its modules
    "": "_ext arraymisc cnn image ops transforms utils version video visualization",
    "arraymisc": "quantization",
    "cnn": "alexnet bricks resnet rfsearch utils vgg",
    "cnn.bricks": "activation context_block conv conv2d_adaptive_padding conv_module conv_ws "
    "depthwise_separable_conv_module drop generalized_attention hsigmoid hswish non_local norm padding plugin scale "
    "swish transformer upsample wrappers",
    "cnn.rfsearch": "operator search utils",
    "cnn.utils": "flops_counter fuse_conv_bn",
    "image": "colorspace geometric io misc photometric",
    "ops": "active_rotated_filter assign_score_withk ball_query bbox bezier_align bias_act border_align box_iou_quadri "
    "box_iou_rotated carafe cc_attention chamfer_distance contour_expand conv2d_gradfix convex_iou corner_pool "
    "correlation deform_conv deform_roi_pool deprecated_wrappers diff_iou_rotated filtered_lrelu focal_loss "
    "furthest_point_sample fused_bias_leakyrelu gather_points group_points info iou3d knn masked_conv merge_cells "
    "min_area_polygons modulated_deform_conv multi_scale_deform_attn nms pixel_group point_sample points_in_boxes "
    "points_in_polygons points_sampler prroi_pool psa_mask riroi_align_rotated roi_align roi_align_rotated roi_pool "
    "roiaware_pool3d roipoint_pool3d rotated_feature_align saconv scatter_points sparse_conv sparse_functional "
    "sparse_modules sparse_ops sparse_pool sparse_structure sync_bn three_interpolate three_nn tin_shift upfirdn2d "
    "voxelize",
    "transforms": "base builder formatting loading processing utils wrappers",
    "utils": "device_type env ext_loader parrots_jit",
    "video": "io optflow processing",
    "visualization": "color image optflow",
}
_PATHS = {f"{package}.{name}".lstrip(".") for package, names in _PAGES.items() for name in names.split()} | {""}

_MOVED = {  # modules whose names are in another of ours
    "cnn.bricks.context_block": "attention",
    "cnn.bricks.conv2d_adaptive_padding": "conv",
    "cnn.bricks.conv_ws": "conv",
    "cnn.bricks.depthwise_separable_conv_module": "conv_module",
    "cnn.bricks.generalized_attention": "attention",
    "cnn.bricks.hsigmoid": "activation",
    "cnn.bricks.hswish": "activation",
    "cnn.bricks.non_local": "attention",
    "cnn.bricks.swish": "activation",
}

# Everything that can be asked of mmcv.ops: what of it this package has not yet is an error when it is used, not before.
_OPERATORS = set(
    """
    ActiveRotatedFilterFunction active_rotated_filter AssignScoreWithK assign_score_withk BallQuery ball_query bbox_overlaps
    BezierAlignFunction bezier_align BezierAlign bias_act BorderAlignFunction border_align BorderAlign box_iou_quadri
    box_iou_rotated CARAFENaiveFunction carafe_naive CARAFENaive CARAFEFunction carafe CARAFE CARAFEPack
    CrissCrossAttention ChamferDistanceFunction chamfer_distance contour_expand no_weight_gradients conv2d conv_transpose2d
    convex_giou convex_iou CornerPool CorrelationFunction Correlation DeformConv2dFunction deform_conv2d DeformConv2d
    DeformConv2dPack DeformRoIPoolFunction deform_roi_pool DeformRoIPool DeformRoIPoolPack ModulatedDeformRoIPoolPack
    Conv2d ConvTranspose2d MaxPool2d Linear Conv2d_deprecated ConvTranspose2d_deprecated MaxPool2d_deprecated
    Linear_deprecated box_intersection box1_in_box2 box_in_box build_vertices sort_indices calculate_area
    oriented_box_intersection_2d box2corners diff_iou_rotated_2d diff_iou_rotated_3d filtered_lrelu
    SigmoidFocalLossFunction sigmoid_focal_loss SigmoidFocalLoss SoftmaxFocalLossFunction softmax_focal_loss
    SoftmaxFocalLoss FurthestPointSampling FurthestPointSamplingWithDist furthest_point_sample
    furthest_point_sample_with_dist FusedBiasLeakyReLUFunction FusedBiasLeakyReLU fused_bias_leakyrelu GatherPoints
    gather_points QueryAndGroup GroupAll GroupingOperation grouping_operation get_compiler_version
    get_compiling_cuda_version boxes_overlap_bev boxes_iou3d nms3d nms3d_normal boxes_iou_bev nms_bev nms_normal_bev KNN knn
    MaskedConv2dFunction masked_conv2d MaskedConv2d BaseMergeCell SumCell ConcatCell GlobalPoolingCell min_area_polygons
    ModulatedDeformConv2dFunction modulated_deform_conv2d ModulatedDeformConv2d ModulatedDeformConv2dPack
    MultiScaleDeformableAttnFunction multi_scale_deformable_attn_pytorch MultiScaleDeformableAttention NMSop SoftNMSop nms
    soft_nms batched_nms nms_match nms_rotated nms_quadri pixel_group bilinear_grid_sample normalize denormalize
    generate_grid rel_roi_point_to_abs_img_point get_shape_from_feature_map abs_img_point_to_rel_img_point
    rel_roi_point_to_rel_img_point point_sample SimpleRoIAlign points_in_boxes_part points_in_boxes_cpu points_in_boxes_all
    points_in_polygons calc_square_dist get_sampler_cls PointsSampler DFPSSampler FFPSSampler FSSampler PrRoIPoolFunction
    prroi_pool PrRoIPool PSAMaskFunction psa_mask PSAMask RiRoIAlignRotatedFunction riroi_align_rotated RiRoIAlignRotated
    RoIAlignFunction roi_align RoIAlign RoIAlignRotatedFunction roi_align_rotated RoIAlignRotated RoIPoolFunction roi_pool
    RoIPool RoIAwarePool3d RoIAwarePool3dFunction RoIPointPool3d RoIPointPool3dFunction RotatedFeatureAlignFunction
    rotated_feature_align SAConv2d dynamic_scatter DynamicScatter SparseConvolution SparseConv2d SparseConv3d SparseConv4d
    SparseConvTranspose2d SparseConvTranspose3d SparseInverseConv2d SparseInverseConv3d SubMConv2d SubMConv3d SubMConv4d
    SparseConvFunction SparseInverseConvFunction SubMConvFunction SparseMaxPoolFunction indice_conv indice_inverse_conv
    indice_subm_conv indice_maxpool is_spconv_module is_sparse_conv SparseModule SparseSequential ToDense RemoveGrid
    get_conv_output_size get_deconv_output_size get_indice_pairs fused_indice_conv SparseMaxPool SparseMaxPool2d
    SparseMaxPool3d scatter_nd SparseConvTensor SyncBatchNormFunction SyncBatchNorm ThreeInterpolate three_interpolate
    ThreeNN three_nn TINShiftFunction tin_shift TINShift upfirdn2d filter2d upsample2d downsample2d voxelization
    Voxelization
    """.split()  # noqa: SIM905
)

_DECODERS = {"image.io": ("Image", "TurboJPEG", "tifffile")}  # None if missing; set to None, they are turned off


def _sources(path: str) -> list[str]:
    """The modules of this package where the names of ``mmcv.path`` are, the nearest first."""
    if path in ("", "_ext", "version"):
        areas = ("image", "transforms", "video", "visualization", "arraymisc")
        return [] if path else [f"arrayvision.{area}" for area in areas]
    root, *inner = path.split(".")
    base = _ROOTS.get(root, f"arrayvision.{root}")
    if path in _MOVED:
        inner[-1] = _MOVED[path]
    found = [".".join([base, *inner[:depth]]) for depth in range(len(inner), -1, -1)]
    if root == "ops":
        found.append("arrayvision.ops")
    found.append(f"arrayvision.older.{root}")
    if root == "ops":
        found += [f"{_CNN}.bricks.wrappers", f"{_CNN}.bricks.merge"]
    return found


def _imported(name: str) -> types.ModuleType | None:
    """A module of this package; None if there is none of that name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name):
            return None
        raise


# ---- names that only mmcv has ----------------------------------------------------------------------------------------
def parse_version_info(version_str: str, length: int = 4) -> tuple:
    """("2.0.0rc1") -> (2, 0, 0, 0, "rc", 1); 0, 0 at the end of a full release."""
    from packaging.version import parse

    version = parse(version_str)
    release = (*version.release, *(0,) * length)[:length]
    if version.pre is not None:
        return (*release, *version.pre)
    return (*release, "post", version.post) if version.post is not None else (*release, 0, 0)


def _version_info(version):
    return tuple(parse_version_info(version)[:3])


def _load_ext(name: str, funcs: list[str]) -> types.SimpleNamespace:
    """Functions of mmcv's compiled extension: projects load them when they are imported."""
    return types.SimpleNamespace(**{func: _compiled(func) for func in funcs})


def _compiled(name: str) -> Any:
    """A function of mmcv's compiled extension, or what stands for it."""
    with contextlib.suppress(ImportError):  # there is no torch
        module = importlib.import_module("arrayvision.older.extension")
        found = getattr(module, name, None)
        if getattr(found, "__module__", None) == module.__name__:
            return found
    return _absent(name, "it is of mmcv's compiled extension", "_ext")


class _Extension:
    """All of mmcv's compiled extension, as its modules hold it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _compiled(name)


def _collect_env() -> dict:
    """mmengine's account of the machine, or ours without it, and what mmcv adds: the names that mmcv's reports have."""
    from arrayvision import __version__
    from arrayvision.utils import collect_env

    try:
        from mmengine.utils.dl_utils import collect_env as account
    except ImportError:
        account = collect_env
    env = account()
    env["MMCV"] = _state["version"]
    for entry, name in (("MMCV Compiler", "compiler"), ("MMCV CUDA Compiler", "compiling_cuda")):
        try:
            env[entry] = getattr(importlib.import_module("mmcv.ops"), f"get_{name}_version")()
        except ImportError:  # there is no torch, which those names need
            env[entry] = "n/a"
    env["arrayvision"] = __version__
    return env


def _registry(ours: Registry) -> Any:
    """mmengine's registry where there is one, as code written for mmcv expects."""
    return ours if ours._linked is None else ours._linked


def _extra(path: str, name: str) -> Any:
    """A name that no module of this package has; LookupError if it is none."""
    if path in ("", "version"):
        if name == "__version__":
            return _state["version"]
        if name == "version_info":
            return _version_info(_state["version"])
        if name == "parse_version_info":
            return parse_version_info
    if name == "TRANSFORMS" and (path in ("", "transforms") or path.startswith("transforms.")):
        return _registry(TRANSFORMS)
    if name == "MODELS" and path.startswith(("cnn.", "ops.")):
        return _registry(MODELS)
    if name == "ext_module" and path.startswith("ops."):
        return _Extension()
    if path == "_ext" and not name.startswith("__"):
        return _compiled(name)
    if name in _DECODERS.get(path, ()):
        with contextlib.suppress(ImportError):
            return getattr(importlib.import_module(_sources(path)[0]), name)
        return None
    if name == "collect_env" and path in ("utils", "utils.env"):
        return _collect_env
    if path == "utils.ext_loader":
        return {"load_ext": _load_ext, "check_ops_exist": lambda: True}[name]
    raise LookupError(name)


def _absent(name: str, reason: str, module: str = "ops") -> Any:
    """What stands for an operator that is not there: using it is an ImportError, importing or subclassing it is not."""
    return _refusing(name, f"mmcv.{module}.{name} is not in this version of arrayvision: {reason}")


def _refusing(name: str, message: str) -> Any:
    if name[0].isupper():

        def refuse(self, *args, **kwargs):
            raise ImportError(message)

        return type(name, (), {"__init__": refuse, "apply": refuse, "__doc__": message, "__module__": "mmcv.ops"})

    def function(*args, **kwargs):
        raise ImportError(message)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = message
    return function


# ---- modules ---------------------------------------------------------------------------------------------------------
# (mmcv's module, name) -> (ours, its value there before; None if it had none)
_originals: dict[tuple[str, str], tuple] = {}


class _Served(types.ModuleType):
    """A module of mmcv's layout, whose names are looked up in this package."""

    def __getattr__(self, name: str) -> Any:
        path = self.__name__.partition(".")[2]
        with contextlib.suppress(LookupError):
            return _extra(path, name)  # not kept: a registry may be linked later
        if name == "__all__":
            return self._public()
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        child = f"{path}.{name}".lstrip(".")
        reason = "it has no such operator yet"
        for source in _sources(path):
            module = _imported(source)
            if module is None:
                continue
            try:
                value = getattr(module, name)
            except AttributeError:
                continue
            except ImportError as error:  # an operator that another module has
                reason = str(error)
                continue
            if isinstance(value, types.ModuleType) and child not in _PATHS:
                break  # what the module itself imports
            if not isinstance(value, types.ModuleType):
                if not isinstance(value, str):  # as image.io.imread_backend, which changes
                    self.__dict__[name] = value
                return value
        if name in _OPERATORS and path.partition(".")[0] in ("ops", "cnn"):
            return _absent(name, reason)
        if child in _PATHS:
            return importlib.import_module(f"mmcv.{child}")
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing mmcv.ops.nms sets the module as an attribute of mmcv.ops, whose `nms` is the function.
        if isinstance(value, _Served) and name != value.__name__ and self._has(name):
            return
        if not name.startswith("__") and not isinstance(value, types.ModuleType):
            self._hand_on(name, value)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        module, original = _originals.pop((self.__name__, name), (None, None))
        if original is not None:
            setattr(module, name, original)
        elif module is not None:
            delattr(module, name)

    def _hand_on(self, name: str, value: Any) -> None:
        """Give a name its new value where our own functions look it up, until it is deleted here: tests patch names."""
        path, current = self.__name__.partition(".")[2], getattr(self, name, None)
        for module in map(_imported, _sources(path)):
            original = None if module is None else vars(module).get(name)
            if original is None and name not in _DECODERS.get(path, ()):
                continue
            if original is current or original is None:
                _originals.setdefault((self.__name__, name), (module, original))
                setattr(module, name, value)
                return

    def _has(self, name: str) -> bool:
        path = self.__name__.partition(".")[2]
        if path == "ops" and name in _OPERATORS:
            return True
        return any(
            name in getattr(module, "__all__", ()) and not isinstance(getattr(module, name, None), types.ModuleType)
            for module in map(_imported, _sources(path))
            if module is not None
        )

    def _public(self) -> list[str]:
        path = self.__name__.partition(".")[2]
        names = set(_OPERATORS) if path == "ops" else set()
        for source in _sources(path)[: None if path == "" else 1]:
            module = _imported(source)
            if module is not None:
                own = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
                names |= {n for n in own if not isinstance(getattr(module, n, None), types.ModuleType)}
        if path == "":
            names |= {"__version__", "version_info", "parse_version_info"}
        if path.split(".")[0] == "transforms":
            names.add("TRANSFORMS")
        return sorted(names)

    def __dir__(self) -> list[str]:
        path = self.__name__.partition(".")[2]
        return sorted({*self.__dict__, *self._public(), *_PAGES.get(path, "").split()})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds mmcv and its modules before the import system looks on disk."""

    def find_spec(self, fullname, path=None, target=None):
        root, _, inner = fullname.partition(".")
        if root != "mmcv" or inner not in _PATHS:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=__file__, is_package=inner in _PAGES)
        if spec.submodule_search_locations is not None:  # a folder that is not there: nothing is found on disk
            spec.submodule_search_locations.append(str(pathlib.Path(__file__).parent.joinpath(*fullname.split("."))))
        return spec

    def create_module(self, spec):
        return _Served(spec.name, f"{spec.name}, served by arrayvision")

    def exec_module(self, module):
        module.__dict__["__file__"] = __file__


# ---- registries ------------------------------------------------------------------------------------------------------
class _Names(dict):
    """The names of a registry of mmengine's, and behind them those of ours."""

    def __init__(self, theirs: dict, ours: Registry):
        super().__init__(theirs)
        self.ours = ours

    def __contains__(self, name):
        return super().__contains__(name) or name in self.ours

    def __missing__(self, name):
        try:
            found = self.ours.own(name)
        except ImportError as error:  # an operator that is not there yet can be looked up, as it can be imported
            found = _refusing(name, str(error))
        if found is None:
            raise KeyError(name)
        self[name] = found
        return found

    def get(self, name, default=None):
        try:
            return self[name]
        except KeyError:
            return default

    def _all(self):
        for name, entry in self.ours.module_dict.items():
            self.setdefault(name, entry)
        return self

    def __iter__(self):
        return super(_Names, self._all()).__iter__()

    def __len__(self):
        return super(_Names, self._all()).__len__()

    def keys(self):
        return super(_Names, self._all()).keys()

    def values(self):
        return super(_Names, self._all()).values()

    def items(self):
        return super(_Names, self._all()).items()


def _link(ours: Registry, theirs: Any) -> None:
    if not isinstance(theirs._module_dict, _Names):
        theirs._module_dict = _Names(theirs._module_dict, ours)
    ours._linked = theirs


def _link_mmengine() -> None:
    if importlib.util.find_spec("mmengine") is None:
        return
    from mmengine.registry import HOOKS, MODELS as THEIR_MODELS, TRANSFORMS as THEIR_TRANSFORMS

    _link(MODELS, THEIR_MODELS)
    _link(TRANSFORMS, THEIR_TRANSFORMS)
    early = sys.modules.get(f"{_CNN}.bricks.init")
    if early is not None:
        early.count_as_mmengine()
    hooks = Registry("HOOKS")
    hooks.register_lazy("RFSearchHook", f"{_CNN}.rfsearch", "RFSearchHook")
    if not isinstance(HOOKS._module_dict, _Names):
        HOOKS._module_dict = _Names(HOOKS._module_dict, hooks)


# ---- spawned processes -----------------------------------------------------------------------------------------------
class _Spawned:
    """What a process that multiprocessing spawns unpickles before it imports its main module: `install` is called there.

    It has not this process's `sys.path` yet, on which this package need not be any more.
    """

    def __init__(self, path: list[str]):
        self.path = path

    def __reduce__(self):
        where = f"import sys; sys.path[:] = {[*self.path, str(pathlib.Path(__file__).parent.parent)]!r}"
        return exec, (f"{where}; from arrayvision.openmmlab import install; install({_state['version']!r})", {})


def _serve_spawned() -> None:
    from multiprocessing import spawn

    prepare = spawn.get_preparation_data
    if hasattr(prepare, "serves_mmcv"):
        return

    @functools.wraps(prepare)
    def get_preparation_data(name):
        data = prepare(name)
        return {**data, "arrayvision": _Spawned(data["sys_path"])}

    get_preparation_data.serves_mmcv = True  # type: ignore[attr-defined]
    spawn.get_preparation_data = get_preparation_data


# ---- the way in ------------------------------------------------------------------------------------------------------
_state: dict[str, Any] = {"version": VERSION}
_finder = _Finder()


def install(version: str = VERSION) -> None:
    """Let `import mmcv` be served by this package, in this process and in those that multiprocessing starts from it.

    Parameters
    ----------
    version : str
        What `mmcv.__version__` says; OpenMMLab projects check it.

    Raises
    ------
    RuntimeError
        If a real mmcv is already imported.

    Notes
    -----
    With mmengine installed, classes of this package are found in its registries `MODELS` and `TRANSFORMS`, its classes
    (also those of a project's scope) in ours, `init_cfg` is carried out by its initialisers, and images are read and
    written by its file back ends, where they know the path or the name. Operators that are not there yet can be imported;
    using one is an ImportError that names it.

    Examples
    --------
    >>> install()
    >>> import mmcv
    >>> mmcv.__version__
    '2.1.0'
    """
    present = sys.modules.get("mmcv")
    if present is not None and not isinstance(present, _Served):
        where = getattr(present, "__file__", None) or "an unknown place"
        raise RuntimeError(
            f"install: mmcv {getattr(present, '__version__', '')} is already imported, from {where}: "
            "call arrayvision.openmmlab.install() before anything imports mmcv"
        )
    if not isinstance(version, str):
        raise TypeError(f"install: version must be a str, got {type(version).__name__}")
    _version_info(version)
    _state["version"] = version
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _link_mmengine()
    _serve_spawned()


def main(arguments: list[str] | None = None) -> None:
    """Run a script, or with ``-m`` a module, after `install`."""
    import runpy

    arguments = sys.argv[1:] if arguments is None else arguments
    as_module = arguments[:1] == ["-m"]
    arguments = arguments[1:] if as_module else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m arrayvision.openmmlab [-m] SCRIPT ARGS...")
        raise SystemExit(0 if arguments else 2)
    if not as_module and not pathlib.Path(arguments[0]).exists():
        print(f"arrayvision.openmmlab: there is no script {arguments[0]}", file=sys.stderr)
        raise SystemExit(2)
    if as_module and importlib.util.find_spec(arguments[0].partition(".")[0]) is None:
        print(f"arrayvision.openmmlab: there is no module {arguments[0]}", file=sys.stderr)
        raise SystemExit(2)
    install()
    sys.argv = list(arguments)
    if as_module:
        sys.path[0] = ""
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(pathlib.Path(arguments[0]).resolve().parent)
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    from arrayvision.openmmlab import main as run  # the module that `import arrayvision.openmmlab` gives, not __main__

    run()
