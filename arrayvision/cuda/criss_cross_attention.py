"""Launches of criss_cross_attention.cu; the functions and arguments of `cpu/criss_cross_attention.py`.

All weights of an image's pixels are in memory here, one image's at a time.
"""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, c_type

SHARE = constant("criss_cross_attention.cu", "SHARE")
KERNELS = runtime.Kernels(
    "criss_cross_attention.cu",
    [
        *(f"{name}<{T}>" for name in ("energies", "attend", "give_back") for T in FLOATS),
        *(f"{name}<{A}>" for name in ("normalize", "slopes") for A in ("float", "double")),
    ],
)


def _weights(like):
    kind = accumulator(c_type(like))
    _, _, h, w = like.shape
    return runtime.empty(like, (h + w, h, w), DTYPES[kind])


def _energies(a, b, once, out):
    _, channels, h, w = a.shape
    n = -(-(h + w) // SHARE) * h * w
    KERNELS.launch(f"energies<{c_type(a)}>", n, n, a, b, channels, h, w, once, out)


def _mix(kernel, weights, x, out):
    _, channels, h, w = x.shape
    n = -(-channels // SHARE) * h * w
    KERNELS.launch(f"{kernel}<{c_type(x)}>", n, n, weights, x, channels, h, w, out)


def _images(*arrays):
    """Each array's images in turn, as arrays of one."""
    return zip(*([x[i : i + 1] for i in range(len(x))] for x in arrays), strict=True)


def forward(q, k, v, out, logs):
    """Fill out (N, C, H, W) and logs (N, H, W), the logarithms of sums of exponentials, from q and k (N, K, H, W) and v."""
    _, _, h, w = v.shape
    if not h * w:
        return
    kind = accumulator(c_type(v))
    for own_q, own_k, own_v, own_out, own_logs in _images(q, k, v, out, logs):
        weights = _weights(v)
        _energies(own_q, own_k, True, weights)
        KERNELS.launch(f"normalize<{kind}>", h * w, h * w, h + w, h * w, weights, own_logs)
        _mix("attend", weights, own_v, own_out)


def backward(grad, q, k, v, found, logs, to_q, to_k, to_v):
    """Fill the gradients for q, k and v from that of the result `found`, and from `logs`."""
    _, _, h, w = v.shape
    if not h * w:
        return
    kind = accumulator(c_type(v))
    for g, own_q, own_k, own_v, own_logs, own_to_q, own_to_k, own_to_v in _images(
        grad, q, k, v, logs, to_q, to_k, to_v
    ):
        weights, grads = _weights(v), _weights(v)
        _energies(own_q, own_k, True, weights)
        _energies(g, own_v, False, grads)
        KERNELS.launch(f"slopes<{kind}>", h * w, h * w, h + w, h * w, own_logs, weights, grads)
        _mix("give_back", weights, g, own_to_v)
        _mix("attend", grads, own_k, own_to_q)
        _mix("give_back", grads, own_q, own_to_k)
