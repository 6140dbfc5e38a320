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
        if name.startswith("arrayvision::")
    }
)
VALUES = {"float": 1.0, "int": 1, "bool": True, "str": "iou", "List[int]": [1, 1], "List[float]": [1.0]}
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
        with pytest.raises(TypeError, match=f"^{name}: .* give both on one device"):
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
        (dict(rois=[[0, 0, 0, 1, 1.0]]), TypeError, "rois must be an array"),
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
