"""Calls of `border_align`."""

from arrayvision import ops
from arrayvision.cases import regions


def _backward(grad, input, boxes, pool_size):
    _, argmax = ops.border_align_with_argmax(input, boxes, pool_size)
    return (ops.border_align_backward(grad, argmax, boxes, input.shape, pool_size),)


CASES = (
    regions.case(
        "border_align", "border_align", lambda input, boxes, pool_size: regions.border_align(input, boxes, pool_size),
        _backward, dict(pool_size=4), boxes=regions.boxes(), shapes=dict(boxes="B N 4"),
    ),
)  # fmt: skip
