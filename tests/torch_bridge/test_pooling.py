"""The RoI operators on tensors: gradients, compilation, export, transforms; one list of operators for all."""

import copy
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from arrayvision.torch_bridge import ops  # noqa: E402
from tests.ops import pooling as plain  # noqa: E402

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

# name -> (call, what is differentiable after the features, other tensors, differentiable any number of times, operators)
CALLS = {
    "roi_align": (lambda x, r: ops.roi_align(x, r, SIZE, 0.5, 0), [], [BOXES], True, "roi_align"),
    "roi_align_max": (lambda x, r: ops.roi_align(x, r, SIZE, 0.5, 2, "max"), [], [BOXES], False, "roi_align_max"),
    "roi_pool": (lambda x, r: ops.roi_pool(x, r, SIZE, 0.5), [], [BOXES], False, "roi_pool"),
    "roi_align_rotated": (
        lambda x, r: ops.roi_align_rotated(x, r, SIZE, 0.5, 2),
        [],
        [ROTATED],
        True,
        "roi_align_rotated",
    ),
    "riroi_align_rotated": (
        lambda x, r: ops.riroi_align_rotated(x, r, SIZE, 0.5, 2, 4),
        [],
        [ROTATED],
        True,
        "riroi_align_rotated",
    ),
    "bezier_align": (lambda x, r: ops.bezier_align(x, r, SIZE, 0.5, 2), [], [CURVES], True, "bezier_align"),
    "prroi_pool": (lambda x, r: ops.prroi_pool(x, r, SIZE, 0.5), [BOXES], [], False, "prroi_pool"),
    "deform_roi_pool": (
        lambda x, o, r: ops.deform_roi_pool(x, r, o, SIZE, 0.5, 2),
        [OFFSET],
        [BOXES],
        False,
        "deform_roi_pool",
    ),
    "deform_roi_pool_without": (
        lambda x, r: ops.deform_roi_pool(x, r, None, SIZE, 0.5, 2),
        [],
        [BOXES],
        False,
        "deform_roi_pool",
    ),
    "border_align": (lambda x, r: ops.border_align(x, r, 3), [], [BORDERS], False, "border_align"),
    "rotated_feature_align": (
        lambda x, r: ops.rotated_feature_align(x, r, 0.5, 5),
        [],
        [POSITIONS],
        True,
        "rotated_feature_align",
    ),
}
# The schema's arguments, for opcheck.
ARGUMENTS = {
    "roi_align": ([BOXES], ([3, 2], 0.5, 0, True)),
    "roi_align_max": ([BOXES], ([3, 2], 0.5, 2, False)),
    "roi_pool": ([BOXES], ([3, 2], 0.5)),
    "roi_align_rotated": ([ROTATED], ([3, 2], 0.5, 2, True, False)),
    "riroi_align_rotated": ([ROTATED], ([3, 2], 0.5, 2, 4, False)),
    "bezier_align": ([CURVES], ([3, 2], 0.5, 2, True)),
    "prroi_pool": ([BOXES.clone().requires_grad_()], ([3, 2], 0.5)),
    "deform_roi_pool": ([OFFSET.clone().requires_grad_(), BOXES], ([3, 2], 0.5, 2, 0.1)),
    "border_align": ([BORDERS], (3,)),
    "rotated_feature_align": ([POSITIONS], (0.5, 5)),
}
every = pytest.mark.parametrize("name", CALLS)


def call(name):
    function, more, rest, linear, _ = CALLS[name]
    moving = [m.clone().requires_grad_() for m in more]
    return function, [features().requires_grad_(), *moving], rest, linear


@every
def test_gradcheck(name):
    f, moving, rest, linear = call(name)
    moving[0] = features(shape=(2, 4, 5, 6) if name != "rotated_feature_align" else (2, 2, 7, 8)).requires_grad_()
    assert torch.autograd.gradcheck(lambda *m: f(*m, *rest), moving, nondet_tol=0)
    if linear:
        assert torch.autograd.gradgradcheck(lambda *m: f(*m, *rest).pow(2), moving)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_opcheck(name):
    tensors, rest = ARGUMENTS[name]
    op = getattr(torch.ops.arrayvision, name).default
    for x in (features().requires_grad_(), features(shape=(2, 4, 8, 7)).transpose(2, 3), features(torch.float32)):
        assert set(torch.library.opcheck(op, (x, *tensors, *rest)).values()) == {"SUCCESS"}


@pytest.mark.parametrize("name", ["roi_align", "roi_align_rotated", "bezier_align", "rotated_feature_align"])
def test_opcheck_backward(name):
    tensors, rest = ARGUMENTS[name]
    x = features()
    grad = torch.randn_like(getattr(torch.ops.arrayvision, name).default(x, *tensors, *rest)).requires_grad_()
    op = getattr(torch.ops.arrayvision, f"{name}_backward").default
    assert set(torch.library.opcheck(op, (grad, *tensors, *rest, list(x.shape))).values()) == {"SUCCESS"}


@every
@pytest.mark.parametrize("dynamic", [None, True])
def test_compile_whole(name, dynamic):
    if dynamic and name not in ("roi_align", "roi_pool", "deform_roi_pool"):
        pytest.skip("one operator of each kind")
    f, moving, rest, _ = call(name)

    def loss(*args):
        return f(args[0].sin() * 2, *args[1:]).cos().sum()

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for _ in range(2):
        for a, b in zip(
            torch.autograd.grad(compiled(*moving, *rest), moving),
            torch.autograd.grad(loss(*moving, *rest), moving),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
        moving[0] = features(shape=(2, 4, 9, 8) if "feature" not in name else (2, 8, 7, 8)).requires_grad_()


def test_compile_to_code():
    f, moving, rest, _ = call("roi_align")
    compiled = torch.compile(lambda x, r: f(x.relu(), r).sin().sum(), fullgraph=True)
    a, b = (g(moving[0], *rest) for g in (compiled, lambda x, r: f(x.relu(), r).sin().sum()))
    torch.testing.assert_close(*(torch.autograd.grad(v, moving)[0] for v in (a, b)))


class Net(torch.nn.Module):
    def __init__(self, function, more):
        super().__init__()
        self.mix, self.function, self.more = torch.nn.Conv2d(4, 4, 1).double(), function, more

    def forward(self, x, *rest):
        return self.function(self.mix(x), *self.more, *rest)


@every
def test_export_with_gradients(name):
    f, moving, rest, _ = call(name)
    net = Net(f, [m.detach() for m in moving[1:]])
    program = torch.export.export(net, (features(), *rest)).module()
    again = features() * 2
    torch.testing.assert_close(program(again, *rest), net(again, *rest))
    program(again, *rest).sum().backward()
    net(again, *rest).sum().backward()
    for p, q in zip(program.parameters(), net.parameters(), strict=True):
        assert p.grad is not None and q.grad.abs().max() > 0
        torch.testing.assert_close(p.grad, q.grad)


@every
def test_vmap_and_func_grad(name):
    f, moving, rest, linear = call(name)
    more = [m.detach() for m in moving[1:]]
    many = torch.stack([features(), features() + 1])
    out = torch.vmap(lambda x: f(x, *more, *rest))(many)
    torch.testing.assert_close(out, torch.stack([f(x, *more, *rest) for x in many]))

    def loss(x):
        return f(x, *more, *rest).sin().sum()

    x = features().requires_grad_()
    (expected,) = torch.autograd.grad(loss(x), x)
    torch.testing.assert_close(torch.func.grad(loss)(features()), expected)
    if linear:
        both = torch.vmap(torch.func.grad(loss))(many)
        torch.testing.assert_close(both[0], expected)


@every
def test_half_precision_and_autocast(name):
    f, moving, rest, _ = call(name)
    more = [m.detach().float() for m in moving[1:]]
    rest = [r.float() for r in rest]
    exact = f(features(torch.float32), *more, *rest)
    for dtype, tolerance in ((torch.float16, 2**-9), (torch.bfloat16, 2**-6)):
        x = features(dtype).requires_grad_()
        out = f(x, *more, *rest)
        assert out.dtype == dtype
        torch.testing.assert_close(out.float(), exact, rtol=tolerance, atol=4 * tolerance)
        out.sum().backward()
        assert x.grad.dtype == dtype and x.grad.abs().max() > 0
    net = torch.nn.Conv2d(4, 4, 1)
    with torch.autocast("cpu", torch.bfloat16):
        out = f(net(features(torch.float32)), *more, *rest)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert net.weight.grad.abs().max() > 0


@every
def test_strange_gradients_and_modes(name):
    f, moving, rest, _ = call(name)
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
    f, moving, rest, _ = call("deform_roi_pool")
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
    f, moving, rest, _ = call(name)
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
    x = features().requires_grad_()
    rois = BOXES[[4, 0, 2, 1]]
    out = ops.SimpleRoIAlign(SIZE, 0.5, aligned)(x, rois)
    for k, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        rows = torch.tensor([y1 + (i + 0.5) / 3 * (y2 - y1) for i in range(3)]) * 0.5 / 7 * 2 - 1
        columns = torch.tensor([x1 + (j + 0.5) / 2 * (x2 - x1) for j in range(2)]) * 0.5 / 8 * 2 - 1
        grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flip(-1)[None].double()
        expected = torch.nn.functional.grid_sample(x[int(image)][None], grid, align_corners=not aligned)
        torch.testing.assert_close(out[k], expected[0], rtol=1e-6, atol=1e-6)
    module = ops.SimpleRoIAlign(SIZE, 0.5, aligned)
    assert torch.autograd.gradcheck(lambda x: module(x, rois), x)
    compiled = torch.compile(lambda x: module(x, rois).sin().sum(), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        *(torch.autograd.grad(f(x), x)[0] for f in (compiled, lambda x: module(x, rois).sin().sum()))
    )
    with pytest.raises(ValueError, match=r"rois\[0\] has batch index [23]"):
        module(x, rois + torch.tensor([2.0, 0, 0, 0, 0]))
    assert module(x, rois[:0]).shape == (0, 4, 3, 2)


def test_errors_name_the_function():
    with pytest.raises(ValueError, match=r"roi_align: rois must have shape \(K, 5\), got"):
        ops.roi_align(features(), ROTATED, 2)
    with pytest.raises(ValueError, match="batch index 5"):
        ops.roi_align(features(), BOXES + torch.tensor([5.0, 0, 0, 0, 0]), 2)
    with pytest.raises(ValueError, match="pool_mode must be 'avg' or 'max'"):
        ops.roi_align(features(), BOXES, 2, pool_mode="min")
