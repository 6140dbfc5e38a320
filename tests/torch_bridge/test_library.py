"""What every registered operator owes to its registration: devices, dtypes, and errors that are ours."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import arrayvision.ops as arrays  # noqa: E402
from arrayvision.torch_bridge import library, ops  # noqa: E402

NAMES = sorted(
    {
        name.split("::")[1].split(".")[0]
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("arrayvision::") and not name.startswith("arrayvision::test_")
    }
)
SAID = {"falling": "batched_nms", "roi_align_max": "roi_align"}  # the function that an operator's errors name
VALUES = {
    "float": 1.0,
    "int": 1,
    "bool": True,
    "str": "iou",
    "Optional[int]": None,
    "Optional[float]": None,
    "List[int]": [1, 1],
    "List[float]": [1.0],
}
FEATURES = torch.arange(32.0).reshape(1, 2, 4, 4)
ROIS = torch.tensor([[0, 0.5, 0.5, 3, 3]])
BOXES = torch.tensor([[0.0, 0, 4, 4], [1, 1, 5, 5]])


def schema(name):
    return getattr(torch.ops.arrayvision, name).default._schema.arguments


def tensors(name):
    return [i for i, a in enumerate(schema(name)) if "Tensor" in str(a.type)]


@pytest.mark.parametrize("name", [name for name in NAMES if len(tensors(name)) > 1])
def test_a_tensor_without_values_beside_a_real_one(name):
    """torch would run the fake in the kernel's stead, and its uninitialised memory would be the result."""
    for k in tensors(name):
        args = [torch.zeros(1) if "Tensor" in str(a.type) else VALUES[str(a.type)] for a in schema(name)]
        args[k] = args[k].to("meta")
        with pytest.raises(TypeError, match=f"^{SAID.get(name, name)}: .* give both on one device"):
            getattr(torch.ops.arrayvision, name)(*args)


PUBLIC = {
    "batched_nms": (BOXES, BOXES[:, 0], BOXES[:, 1].long(), dict(iou_threshold=0.5)),
    "bbox_overlaps": (BOXES, BOXES),
    "nms": (BOXES, BOXES[:, 0], 0.5),
    "point_sample": (FEATURES, torch.zeros(1, 3, 2)),
    "rel_roi_point_to_abs_img_point": (ROIS, torch.zeros(1, 3, 2)),
    "roi_align": (FEATURES, ROIS, 2),
    "rotated_feature_align": (FEATURES, torch.zeros(1, 4, 4, 5)),
    "sigmoid_focal_loss": (BOXES, torch.zeros(2, dtype=torch.long)),
    "soft_nms": (BOXES, BOXES[:, 0]),
}


@pytest.mark.parametrize("name", [*PUBLIC, "batched_nms of nothing"])
@pytest.mark.parametrize("recorded", [False, True])
def test_functions_given_two_devices(name, recorded):
    args = list(PUBLIC[name.split()[0]])
    if "nothing" in name:
        args[3] = None
    args = [
        a.clone().requires_grad_(recorded) if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args
    ]
    function = getattr(ops, name.split()[0])
    function(*args)
    for k, a in enumerate(args):
        if isinstance(a, torch.Tensor):
            with pytest.raises(TypeError, match="meta"):
                function(*args[:k], a.to("meta"), *args[k + 1 :])


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(rois=[[0, 0, 0, 1, 1.0]]), TypeError, "rois must be a tensor"),
        (dict(rois=np.zeros((1, 5))), TypeError, "give both from one library"),
        (dict(rois=None), TypeError, "rois must be an array, got None"),
        (dict(spatial_scale="1"), TypeError, "spatial_scale must be a number, got str"),
        (dict(spatial_scale=1 + 0j), TypeError, "spatial_scale must be a number"),
        (dict(sampling_ratio=1.5), TypeError, "sampling_ratio must be an int"),
        (dict(sampling_ratio=2**70), ValueError, "sampling_ratio must be at most 1024"),
        (dict(aligned="no"), TypeError, "aligned must be True or False, got str"),
        (dict(output_size="2"), TypeError, "output_size must be an int or two"),
        (dict(rois=torch.zeros(1, 4)), ValueError, r"rois must have shape \(K, 5\)"),
        (dict(input=torch.zeros(1, 2, 4, 4, dtype=torch.complex64)), TypeError, "input must hold real numbers"),
    ],
)
def test_errors_are_ours_whether_gradients_are_recorded_or_not(recorded, change, error, message):
    arguments = dict(input=FEATURES.clone().requires_grad_(recorded), rois=ROIS, output_size=2) | change
    with pytest.raises(error, match=f"^roi_align: .*{message}"):
        ops.roi_align(**arguments)


def test_numbers_of_numpy_are_numbers():
    x = FEATURES.clone().requires_grad_()
    for value in (np.float32(0.5), np.float64(0.5), torch.tensor(0.5)):
        assert torch.equal(ops.roi_align(x, ROIS, 2, value), ops.roi_align(x, ROIS, 2, 0.5))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "uint16", "uint32", "uint64"])
def test_integers_have_one_result_dtype(dtype):
    dtype = getattr(torch, dtype)
    whole = FEATURES.to(dtype)
    found = torch.library.opcheck(
        torch.ops.arrayvision.roi_align.default, (whole, ROIS, [2, 2], 1.0, 2, True), test_utils="test_faketensor"
    )
    assert set(found.values()) == {"SUCCESS"}
    assert ops.roi_align(whole, ROIS, 2).dtype == arrays.roi_align(whole, ROIS, 2).dtype == torch.float32
    torch.testing.assert_close(ops.roi_align(whole, ROIS, 2), ops.roi_align(FEATURES, ROIS, 2))


def test_integers_beyond_float32_are_computed_in_float64():
    a, b = torch.tensor([[2**25, 0, 2**25 + 3, 3]]), torch.tensor([[2**25 + 1, 0, 2**25 + 4, 3]])
    for o in (ops, arrays):
        overlap = o.bbox_overlaps(a, b)
        assert overlap.item() == 0.5 and overlap.dtype == torch.float32
    both, scores = torch.cat([a, b]), torch.tensor([0.5, 0.25])
    assert ops.nms(both, scores, 0.6)[1].tolist() == [0, 1] == arrays.nms(both, scores, 0.6)[1].tolist()
    assert ops.nms(both, scores, 0.6)[0].dtype == torch.float32  # as a compiled graph has it
    assert arrays.nms(both, scores, 0.6)[0][:, :4].equal(both.double())
    args = (both, scores, 0.3, 0.5, 1e-3, "linear", 0)
    assert set(torch.library.opcheck(torch.ops.arrayvision.soft_nms.default, args).values()) == {"SUCCESS"}


def test_what_watches_a_call_sees_the_operator():
    """The short way past the dispatcher is taken when nobody looks: profilers, modes, transforms and traces do."""
    assert library.unrecorded(BOXES, FEATURES)
    assert not library.unrecorded(BOXES.clone().requires_grad_())
    with torch.no_grad():
        assert library.unrecorded(BOXES.clone().requires_grad_())
    with torch.profiler.profile() as profile:
        ops.roi_align(FEATURES, ROIS, 2)
    assert any("arrayvision::roi_align" in event.key for event in profile.key_averages())

    class Seen(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, kinds, args=(), kwargs=None):
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    seen = []
    with Seen():
        ops.roi_align(FEATURES, ROIS, 2)
    assert "arrayvision.roi_align.default" in seen
    stacked = torch.vmap(lambda x: ops.roi_align(x, ROIS, 2))(FEATURES[None])
    torch.testing.assert_close(stacked[0], ops.roi_align(FEATURES, ROIS, 2))
    tangent = torch.ones_like(FEATURES)
    with torch.autograd.forward_ad.dual_level():
        assert not library.unrecorded(torch.autograd.forward_ad.make_dual(FEATURES, tangent))


# ---- operators of the kinds that ours are not -----------------------------------------------------------------------
def _mix(tensors, weights, factor):
    library.check.number("test_mix", "factor", factor)
    return factor * sum(x * w for x, w in zip(tensors, weights, strict=True))


def _mix_backward(grad, tensors, weights, factor):
    each = zip(tensors, weights, strict=True)
    return [grad * w * factor for _, w in each], torch.stack([(grad * x).sum() * factor for x in tensors])


class Small:
    """Small operators: one that is linear and has no other arguments; a list of tensors, and their weights; optional ones
    in a list; a maximum without other arguments."""

    halved = staticmethod(
        library.linear(
            "test_halved", "", lambda x: x / 2, lambda grad, shape: (grad / 2).reshape(shape), lambda x: x.shape
        )
    )
    mix = staticmethod(
        library.differentiable(
            "test_mix",
            "Tensor[] tensors, Tensor weights, float factor=2.0",
            _mix,
            _mix_backward,
            lambda tensors, *_: tensors[0].shape,
            2,
        )
    )
    joined = staticmethod(
        library.register(
            "test_joined(Tensor?[] tensors, int[2] size=[1, 1]) -> Tensor",
            lambda tensors, size: torch.cat([x.flatten() for x in tensors if x is not None]) * size[0],
            lambda tensors, size: next(x for x in tensors if x is not None).new_empty(
                sum(x.numel() for x in tensors if x is not None)
            ),
        )
    )
    greatest = staticmethod(
        library.selecting(
            "test_greatest",
            "",
            lambda x: tuple(a.clone() for a in x.to(torch.float64).max(1)),
            lambda grad, at, shape: grad.new_zeros(shape).scatter_(1, at[:, None], grad[:, None]),
            lambda x: x.shape[:1],
            ("int64",),
        )
    )


@pytest.fixture(autouse=True)
def _no_compiled_code():
    torch._dynamo.reset()


def lists(n=3):
    xs = [torch.linspace(k, k + 1, 4, dtype=torch.float64, requires_grad=k != 1) for k in range(n)]
    return xs, torch.arange(1.0, n + 1, dtype=torch.float64).requires_grad_()


def test_an_operator_of_one_tensor():
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.equal(Small.halved(x), x / 2)
    assert torch.autograd.gradcheck(Small.halved, x) and torch.autograd.gradgradcheck(lambda x: Small.halved(x) ** 2, x)
    assert torch.equal(torch.vmap(Small.halved)(x), x / 2)
    assert torch.equal(torch.func.grad(lambda x: Small.halved(x).sum())(x), torch.full_like(x, 0.5))
    compiled = torch.compile(lambda x: Small.halved(x).sin(), fullgraph=True, backend="aot_eager")
    assert torch.equal(torch.autograd.grad(compiled(x).sum(), x)[0], torch.autograd.grad((x / 2).sin().sum(), x)[0])
    for op, args in (
        (torch.ops.arrayvision.test_halved, (x,)),
        (torch.ops.arrayvision.test_halved_backward, (x, [2, 3])),
    ):
        assert set(torch.library.opcheck(op.default, args).values()) == {"SUCCESS"}


def test_a_maximum_of_one_tensor():
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: Small.greatest(x)[0], x)
    assert set(torch.library.opcheck(torch.ops.arrayvision.test_greatest.default, (x,)).values()) == {"SUCCESS"}
    assert not Small.greatest(x)[1].requires_grad


def test_an_operator_of_a_list():
    xs, w = lists()
    expected = 2 * sum(x * v for x, v in zip(xs, w, strict=True))
    assert torch.equal(Small.mix(xs, w), expected) and torch.equal(Small.mix(tuple(xs), w, 2.0), expected)
    for wrt in ([xs[0], xs[2], w], [xs[0]], [w]):
        for a, b in zip(
            torch.autograd.grad(Small.mix(xs, w).sin().sum(), wrt),
            torch.autograd.grad(expected.sin().sum(), wrt, retain_graph=True),
            strict=True,
        ):
            torch.testing.assert_close(a, b)
    assert torch.autograd.gradcheck(lambda *a: Small.mix(a[:3], a[3], 0.5), (*xs, w))
    alone = [x.detach() for x in xs[:2]] + [xs[2]]  # only an element of the list requires a gradient
    assert torch.equal(
        torch.autograd.grad(Small.mix(alone, w.detach()).sum(), xs[2])[0], torch.full((4,), 6.0).double()
    )
    assert set(torch.library.opcheck(torch.ops.arrayvision.test_mix.default, (xs, w, 2.0)).values()) == {"SUCCESS"}
    assert set(torch.library.opcheck(torch.ops.arrayvision.test_mix.default, (xs, w)).values()) == {"SUCCESS"}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_lists_compiled_and_transformed():
    xs, w = lists()

    def loss(a, b, c, w):
        return Small.mix([a, b, c], w).sin().sum()

    wrt = [xs[0], xs[2], w]
    expected = torch.autograd.grad(loss(*xs, w), wrt)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for a, b in zip(torch.autograd.grad(compiled(*xs, w), wrt), expected, strict=True):
        torch.testing.assert_close(a, b)
    plain = [x.detach() for x in (*xs, w)]
    for a, b in zip(torch.func.grad(loss, (0, 2, 3))(*plain), expected, strict=True):
        torch.testing.assert_close(a, b)
    many = [torch.stack([x, x + 1]) for x in plain[:3]]
    both = torch.vmap(lambda a, b, c: Small.mix([a, b, c], plain[3]))(*many)
    torch.testing.assert_close(both[1], Small.mix([x + 1 for x in plain[:3]], plain[3]))
    each = torch.vmap(torch.func.grad(loss), in_dims=(0, 0, 0, None))(*many, plain[3])
    torch.testing.assert_close(each[0], expected[0])


def test_lists_are_looked_into():
    xs, w = lists()
    plain = [x.detach() for x in xs]
    assert library.unrecorded(plain, w.detach()) and not library.unrecorded(xs) and not library.unrecorded([[xs[0]]])
    for given in ([*plain[:2], plain[2].to("meta")], [plain[0].to("meta"), *plain[1:]]):
        with pytest.raises(TypeError, match=r"^test_mix: tensors\[0\] is on .*, .* is on .*: give both on one device"):
            Small.mix(given, w)
    with pytest.raises(TypeError, match=r"^test_mix: factor must be a number, got str"):
        Small.mix(xs, w, "2")


def test_optional_tensors_in_a_list_and_defaults():
    x = torch.arange(3.0)
    assert (
        Small.joined([x, None, x]).tolist()
        == [0, 1, 2, 0, 1, 2]
        == torch.ops.arrayvision.test_joined([x, None, x]).tolist()
    )
    assert Small.joined([None, x.requires_grad_()], [3, 1]).tolist() == [0, 3, 6]
    compiled = torch.compile(lambda x: Small.joined([x, None]) + 1, fullgraph=True, backend="aot_eager")
    assert compiled(x).tolist() == [1, 2, 3]
