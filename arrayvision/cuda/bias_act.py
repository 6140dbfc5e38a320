"""Launches of bias_act.cu; the functions and arguments of `cpu/bias_act.py`."""

import functools
import math

import numpy as np

from arrayvision.array import library_of
from arrayvision.cuda import runtime
from arrayvision.cuda.loops import INDICES, divider, index
from arrayvision.cuda.types import DTYPES, FLOATS, SIXTEEN, accumulator, aligned, as_accumulator, c_type

KERNELS = runtime.Kernels(
    "bias_act.cu", [f"{does}<{T}, {index}>" for does in ("activate", "derive") for T in FLOATS for index in INDICES]
)


@functools.lru_cache(256)
def _polynomials(library, device, even, odd, dtype):
    """The two, on the device; they stay there, so that a call that comes again waits for no copy."""
    return library.from_host(np.array(even + odd, dtype), dtype, device)


def bias_act(grad, x, bias, form, gain, clamp, out):
    """Fill out (N, C, size) with the activation of x plus bias (C,) or None; or, given grad, with its derivative times that."""
    n, kind, library = math.prod(x.shape), c_type(x), library_of(x)
    width, threads = index(n), -(-n // SIXTEEN[kind])
    by = divider(width, x.shape[2]), divider(width, x.shape[1])
    biased = x if bias is None else bias, bias is not None
    above, below, floor, high, decay, share, gain, clamp = (
        as_accumulator(kind, number)
        for number in (form.above, form.below, form.floor, form.high, form.decay, form.share, gain, clamp)
    )
    if form.order == 0:
        KERNELS.launch(
            f"activate<{kind}, {width}>", threads, n, aligned(x, out), *by, x, *biased, form.kind, above, below, floor, gain, clamp,
            out,
        )  # fmt: skip
        return
    polynomials = _polynomials(library, library.device(x), form.even, form.odd, DTYPES[accumulator(kind)])
    KERNELS.launch(
        f"derive<{kind}, {width}>", threads, n, aligned(grad, x, out), *by, grad, x, *biased, form.kind, form.order, above, below,
        floor, high, decay, share, gain, clamp, len(form.even) - 1, polynomials, out,
    )  # fmt: skip
