"""Launches of psa_mask.cu; the functions and arguments of `cpu/psa_mask.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.types import FLOATS, c_type

TILE, BLOCK = (constant("psa_mask.cu", name) for name in ("TILE", "BLOCK"))
KERNELS = runtime.Kernels(
    "psa_mask.cu", [f"{name}<{T}, {how}>" for name in ("lay", "take") for T in FLOATS for how in ("true", "false")]
)


def _launch(name, source, collect, masks, rows, columns, out):
    """A block for each tile of rows and columns of each of `out`'s images, its rows and those of the map."""
    _, height, width, h, w = masks.shape
    if 0 in out.shape:
        return
    blocks = out.shape[0] * out.shape[1] * h * -(-rows // TILE) * -(-columns // TILE)
    kernel = f"{name}<{c_type(source)}, {str(collect).lower()}>"
    KERNELS.launch(kernel, (blocks,), source, height, width, h, w, out, block=BLOCK)


def forward(x, collect, out):
    """Fill out (N, H, W, H, W), pixels seen or seeing first, with masks x (N, height, width, H, W)."""
    _launch("lay", x, collect, x, out.shape[2], out.shape[2], out)


def backward(grad, collect, out):
    """Fill out (N, height, width, H, W) with the masks' gradient, from that of the result (N, H, W, H, W)."""
    _launch("take", grad, collect, out, out.shape[2], out.shape[4], out)
