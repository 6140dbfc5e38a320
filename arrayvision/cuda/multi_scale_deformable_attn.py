"""Launches of multi_scale_deformable_attn.cu; the functions and arguments of `cpu/multi_scale_deformable_attn.py`."""

from arrayvision.cuda import loops, runtime
from arrayvision.cuda.constants import WARP
from arrayvision.cuda.loops import divider, rows
from arrayvision.cuda.runtime import deterministic
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.types import FLOATS, SIXTEEN, c_type, together

KERNELS = runtime.Kernels(
    "multi_scale_deformable_attn.cu",
    [
        *(f"{name}<{T}, {v}>" for name in ("attend", "slopes") for T in FLOATS for v in (1, SIXTEEN[T])),
        *(f"spread_in_order<{T}>" for T in FLOATS),
        *ROUND_SUMS,
    ],
)


def _levels(value, shapes, starts, weights):
    return (
        shapes,
        starts is not None,
        shapes if starts is None else starts,
        weights.shape[3],
        weights.shape[4],
        value.shape[1],
    )


def forward(value, shapes, starts, locations, weights, out):
    """value (B, S, heads, channels), shapes (L, 2), starts (L,) or None, locations (B, Q, heads, L, P, 2), weights (B, Q, heads, L, P),
    out (B, Q, heads * channels)."""
    batch, _, heads, channels = value.shape
    queries, v = out.shape[1], together(channels, value, out)
    each, levels = queries * heads * (channels // v), _levels(value, shapes, starts, weights)
    by = [divider("uint32_t", size) for size in (channels // v, heads, queries)]
    for images, part in loops.parts(batch, each):
        n = images * each
        KERNELS.launch(
            f"attend<{c_type(value)}, {v}>", n, n, *by, rows(value, part), *levels, rows(locations, part), rows(weights, part),
            rows(out, part),
        )  # fmt: skip


def backward(grad, value, shapes, starts, locations, weights, out, out_locations, out_weights):
    """Fill the gradients of value, locations and weights; grad is (B, Q, heads * channels)."""
    batch, _, heads, channels = value.shape
    queries, v, ordered = grad.shape[1], together(channels, value, grad, out), deterministic(value)
    kind, levels, sums = c_type(value), _levels(value, shapes, starts, weights), zero_sums(out)
    lanes = 1
    while lanes < min(channels // v, WARP):
        lanes *= 2
    each = queries * heads * lanes
    by = [divider("uint32_t", size) for size in (heads, queries)]
    for images, part in loops.parts(batch, each):
        n = images * each
        KERNELS.launch(
            f"slopes<{kind}, {v}>", n, n, lanes, *by, channels // v, not ordered, rows(grad, part), rows(value, part), *levels,
            rows(locations, part), rows(weights, part), rows(sums, part), rows(out_locations, part), rows(out_weights, part),
        )  # fmt: skip
    if ordered and queries:
        n = batch * heads * channels
        KERNELS.launch(
            f"spread_in_order<{kind}>", n, n, channels, heads, queries, grad, *levels, locations, weights, sums
        )
    round_sums(KERNELS, sums, out)
