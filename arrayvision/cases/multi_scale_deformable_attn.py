"""Calls of `multi_scale_deformable_attn`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed, TorchGradient


def plain(value, value_spatial_shapes, sampling_locations, attention_weights, value_level_start_index=None):
    """By the definition: a sample at a time."""
    batch, _, heads, channels = value.shape
    _, queries, _, levels, points, _ = sampling_locations.shape
    sizes = value_spatial_shapes.prod(1)
    starts = np.cumsum(sizes) - sizes if value_level_start_index is None else value_level_start_index
    out = np.zeros((batch, queries, heads, channels))
    for b, q, m, level, p in np.ndindex(batch, queries, heads, levels, points):
        h, w = value_spatial_shapes[level]
        image = value[b, starts[level] : starts[level] + h * w, m].reshape(h, w, channels)
        x, y = sampling_locations[b, q, m, level, p] * (w, h) - 0.5
        if not (np.isfinite(x) and np.isfinite(y)):
            continue
        for i in (np.floor(y), np.floor(y) + 1):
            for j in (np.floor(x), np.floor(x) + 1):
                share = (1 - abs(y - i)) * (1 - abs(x - j)) * attention_weights[b, q, m, level, p]
                if share != 0 and 0 <= i < h and 0 <= j < w:
                    out[b, q, m] += share * image[int(i), int(j)]
    return out.reshape(batch, queries, heads * channels)


def inputs(batch, queries, heads, channels, shapes, points, seed=0, reach=0.3):
    """Locations a little beyond the maps too."""
    rng = np.random.default_rng(seed)
    shapes = np.array(shapes)
    return dict(
        value=rng.standard_normal((batch, int(shapes.prod(1).sum()), heads, channels)),
        value_spatial_shapes=shapes,
        sampling_locations=rng.uniform(-reach, 1 + reach, (batch, queries, heads, len(shapes), points, 2)),
        attention_weights=rng.random((batch, queries, heads, len(shapes), points)),
    )


def _case(name, given, **shapes):
    names = dict(
        value="B S M D", value_spatial_shapes="L 2", sampling_locations="B Q M L P 2", attention_weights="B Q M L P"
    )
    return Case(
        name,
        "multi_scale_deformable_attn",
        given,
        names | shapes,
        plain,
        wrt=("attention_weights", "sampling_locations", "value"),
        backward=lambda grad, **given: ops.multi_scale_deformable_attn_backward(grad, **given)[::-1],
        indexed="LS",
        tolerance=16,
    )


_EQUAL = inputs(2, 3, 2, 5, ((2, 3), (2, 3)), 2, 1)
CASES = (
    _case("multi_scale_deformable_attn", inputs(2, 3, 2, 4, ((3, 4), (2, 3)), 3)),
    _case(
        "multi_scale_deformable_attn, starts",
        {**_EQUAL, "value_level_start_index": np.array([6, 0])},
        value_level_start_index="L",
    ),
)


# ---- timing --------------------------------------------------------------------------------------------------------
def _by_grid_sample(torch, value, value_spatial_shapes, sampling_locations, attention_weights):
    """As the usual implementation in torch's own operations has it."""
    batch, _, heads, channels = value.shape
    _, queries, _, levels, points, _ = sampling_locations.shape
    grids, found, start = 2 * sampling_locations - 1, [], 0
    for level, (h, w) in enumerate(value_spatial_shapes.tolist()):
        image = value[:, start : start + h * w].permute(0, 2, 3, 1).reshape(batch * heads, channels, h, w)
        grid = grids[:, :, :, level].transpose(1, 2).reshape(batch * heads, queries, points, 2)
        found.append(torch.nn.functional.grid_sample(image, grid, align_corners=False))
        start += h * w
    weights = attention_weights.transpose(1, 2).reshape(batch * heads, 1, queries, levels * points)
    out = (torch.cat(found, -1) * weights).sum(-1)
    return out.view(batch, heads * channels, queries).transpose(1, 2).contiguous()


def timed():
    shapes = np.array([(100, 152), (50, 76), (25, 38), (13, 19)])
    pixels = int(shapes.prod(1).sum())
    rng = np.random.default_rng(0)
    value = rng.standard_normal((2, pixels, 8, 32), np.float32)
    # An encoder's queries look round their own pixels, a decoder's anywhere.
    own = [
        np.stack(np.meshgrid((np.arange(w) + 0.5) / w, (np.arange(h) + 0.5) / h), -1).reshape(-1, 2) for h, w in shapes
    ]
    for points, least in ((np.concatenate(own)[None].repeat(2, 0), 9.0), (rng.random((2, 300, 2)), 8.0)):
        queries = points.shape[1]
        moves = rng.standard_normal((2, queries, 8, 4, 4, 2)) * 2 / shapes[:, None, ::-1]
        weights = rng.random((2, queries, 8, 4, 4), np.float32)
        given = dict(
            value=value,
            value_spatial_shapes=shapes,
            sampling_locations=(points[:, :, None, None, None] + moves).astype(np.float32),
            attention_weights=weights / weights.sum((3, 4), keepdims=True),
        )
        name = "multi_scale_deformable_attn"
        yield Timed(f"{name} {queries} queries", name, given, {}, {"grid_sample": ("torch", _by_grid_sample)}, least)
        grad = rng.standard_normal((2, queries, 256), np.float32)
        yield Timed(
            f"{name}'s gradients {queries} queries", f"{name}_backward", dict(grad=grad, **given), {},
            {"grid_sample": ("torch", TorchGradient(_by_grid_sample))}, 5.0,
        )  # fmt: skip
