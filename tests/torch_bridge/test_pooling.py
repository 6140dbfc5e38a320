"""The RoI operators on tensors, beyond what `test_cases.py` tests of every operator."""

import copy
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from arrayvision.cases import regions as plain  # noqa: E402
from arrayvision.torch_bridge import ops  # noqa: E402

OLD = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13)
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")  # vmap runs operators one by one


def tensor(x, dtype=torch.float64):
    return torch.from_numpy(np.array(x)).to(dtype)


def features(dtype=torch.float64, shape=(2, 4, 7, 8)):
    return tensor(plain.features(0, shape), dtype)


BOXES, ROTATED, CURVES = (tensor(a[1:]) for a in (plain.upright(), plain.rotated(), plain.curves()))
BORDERS, POSITIONS = tensor(plain.boxes()[:, :3]), tensor(plain.positions()[:, :7, :8])
OFFSET = tensor(np.random.default_rng(0).standard_normal((6, 2, 3, 2)))
SIZE = (3, 2)
BOXES[-1, 3:] += 5.0  # a region without an area has no derivative by its coordinates

# name -> (call, what is differentiable after the features, other tensors)
CALLS = {
    "roi_align": (lambda x, r: ops.roi_align(x, r, SIZE, 0.5, 0), [], [BOXES]),
    "roi_align_max": (lambda x, r: ops.roi_align(x, r, SIZE, 0.5, 2, "max"), [], [BOXES]),
    "roi_pool": (lambda x, r: ops.roi_pool(x, r, SIZE, 0.5), [], [BOXES]),
    "roi_align_rotated": (
        lambda x, r: ops.roi_align_rotated(x, r, SIZE, 0.5, 2),
        [],
        [ROTATED],
    ),
    "riroi_align_rotated": (
        lambda x, r: ops.riroi_align_rotated(x, r, SIZE, 0.5, 2, 4),
        [],
        [ROTATED],
    ),
    "bezier_align": (lambda x, r: ops.bezier_align(x, r, SIZE, 0.5, 2), [], [CURVES]),
    "prroi_pool": (lambda x, r: ops.prroi_pool(x, r, SIZE, 0.5), [BOXES], []),
    "deform_roi_pool": (
        lambda x, o, r: ops.deform_roi_pool(x, r, o, SIZE, 0.5, 2),
        [OFFSET],
        [BOXES],
    ),
    "deform_roi_pool_without": (
        lambda x, r: ops.deform_roi_pool(x, r, None, SIZE, 0.5, 2),
        [],
        [BOXES],
    ),
    "border_align": (lambda x, r: ops.border_align(x, r, 3), [], [BORDERS]),
    "rotated_feature_align": (
        lambda x, r: ops.rotated_feature_align(x, r, 0.5, 5),
        [],
        [POSITIONS],
    ),
}
every = pytest.mark.parametrize("name", CALLS)


def call(name):
    function, more, rest = CALLS[name]
    moving = [m.clone().requires_grad_() for m in more]
    return function, [features().requires_grad_(), *moving], rest


def test_compile_to_code():
    f, moving, rest = call("roi_align")
    compiled = torch.compile(lambda x, r: f(x.relu(), r).sin().sum(), fullgraph=True)
    a, b = (g(moving[0], *rest) for g in (compiled, lambda x, r: f(x.relu(), r).sin().sum()))
    torch.testing.assert_close(*(torch.autograd.grad(v, moving)[0] for v in (a, b)))


@every
def test_strange_gradients_and_modes(name):
    f, moving, rest = call(name)
    out = f(*moving, *rest)
    g = torch.randn_like(out)
    expected = torch.autograd.grad(out, moving, g, retain_graph=True)
    crooked = torch.randn(*out.shape[:-1], 2 * out.shape[-1], dtype=out.dtype)[..., ::2].copy_(g)
    for a, b in zip(torch.autograd.grad(out, moving, crooked), expected, strict=True):
        torch.testing.assert_close(a, b)
    one = torch.ones((), dtype=out.dtype).expand(out.shape)  # of strides 0, as sum() gives
    torch.testing.assert_close(
        torch.autograd.grad(f(*moving, *rest), moving, one)[0], torch.autograd.grad(f(*moving, *rest).sum(), moving)[0]
    )
    with torch.no_grad():
        assert not f(*moving, *rest).requires_grad
    with torch.inference_mode():
        assert f(*moving, *rest).is_inference()
    meta = f(*(t.detach().to("meta") for t in (*moving, *rest)))
    assert meta.shape == out.shape and meta.dtype == out.dtype and meta.stride() == out.stride()
    last = moving[0].detach().contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(f(last, *moving[1:], *rest), out)


def test_gradients_of_only_some_inputs():
    f, moving, rest = call("deform_roi_pool")
    x, offset = moving
    whole = torch.autograd.grad(f(x, offset, *rest).sin().sum(), [x, offset])
    for wanted, given in ((0, (x, offset.detach())), (1, (x.detach(), offset))):
        out = f(*given, *rest).sin().sum()
        torch.testing.assert_close(torch.autograd.grad(out, given[wanted])[0], whole[wanted])
    boxes = BOXES.clone().requires_grad_()
    out = ops.prroi_pool(features(), boxes, SIZE, 0.5).sin().sum()
    (moved,) = torch.autograd.grad(out, boxes)
    assert not moved[:, 0].any() and moved[:, 1:].abs().max() > 0
    boxes = BOXES.clone().requires_grad_()  # RoIAlign has no gradient for regions
    assert not ops.roi_align(features(), boxes, SIZE, 0.5).requires_grad or (
        torch.autograd.grad(ops.roi_align(features(), boxes, SIZE, 0.5).sum(), boxes, allow_unused=True)[0] is None
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every
def test_streams_and_graphs(name):
    f, moving, rest = call(name)
    moving = [m.detach().float().cuda() for m in moving]
    rest = [r.float().cuda() for r in rest]
    expected = f(*moving, *rest)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        other = f(*moving, *rest)
    torch.cuda.current_stream().wait_stream(stream)
    torch.testing.assert_close(other, expected)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = f(*moving, *rest)
    moving[0].mul_(2)
    graph.replay()
    torch.testing.assert_close(captured, f(*moving, *rest))


# ---- modules ------------------------------------------------------------------------------------------------------------
MODULES = [
    (ops.RoIAlign(SIZE, 0.5, 2), BOXES, lambda x, r: ops.roi_align(x, r, SIZE, 0.5, 2)),
    (ops.RoIAlign(3, 0.5, 2, "max", False), BOXES, lambda x, r: ops.roi_align(x, r, 3, 0.5, 2, "max", False)),
    (ops.RoIAlign(3, 0.5, use_torchvision=True), BOXES, lambda x, r: ops.roi_align(x, r, 3, 0.5)),
    (ops.RoIPool(SIZE, 0.5), BOXES, lambda x, r: ops.roi_pool(x, r, SIZE, 0.5)),
    (
        ops.RoIAlignRotated(3, 0.5, 2, True, True),
        ROTATED,
        lambda x, r: ops.roi_align_rotated(x, r, 3, 0.5, 2, True, True),
    ),
    (ops.RiRoIAlignRotated(SIZE, 0.5, 2, 2), ROTATED, lambda x, r: ops.riroi_align_rotated(x, r, SIZE, 0.5, 2, 2)),
    (ops.PrRoIPool(3, 0.5), BOXES, lambda x, r: ops.prroi_pool(x, r, 3, 0.5)),
    (ops.BezierAlign(SIZE, 0.5, 2), CURVES, lambda x, r: ops.bezier_align(x, r, SIZE, 0.5, 2)),
    (ops.BorderAlign(3), BORDERS, lambda x, r: ops.border_align(x, r, 3)),
    (ops.DeformRoIPool(SIZE, 0.5, 2, 0.3), BOXES, lambda x, r: ops.deform_roi_pool(x, r, None, SIZE, 0.5, 2, 0.3)),
]


@pytest.mark.parametrize(("module", "regions", "function"), MODULES, ids=lambda m: type(m).__name__)
def test_modules(module, regions, function):
    torch.testing.assert_close(module(features(), regions), function(features(), regions))
    assert repr(module).startswith(f"{type(module).__name__}(") and not list(module.parameters())
    assert repr(copy.deepcopy(module)) == repr(module)


def test_positions_in_rows():
    """Detectors give the boxes of all positions in rows, or an image's."""
    x = features()
    expected = ops.rotated_feature_align(x, POSITIONS, 0.5, 5)
    for boxes in (POSITIONS.reshape(-1, 5), POSITIONS.flatten(1, 2)):
        assert torch.equal(ops.rotated_feature_align(x, boxes, 0.5, 5), expected)
    for boxes in (POSITIONS.reshape(-1, 5)[1:], POSITIONS.reshape(8, -1, 5), POSITIONS.reshape(-1)):
        with pytest.raises(
            ValueError, match=r"rotated_feature_align: best_rbboxes must have shape \(2, 7, 8, 5\), got"
        ):
            ops.rotated_feature_align(x, boxes, 0.5, 5)


def test_old_argument_names():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        module = ops.RoIAlignRotated(out_size=(3, 2), spatial_scale=0.5, sample_num=2)
    assert [w.category for w in said] == [DeprecationWarning] * 2 and module.output_size == (3, 2)
    with pytest.raises(TypeError, match="output_size or out_size, not both"):
        ops.RoIAlign(out_size=3, output_size=3)


def test_repr():
    expected = (
        "RoIAlign(output_size=(7, 7), spatial_scale=0.25, sampling_ratio=0, pool_mode='avg', aligned=True, "
        "use_torchvision=False)"
    )
    assert repr(ops.RoIAlign(7, 0.25)) == expected


@pytest.mark.parametrize("kind", [ops.DeformRoIPoolPack, ops.ModulatedDeformRoIPoolPack])
def test_deform_packs(kind):
    torch.manual_seed(0)
    module = kind((3, 2), 4, deform_fc_channels=16, spatial_scale=0.5, sampling_ratio=2).double()
    x = features().requires_grad_()
    out = module(x, BOXES)
    still = ops.deform_roi_pool(x, BOXES, None, (3, 2), 0.5, 2)  # the last layers start at 0
    torch.testing.assert_close(out, still * (0.5 if kind is ops.ModulatedDeformRoIPoolPack else 1))
    names = [f"offset_fc.{i}.{p}" for i in (0, 2, 4) for p in ("weight", "bias")]
    if kind is ops.ModulatedDeformRoIPoolPack:
        names += [f"mask_fc.{i}.{p}" for i in (0, 2) for p in ("weight", "bias")]
    assert list(module.state_dict()) == names
    assert tuple(module.offset_fc[0].weight.shape) == (16, 24) and tuple(module.offset_fc[4].weight.shape) == (12, 16)
    torch.nn.init.normal_(module.offset_fc[4].weight)
    module(x, BOXES).sin().sum().backward()
    assert module.offset_fc[0].weight.grad.abs().max() > 0 and x.grad.abs().max() > 0
    with pytest.raises(ValueError, match="input must have 4 channels, got 3"):
        module(x[:, :3], BOXES)


def test_known_gradients():
    """Small cases worked out by hand: a ramp's average, its maxima, and how a region's edges move its mean."""
    x = torch.tensor([[[[1.0, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]]]], requires_grad=True)
    region = torch.tensor([[0.0, 0, 0, 3, 3]], requires_grad=True)
    out = ops.prroi_pool(x, region, 2)
    torch.testing.assert_close(out.flatten().tolist(), [3.75, 83 / 12, 121 / 12, 13.25], rtol=1e-6, atol=1e-6)
    out.sum().backward()
    share = torch.tensor([1.0, 2, 2, 1]) / 3  # how much of a side's bins a pixel has
    torch.testing.assert_close(x.grad[0, 0], share[:, None] * share)
    torch.testing.assert_close(region.grad, torch.tensor([[0, 10, 20, 10, 20]]) / 3)
    x.grad = None
    ops.roi_pool(x, region.detach(), 2).sum().backward()
    assert x.grad[0, 0].nonzero().tolist() == [[1, 1], [1, 3], [3, 1], [3, 3]]
    ops.roi_align(x, region.detach(), 2, 1.0, 2).sum().backward()
    torch.testing.assert_close(x.grad.sum(), torch.tensor(8.0))


# ---- points -------------------------------------------------------------------------------------------------------------
def test_points():
    x = features()
    points = torch.rand(2, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for corners in (False, True):
        out = ops.point_sample(x, points, align_corners=corners)
        assert out.shape == (2, 4, 5)
        expected = torch.nn.functional.grid_sample(x, points[:, :, None] * 2 - 1, align_corners=corners)[..., 0]
        torch.testing.assert_close(out, expected)
        torch.testing.assert_close(ops.point_sample(x, points[:, :, None], align_corners=corners)[..., 0], out)
    assert torch.autograd.gradcheck(lambda x, p: ops.point_sample(x, p), (x.requires_grad_(), points.requires_grad_()))
    nearest = ops.point_sample(x, points, mode="nearest")
    assert nearest.shape == (2, 4, 5)
    grid = torch.linspace(-1, 1, 5)
    torch.testing.assert_close(ops.denormalize(ops.normalize(grid)), grid)
    assert ops.get_shape_from_feature_map(x).tolist() == [[[8.0, 7.0]]]
    assert ops.generate_grid(2, (1, 2), "cpu").tolist() == [[[0.25, 0.5], [0.75, 0.5]]] * 2
    rois = torch.tensor([[0, 2.0, 4, 6, 12], [1, 0, 0, 2, 2]])
    inside = torch.tensor([[[0.5, 0.25]], [[1, 0]]])
    assert ops.rel_roi_point_to_abs_img_point(rois, inside).tolist() == [[[4, 6]], [[2, 0]]]
    assert ops.rel_roi_point_to_abs_img_point(rois[:, 1:], inside).tolist() == [[[4, 6]], [[2, 0]]]
    relative = ops.rel_roi_point_to_rel_img_point(rois, inside, (7, 8), 0.5)
    torch.testing.assert_close(relative, torch.tensor([[[4 / 16, 6 / 14]], [[2 / 16, 0]]]))
    torch.testing.assert_close(ops.rel_roi_point_to_rel_img_point(rois, inside, features(), 0.5), relative)
    with pytest.raises(TypeError, match="img must be"):
        ops.abs_img_point_to_rel_img_point(inside, 7)
    with pytest.raises(ValueError, match=r"rois must have shape \(N, 4\) or \(N, 5\), got \(2, 3\)"):
        ops.rel_roi_point_to_abs_img_point(rois[:, :3], inside)
    with pytest.raises(ValueError, match="points must have shape"):
        ops.point_sample(x, points[0])


@pytest.mark.parametrize("aligned", [True, False])
def test_simple_roi_align(aligned):
    """Values and gradients are those of torch's sampler, beyond the map's borders too; NaN where a region has none."""
    module = ops.SimpleRoIAlign(SIZE, 0.5, aligned)
    inside = BOXES[[4, 0, 2, 1]]
    beyond = inside + torch.tensor([0, -9.0, -5, 9, 5])
    rois = torch.cat([inside, beyond, beyond[:, [0, 3, 4, 1, 2]], inside + torch.tensor([0, 90.0, 0, 90, 0])])
    x = features().requires_grad_()
    expected = []
    for image, x1, y1, x2, y2 in rois.tolist():
        rows = tensor([y1 + (i + 0.5) / 3 * (y2 - y1) for i in range(3)]) * 0.5 / 7 * 2 - 1
        columns = tensor([x1 + (j + 0.5) / 2 * (x2 - x1) for j in range(2)]) * 0.5 / 8 * 2 - 1
        grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flip(-1)[None]
        expected.append(torch.nn.functional.grid_sample(x[int(image)][None], grid, align_corners=not aligned))
    out, expected = module(x, rois), torch.cat(expected)
    torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-11)
    assert (expected[4:12] == 0).any() and (expected[12:] == 0).all()
    assert torch.equal(module(x.detach(), rois), out.detach())
    weights = features(shape=tuple(out.shape))
    found, known = (torch.autograd.grad((v * weights).sum(), x)[0] for v in (out, expected))
    torch.testing.assert_close(found, known, rtol=1e-11, atol=1e-11)
    for dtype, bits in ((torch.float32, 23), (torch.float16, 10)):
        narrow = module(x.to(dtype), rois)
        assert narrow.dtype is dtype
        torch.testing.assert_close(
            narrow.double(), expected, rtol=0, atol=16 * float(x.detach().abs().max()) * 2.0**-bits
        )
    assert module(x, rois * torch.tensor([1, 1, 1, torch.inf, torch.nan])).isnan().all()
    rois = inside
    assert torch.autograd.gradgradcheck(lambda x: module(x, rois), x)
    assert torch.autograd.gradcheck(lambda x: module(x, rois), x)
    compiled = torch.compile(lambda x: module(x, rois).sin().sum(), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        *(torch.autograd.grad(f(x), x)[0] for f in (compiled, lambda x: module(x, rois).sin().sum()))
    )
    with pytest.raises(ValueError, match=r"^SimpleRoIAlign: rois\[0\] has batch index [23]"):
        module(x, rois + torch.tensor([2.0, 0, 0, 0, 0]))
    assert module(x, rois[:0]).shape == (0, 4, 3, 2)


def test_errors_name_the_function():
    with pytest.raises(ValueError, match=r"roi_align: rois must have shape \(K, 5\), got"):
        ops.roi_align(features(), ROTATED, 2)
    with pytest.raises(ValueError, match="batch index 5"):
        ops.roi_align(features(), BOXES + torch.tensor([5.0, 0, 0, 0, 0]), 2)
    with pytest.raises(ValueError, match="pool_mode must be 'avg' or 'max'"):
        ops.roi_align(features(), BOXES, 2, pool_mode="min")


# ---- regions as a list of each image's boxes ----------------------------------------------------------------------------
LISTED = {
    "roi_align": lambda x, r: ops.roi_align(x, r, SIZE, 0.5, 2),
    "roi_align_max": lambda x, r: ops.roi_align(x, r, SIZE, 0.5, 2, "max"),
    "roi_pool": lambda x, r: ops.roi_pool(x, r, SIZE, 0.5),
    "RoIAlign": ops.RoIAlign(SIZE, 0.5, 2),
    "RoIPool": ops.RoIPool(SIZE, 0.5),
}


@pytest.mark.parametrize("name", LISTED)
def test_a_list_of_each_images_boxes(name):
    f, x = LISTED[name], features().requires_grad_()
    boxes = [BOXES[:3, 1:].contiguous(), BOXES[3:, 1:].contiguous()]
    rois = torch.cat([torch.cat([torch.full_like(b[:, :1], k), b], 1) for k, b in enumerate(boxes)])
    assert torch.equal(f(x, boxes), f(x, rois)) and torch.equal(f(x, tuple(boxes)), f(x, rois))
    assert torch.equal(f(x, [boxes[0], boxes[1][:0]]), f(x, rois[:3])) and f(x, []).shape[0] == 0
    assert torch.equal(f(x, [boxes[0][:0], boxes[1]]), f(x, rois[3:]))
    assert torch.equal(*(torch.autograd.grad(f(x, r).sin().sum(), x)[0] for r in (boxes, rois)))
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, a, b: f(x, [a, b]).sin(), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, *boxes), f(x, rois).sin())
    half = f(x.half(), [b.half() for b in boxes])
    assert half.dtype is torch.float16 and torch.equal(
        half, f(x.half(), torch.cat([rois[:, :1].float(), rois[:, 1:].half().float()], 1))
    )


@pytest.mark.parametrize("name", ["roi_align", "roi_pool"])
def test_a_wrong_list_of_boxes(name):
    f, x, one = getattr(ops, name), features(), BOXES[:2, 1:]
    for rois, error, message in (
        ([one, [[0, 0, 1, 1]]], TypeError, "a list of a tensor \\(N, 4\\) for each image, got a list with list"),
        ([one, BOXES], ValueError, r"rois\[1\] must have shape \(N, 4\)"),
        ([one, one, one], ValueError, "at most 2 tensors, one for each image, got 3"),
        ([one, one.to("meta")], TypeError, r"rois\[1\] is on meta"),
        ([one, one.to(torch.complex64)], TypeError, r"rois\[1\] must hold real numbers"),
    ):
        with pytest.raises(error, match=f"^{name}: .*{message}"):
            f(x, rois, 2)


@pytest.mark.parametrize("name", ["prroi_pool", "roi_align_rotated", "riroi_align_rotated", "bezier_align"])
def test_lists_where_no_operator_takes_them(name):
    for recorded in (False, True):
        with pytest.raises(TypeError, match=f"^{name}: \\w+ must be an array .*, got list"):
            getattr(ops, name)(features().requires_grad_(recorded), [BOXES[:, 1:]], 2, 1.0)
