"""Launches of text_growth.cu; the functions and arguments of `cpu/text_growth.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.runtime import argsort, empty, zeros
from arrayvision.cuda.types import FLOATS, c_type

MEMBERS = constant("text_growth.cu", "MEMBERS")
_PLAIN = ("count_pixels", "begin", "first_ring", "expand_all")
KERNELS = runtime.Kernels(
    "text_growth.cu", [*_PLAIN, *(f"{kernel}<{T}>" for kernel in ("expand_alike", "mean_embeddings") for T in FLOATS)]
)


def _begin(mask, labels, count, areas, least, out):
    """Which pixels are free, and places of none; `out` gets the labels that count."""
    n = labels.shape[0] * labels.shape[1]
    free, places = empty(out, (n,), "bool"), empty(out, (n,), "int32")
    KERNELS.launch("begin", n, n, mask, labels, count, areas, least, out, free, places)
    return free, places


def _grow(kernel, seeded, seeds, free, places, out, *last):
    """Launch the rings, from `seeds` if `seeded`; `last` are the kernel's own arguments."""
    h, w = out.shape
    n = h * w
    others, queue, found = empty(out, (n,), "int32"), empty(out, (n,), "int32"), zeros(out, (1,), "int32")
    KERNELS.launch("first_ring", n, h, w, out, free, seeded, seeds, others, found)
    block = min(1024, -(-n // 128) * 32)
    KERNELS.launch(kernel, (1,), h, w, argsort(others), found, free, places, queue, out, *last, block=block)


def expand(mask, labels, count, least, grow, out):
    """Fill out (H, W): labels (H, W) below `count` that have `least` pixels or more, grown over the mask if wanted."""
    n = labels.shape[0] * labels.shape[1]
    if n == 0:
        return
    areas = zeros(out, (count,), "int32")
    KERNELS.launch("count_pixels", n, n, labels, count, areas)
    free, places = _begin(mask, labels, count, areas, least, out)
    if grow:
        _grow("expand_all", False, mask, free, places, out)


def group(embedding, mask, labels, contour, count, limit, out):
    """Fill out (H, W): labels (H, W) below `count`, grown over the mask to pixels whose embeddings are alike."""
    n, size, kind = labels.shape[0] * labels.shape[1], embedding.shape[2], c_type(embedding)
    if n == 0:
        return
    free, places = _begin(mask, labels, count, zeros(out, (count,), "int32"), 0, out)
    centers = empty(out, (count, size), "float64")
    if size:
        order = argsort(out.reshape(-1))
        KERNELS.launch(f"mean_embeddings<{kind}>", (count,), n, size, embedding, out, order, centers, block=MEMBERS)
    _grow(f"expand_alike<{kind}>", True, contour, free, places, out, size, embedding, centers, limit)
