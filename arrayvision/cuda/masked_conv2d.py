"""Launches of masked_conv2d.cu; the functions and arguments of `cpu/masked_conv2d.py`."""

from arrayvision.array import library_of
from arrayvision.cuda import runtime
from arrayvision.cuda.runtime import argsort, empty, zeros
from arrayvision.cuda.types import FLOATS, c_type

MEMORY = 2**24  # numbers of columns that are there at a time
KERNELS = runtime.Kernels(
    "masked_conv2d.cu", [f"{name}<{T}>" for name in ("choose", "fill_columns", "lay_out") for T in FLOATS]
)


def forward(x, mask, weight, bias, padding, out):
    """Fill out (N, O, h, w) at positions where mask (N, H, W) is above 0, with 0 elsewhere."""
    library, kind = library_of(out), c_type(out)
    library.zero(out)
    planes, channels, height, width = weight.shape
    batch, _, h, w = out.shape
    rows, cols = x.shape[2:]
    n, depth = batch * h * w, channels * height * width
    if not (n and planes):
        return
    others, count = empty(out, (n,), "int32"), zeros(out, (1,), "int32")
    KERNELS.launch(f"choose<{c_type(mask)}>", n, n, mask, rows, cols, h, w, others, count)
    order, chosen = argsort(others), int(count[0])
    most = max(16, MEMORY // max(depth, planes))
    for start in range(0, chosen, most):
        some = min(most, chosen - start)
        dtype = library.dtype(out)
        columns, found = empty(out, (depth, some), dtype), empty(out, (planes, some), dtype)
        place = order, start, some
        if depth:
            sizes = (channels, rows, cols, h, w, height, width, *padding)
            KERNELS.launch(f"fill_columns<{kind}>", depth * some, depth * some, x, *place, *sizes, columns)
        library.matmul(weight.reshape(planes, depth), columns, found)
        biased = bias is not None
        KERNELS.launch(
            f"lay_out<{kind}>", planes * some, planes * some, found, *place, biased, bias if biased else found,
            planes, h, w, out,
        )  # fmt: skip
