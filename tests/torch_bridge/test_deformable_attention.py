"""Multi-scale deformable attention on tensors, and its layer."""

import copy
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from arrayvision.cases.multi_scale_deformable_attn import _by_grid_sample, inputs  # noqa: E402
from arrayvision.registry import MODELS  # noqa: E402
from arrayvision.torch_bridge import ops  # noqa: E402

SHAPES = torch.tensor([[4, 5], [2, 3]])
STARTS = torch.tensor([0, 20])


def layer(**how):
    made = ops.MultiScaleDeformableAttention(
        **{**dict(embed_dims=32, num_heads=4, num_levels=2, num_points=3, dropout=0.0), **how}
    )
    with torch.no_grad():
        for x in made.parameters():
            x.add_(torch.randn(x.shape) / 4)
    return made


def given(batch_first=False, numbers=2):
    query, value = torch.randn(7, 2, 32), torch.randn(26, 2, 32)
    if batch_first:
        query, value = query.transpose(0, 1), value.transpose(0, 1)
    return dict(
        query=query,
        value=value,
        reference_points=torch.rand(2, 7, 2, numbers),
        spatial_shapes=SHAPES,
        level_start_index=STARTS,
    )


def by_hand(
    made, query, value, reference_points, spatial_shapes, query_pos=None, key_padding_mask=None, identity=None, **_
):
    """The layer of torch's own operations, (B, length, channels)."""
    identity = query if identity is None else identity
    query = query if query_pos is None else query + query_pos
    batch, queries, _ = query.shape
    heads, levels, points = made.num_heads, made.num_levels, made.num_points
    values = made.value_proj(value)
    if key_padding_mask is not None:
        values = torch.where(key_padding_mask[..., None], 0, values)
    values = values.view(batch, value.shape[1], heads, -1)
    moves = made.sampling_offsets(query).view(batch, queries, heads, levels, points, 2)
    weights = made.attention_weights(query).view(batch, queries, heads, levels * points).softmax(-1)
    locations = torch.empty_like(moves)
    for level in range(levels):
        for axis in range(2):
            at, move = reference_points[:, :, level, axis, None, None], moves[:, :, :, level, :, axis]
            if reference_points.shape[-1] == 2:
                locations[:, :, :, level, :, axis] = at + move / spatial_shapes[level, 1 - axis]
            else:
                locations[:, :, :, level, :, axis] = (
                    at + move / points * reference_points[:, :, level, axis + 2, None, None] / 2
                )
    weights = weights.view(batch, queries, heads, levels, points)
    return made.output_proj(_by_grid_sample(torch, values, spatial_shapes, locations, weights)) + identity


@pytest.mark.parametrize("numbers", [2, 4])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_the_layer_is_its_parts(numbers, batch_first, ratio):
    made, args = layer(batch_first=batch_first, value_proj_ratio=ratio), given(batch_first, numbers)
    args |= dict(
        key_padding_mask=torch.rand(2, 26) < 0.3,
        query_pos=torch.randn_like(args["query"]),
        identity=torch.randn_like(args["query"]),
    )
    turned = {
        n: x if batch_first or n not in ("query", "value", "query_pos", "identity") else x.transpose(0, 1)
        for n, x in args.items()
    }
    expected = by_hand(made, **turned)
    out = made(**args)
    out = out if batch_first else out.transpose(0, 1)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    for a, b in zip(
        torch.autograd.grad(out.square().sum(), tuple(made.parameters())),
        torch.autograd.grad(expected.square().sum(), tuple(made.parameters())), strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("numbers", [2, 4])
def test_compiles_whole(numbers):
    made, args = layer(), given(numbers=numbers)
    compiled = torch.compile(copy.deepcopy(made), fullgraph=True, backend="aot_eager", dynamic=True)
    out, expected = compiled(**args), made(**args)
    torch.testing.assert_close(out, expected, rtol=0, atol=0)
    for a, b in zip(
        torch.autograd.grad(out.sum(), tuple(compiled.parameters())), torch.autograd.grad(expected.sum(), tuple(made.parameters())),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(a, b)


def test_parameters():
    def shapes(**how):
        made = ops.MultiScaleDeformableAttention(32, 4, 2, 3, **how)
        return {name: tuple(x.shape) for name, x in made.state_dict().items()}

    expected = {
        "sampling_offsets.weight": (48, 32), "sampling_offsets.bias": (48,), "attention_weights.weight": (24, 32),
        "attention_weights.bias": (24,), "value_proj.weight": (32, 32), "value_proj.bias": (32,),
        "output_proj.weight": (32, 32), "output_proj.bias": (32,),
    }  # fmt: skip
    assert shapes() == expected
    halved = {"value_proj.weight": (16, 32), "value_proj.bias": (16,), "output_proj.weight": (32, 16)}
    assert shapes(value_proj_ratio=0.5) == expected | halved
    assert MODELS.get("MultiScaleDeformableAttention") is ops.MultiScaleDeformableAttention


def test_heads_begin_looking_in_directions_of_their_own():
    made = ops.MultiScaleDeformableAttention(32, 4, 2, 3)
    moves = made.sampling_offsets.bias.view(4, 2, 3, 2)
    for head in range(4):
        angle = head * math.pi / 2
        for point in range(3):
            expected = torch.tensor([math.cos(angle), math.sin(angle)]) * (point + 1)
            torch.testing.assert_close(moves[head, :, point], expected.expand(2, 2))
    assert not made.sampling_offsets.weight.any() and not made.attention_weights.weight.any()
    assert made.is_init


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half, torch.float64])
def test_dtypes(dtype):
    """Of the layer; reference points may stay float32."""
    made, args = layer(), given()
    expected = made(**args)
    args |= dict(query=args["query"].to(dtype), value=args["value"].to(dtype))
    out = copy.deepcopy(made).to(dtype)(**args)
    assert out.dtype is dtype
    tolerance = 0.1 if dtype is torch.bfloat16 else 0.02 if dtype is torch.half else 1e-5
    torch.testing.assert_close(out.float(), expected, rtol=tolerance, atol=tolerance)


def test_autocast():
    made, args = layer(), given()
    with torch.autocast("cpu", torch.bfloat16):
        out = made(**args)
    torch.testing.assert_close(out.float(), made(**args), rtol=0.1, atol=0.1)
    out.float().sum().backward()
    assert {p.grad.dtype for p in made.parameters()} == {torch.float32}


def test_without_values_a_query_attends_to_itself():
    made, args = layer(), given()
    args["query"] = args.pop("value")
    args["reference_points"] = torch.rand(2, 26, 2, 2)
    torch.testing.assert_close(made(**args), made(value=args["query"], **args), rtol=0, atol=0)


def test_older_code():
    numbers = {n: torch.from_numpy(x) for n, x in inputs(2, 3, 2, 4, ((3, 4), (2, 3)), 2).items()}
    value, shapes, locations, weights = numbers.values()
    out = ops.multi_scale_deformable_attn(value, shapes, locations, weights)
    assert torch.equal(ops.multi_scale_deformable_attn_pytorch(value, shapes, locations, weights), out)
    assert torch.equal(ops.multi_scale_deformable_attn_pytorch(value, [(3, 4), (2, 3)], locations, weights), out)
    call = ops.MultiScaleDeformableAttnFunction.apply
    assert torch.equal(call(value, shapes, torch.tensor([0, 12]), locations, weights, 2), out)
    with pytest.warns(DeprecationWarning, match="identity"):
        made, args = layer(), given()
        torch.testing.assert_close(made(residual=args["query"], **args), made(**args))


@pytest.mark.parametrize("channels", [4, 30, 32, 64, 71])
def test_gradients_of_any_number_of_channels(channels):
    numbers = {n: torch.from_numpy(x) for n, x in inputs(1, 2, 2, channels, ((6, 4), (3, 2)), 2).items()}
    value, shapes, locations, weights = numbers.values()
    leaves = [x.requires_grad_() for x in (value * 0.01, locations, weights)]
    assert torch.autograd.gradcheck(lambda v, p, w: ops.multi_scale_deformable_attn(v, shapes, p, w), leaves)


LAYER = "MultiScaleDeformableAttention"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            dict(reference_points=torch.rand(2, 7, 2, 3)),
            rf"{LAYER}: reference_points must have shape \(2, 7, 2\) and 2 or 4 numbers",
        ),
        (dict(reference_points=None), f"{LAYER}: reference_points must be a tensor, got NoneType"),
        (dict(spatial_shapes=None), f"{LAYER}: spatial_shapes must be a tensor, got NoneType"),
        (dict(spatial_shapes=SHAPES[:1]), rf"{LAYER}: spatial_shapes must have shape \(2, 2\)"),
        (
            dict(spatial_shapes=SHAPES + 1),
            "multi_scale_deformable_attn: value_spatial_shapes must have as many pixels as value, 26, got 42",
        ),
        (
            dict(level_start_index=STARTS + 1),
            "multi_scale_deformable_attn: value_level_start_index must leave each level within",
        ),
        (dict(value=torch.randn(26, 3, 32)), f"{LAYER}: value must be of as many images as query"),
        (dict(query=torch.randn(7, 2, 31)), f"{LAYER}: query must have shape"),
        (dict(key_padding_mask=torch.zeros(2, 26)), f"{LAYER}: key_padding_mask must be a tensor of bools"),
        (
            dict(key_padding_mask=torch.zeros(2, 25, dtype=torch.bool)),
            rf"{LAYER}: key_padding_mask must have shape \(2, 26\)",
        ),
    ],
)
def test_bad_arguments(changed, message):
    with pytest.raises((ValueError, TypeError), match=message):
        layer()(**{**given(), **changed})
    with pytest.raises(ValueError, match=f"{LAYER}: num_heads must divide embed_dims = 32"):
        ops.MultiScaleDeformableAttention(32, 5)
    assert np.isfinite(layer()(**given()).detach()).all()
