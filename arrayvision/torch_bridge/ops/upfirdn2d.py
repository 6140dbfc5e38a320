"""Upsampling, filtering and downsampling of images on tensors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from arrayvision import check, ops
from arrayvision.ops import _fir
from arrayvision.torch_bridge.library import linear


def _shape(input, filter, up, down, padding, flip_filter, gain):
    size = _fir.extent("upfirdn2d", filter)
    return *input.shape[:2], *_fir.result_size("upfirdn2d", input.shape[2:], size, up, down, padding)


_upfirdn2d = linear(
    "upfirdn2d",
    "Tensor? filter, SymInt[] up, SymInt[] down, SymInt[] padding, bool flip_filter, float gain",
    ops.upfirdn2d,
    lambda grad, filter, up, down, padding, flip, gain, shape: ops.upfirdn2d_backward(
        grad, filter, shape, up, down, padding, flip, gain
    ),
    _shape,
)


def upfirdn2d(
    input: Tensor,
    filter: Tensor | None,
    up: int | tuple[int, int] = 1,
    down: int | tuple[int, int] = 1,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1,
    use_custom_op: bool = True,
) -> Tensor:
    """`arrayvision.ops.upfirdn2d` on tensors, differentiable in `input` any number of times; the filter is constant."""
    name = "upfirdn2d"
    up, down, padding = _fir.factors(name, "up", up), _fir.factors(name, "down", down), _fir.paddings(name, padding)
    return _upfirdn2d(input, filter, up, down, padding, flip_filter, gain)


def filter2d(
    input: Tensor,
    filter: Tensor | None,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1,
    use_custom_op: bool = True,
) -> Tensor:
    """`arrayvision.ops.filter2d` on tensors, differentiable in `input` any number of times; the filter is constant."""
    around = _fir.around(_fir.paddings("filter2d", padding), _fir.extent("filter2d", filter))
    return _upfirdn2d(input, filter, (1, 1), (1, 1), around, flip_filter, gain)


def upsample2d(
    input: Tensor,
    filter: Tensor | None,
    up: int | tuple[int, int] = 2,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1,
    use_custom_op: bool = True,
) -> Tensor:
    """`arrayvision.ops.upsample2d` on tensors, differentiable in `input` any number of times; the filter is constant."""
    up = _fir.factors("upsample2d", "up", up)
    around = _fir.around(_fir.paddings("upsample2d", padding), _fir.extent("upsample2d", filter), up)
    gain = check.number("upsample2d", "gain", gain) * up[0] * up[1]
    return _upfirdn2d(input, filter, up, (1, 1), around, flip_filter, gain)


def downsample2d(
    input: Tensor,
    filter: Tensor | None,
    down: int | tuple[int, int] = 2,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1,
    use_custom_op: bool = True,
) -> Tensor:
    """`arrayvision.ops.downsample2d` on tensors, differentiable in `input` any number of times; the filter is constant."""
    down = _fir.factors("downsample2d", "down", down)
    around = _fir.around(_fir.paddings("downsample2d", padding), _fir.extent("downsample2d", filter), down=down)
    return _upfirdn2d(input, filter, (1, 1), down, around, flip_filter, gain)
