"""Attention along columns and rows, on tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.torch_bridge.library import Gradient, register, result_dtype
from arrayvision.torch_bridge.ops._modules import check_input


def _fake(query, key, value):
    dtype = result_dtype(query, key, value)
    size = value.shape[0], value.shape[2], value.shape[3]
    return (
        value.new_empty(value.shape, dtype=dtype),
        value.new_empty(size, dtype=dtype if dtype == torch.double else torch.float),
    )


def _gradient(call, grad, *_):
    return _backward(grad, *call.args, *call.results)


def _fake_gradients(grad, query, key, value, *_):
    return tuple(x.new_empty(x.shape, dtype=result_dtype(x)) for x in (query, key, value))


def _gradients(grad, query, key, value, out, logsumexp):
    found = ops.criss_cross_attention_backward(grad, query, key, value, out, logsumexp)
    return tuple(g.to(result_dtype(x)) for g, x in zip(found, (query, key, value), strict=True))


_criss_cross_attention = register(
    "criss_cross_attention(Tensor query, Tensor key, Tensor value) -> (Tensor, Tensor)",
    ops.criss_cross_attention_with_logsumexp,
    _fake,
    Gradient(_gradient, results=(0, 1), constant=(1,)),
)
_backward = register(
    "criss_cross_attention_backward(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor out, Tensor logsumexp) -> "
    "(Tensor, Tensor, Tensor)",
    _gradients,
    _fake_gradients,
)


def criss_cross_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`arrayvision.ops.criss_cross_attention` on tensors, differentiable in all three.

    Parameters
    ----------
    query, key : Tensor (N, K, H, W)
        A vector for each pixel.
    value : Tensor (N, C, H, W)
        What is averaged.

    Returns
    -------
    Tensor (N, C, H, W)
        As there.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _criss_cross_attention(query, key, value)[0]


class CrissCrossAttention(nn.Module):
    """`criss_cross_attention` of maps with themselves, scaled by a number that is learned and begins at 0, and added to them.

    Parameters
    ----------
    in_channels : int
        Channels, at least 8; queries and keys have an eighth of them.
    """

    def __init__(self, in_channels: int) -> None:
        from arrayvision.torch_bridge.cnn.bricks.scale import Scale  # which imports all layers that configs name

        super().__init__()
        self.in_channels = in_channels = check.integer("CrissCrossAttention", "in_channels", in_channels, 8, 2**31 - 1)
        self.query_conv = nn.Conv2d(in_channels, in_channels // 8, 1)
        self.key_conv = nn.Conv2d(in_channels, in_channels // 8, 1)
        self.value_conv = nn.Conv2d(in_channels, in_channels, 1)
        self.gamma = Scale(0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to maps of the same shape."""
        check_input("CrissCrossAttention", x, self.query_conv.weight, argument="x")
        check.shape("CrissCrossAttention", "x", x, "N", self.in_channels, "H", "W")
        if not x.shape[2] * x.shape[3]:  # torch's convolutions refuse such maps
            return x.clone()
        found = criss_cross_attention(self.query_conv(x), self.key_conv(x), self.value_conv(x))
        return self.gamma(found) + x

    def __repr__(self):
        return f"CrissCrossAttention(in_channels={self.in_channels})"
