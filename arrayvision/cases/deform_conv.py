"""Calls of `deform_conv2d` and `modulated_deform_conv2d`."""

import functools

import numpy as np

from arrayvision import get_num_threads, ops
from arrayvision.cases import Case, Timed, TorchGradient


def _two(value):
    return value if isinstance(value, tuple) else (value, value)


def _value(x, y, p):
    """A bilinear sample of x (C, H, W), which is 0 outside."""
    total = np.zeros(len(x))
    if not (np.isfinite(y) and np.isfinite(p)):
        return total
    for i in (np.floor(y), np.floor(y) + 1):
        for j in (np.floor(p), np.floor(p) + 1):
            share = (1 - abs(y - i)) * (1 - abs(p - j))
            if share > 0 and 0 <= i < x.shape[1] and 0 <= j < x.shape[2]:
                total += share * x[:, int(i), int(j)]
    return total


def plain(input, offset, mask, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, deform_groups=1):
    """By the definition: a position, a tap and a group at a time."""
    (sy, sx), (py, px), (dy, dx) = map(_two, (stride, padding, dilation))
    batch, channels = input.shape[:2]
    made, given, kh, kw = weight.shape
    oh, ow = offset.shape[2:]
    moves = offset.reshape(batch, deform_groups, kh, kw, 2, oh, ow)
    scale = (
        np.ones((batch, deform_groups, kh, kw, oh, ow)) if mask is None else mask.reshape(moves[:, :, :, :, 0].shape)
    )
    own = channels // deform_groups
    out = np.zeros((batch, made, oh, ow))
    for b, u, v, i, j, g in np.ndindex(batch, kh, kw, oh, ow, deform_groups):
        y, x = moves[b, g, u, v, :, i, j] + (i * sy - py + u * dy, j * sx - px + v * dx)
        column = np.zeros(channels)
        column[g * own : (g + 1) * own] = scale[b, g, u, v, i, j] * _value(input[b, g * own : (g + 1) * own], y, x)
        for k in range(groups):
            rows = slice(k * made // groups, (k + 1) * made // groups)
            out[b, rows, i, j] += weight[rows, :, u, v] @ column[k * given : (k + 1) * given]
    return out if bias is None else out + bias[:, None, None]


def _inputs(channels, made, groups, deform_groups, kernel, size, out, seed):
    rng = np.random.default_rng(seed)
    taps = kernel[0] * kernel[1]
    return dict(
        input=rng.standard_normal((2, channels, *size)),
        offset=rng.standard_normal((2, deform_groups * taps * 2, *out)) * 1.5,
        mask=rng.uniform(-1, 1, (2, deform_groups * taps, *out)),
        weight=rng.standard_normal((made, channels // groups, *kernel)) * 0.3,
        bias=rng.standard_normal(made),
    )


def _without(inputs, *names):
    return {name: x for name, x in inputs.items() if name not in names}


def _backward(grad, **given):
    found = ops.modulated_deform_conv2d_backward(grad, **given)
    by_name = dict(zip(("input", "offset", "mask", "weight", "bias"), found, strict=True))
    return tuple(by_name[name] for name in sorted(by_name) if by_name[name] is not None)


_GROUPED = _inputs(4, 6, 2, 2, (3, 2), (5, 4), (3, 5), 0)
_PLAIN = _inputs(3, 2, 1, 1, (2, 2), (4, 3), (3, 2), 1)
CASES = (
    Case(
        "modulated_deform_conv2d, groups",
        "modulated_deform_conv2d",
        _GROUPED,
        dict(input="B 4 H W", offset="B 24 h w", mask="B 12 h w", weight="O 2 3 2", bias="O"),
        plain,
        dict(stride=(2, 1), padding=(1, 1), dilation=1, groups=2, deform_groups=2),
        wrt=("bias", "input", "mask", "offset", "weight"),
        backward=_backward,
        never_empty="HWhw",
    ),
    Case(
        "modulated_deform_conv2d, no bias",
        "modulated_deform_conv2d",
        _without(_PLAIN, "bias"),
        dict(input="B C H W", offset="B 8 h w", mask="B 4 h w", weight="O C 2 2"),
        plain,
        wrt=("input", "mask", "offset", "weight"),
        backward=_backward,
        never_empty="CHWhw",
    ),
    Case(
        "deform_conv2d",
        "deform_conv2d",
        _without(_PLAIN, "bias", "mask"),
        dict(input="B C H W", offset="B 8 h w", weight="O C 2 2"),
        lambda input, offset, weight: plain(input, offset, None, weight),
        wrt=("input", "offset", "weight"),
        backward=ops.deform_conv2d_backward,
        never_empty="CHWhw",
    ),
)


# ---- timing --------------------------------------------------------------------------------------------------------
def _by_grid_sample(torch, input, offset, mask, weight):
    """As torch's own operations have it: all samples of all taps, and a product."""
    batch, channels, h, w = input.shape
    made, _, kh, kw = weight.shape
    moves = offset.view(batch, kh * kw, 2, h, w)
    i, j = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    columns = []
    for tap in range(kh * kw):
        y = moves[:, tap, 0] + i - kh // 2 + tap // kw
        x = moves[:, tap, 1] + j - kw // 2 + tap % kw
        grid = torch.stack([(2 * x + 1) / w - 1, (2 * y + 1) / h - 1], -1)
        columns.append(torch.nn.functional.grid_sample(input, grid, align_corners=False) * mask[:, tap, None])
    stacked = torch.stack(columns, 2).reshape(batch, channels * kh * kw, h * w)
    return (weight.reshape(made, -1) @ stacked).view(batch, made, h, w)


@functools.cache
def _session(onnxruntime, onnx, shape, made, threads):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    batch, channels, h, w = shape
    sizes = dict(x=shape, w=(made, channels, 3, 3), o=(batch, 18, h, w), m=(batch, 9, h, w), y=(batch, made, h, w))
    of = {name: helper.make_tensor_value_info(name, kind, size) for name, size in sizes.items()}
    node = helper.make_node("DeformConv", ["x", "w", "o", "", "m"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    graph = helper.make_graph([node], "deform_conv", [of[name] for name in "xwom"], [of["y"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _by_onnx(onnxruntime, onnx, input, offset, mask, weight):
    session = _session(onnxruntime, onnx, input.shape, weight.shape[0], get_num_threads())
    return session.run(None, dict(x=input, w=weight, o=offset, m=mask))


def _by_torchvision(torchvision, input, offset, mask, weight):
    return torchvision.ops.deform_conv2d(input, offset, weight, None, padding=1, mask=mask)


def timed():
    rng = np.random.default_rng(0)
    for shape, made, least in (((2, 64, 64, 64), 64, 1.3), ((2, 256, 50, 76), 256, 1.0)):
        batch, channels, h, w = shape
        given = dict(
            input=rng.standard_normal(shape, np.float32),
            offset=rng.standard_normal((batch, 18, h, w), np.float32) * 2,
            mask=rng.random((batch, 9, h, w), np.float32),
            weight=rng.standard_normal((made, channels, 3, 3), np.float32) / np.float32(3 * channels**0.5),
        )
        text = f"{'x'.join(map(str, shape))} -> {made}"
        peers = {
            "onnxruntime": ("onnxruntime onnx", _by_onnx),
            "torchvision": ("torchvision", _by_torchvision),
            "grid_sample": ("torch", _by_grid_sample),
        }
        yield Timed(
            f"modulated_deform_conv2d 3x3 {text}", "modulated_deform_conv2d", given, dict(padding=1), peers, least
        )
        grad = rng.standard_normal((batch, made, h, w), np.float32) / 64
        peers = {
            "torchvision": ("torchvision", TorchGradient(_by_torchvision)),
            "grid_sample": ("torch", TorchGradient(_by_grid_sample)),
        }
        yield Timed(
            f"modulated_deform_conv2d's gradients {text}", "modulated_deform_conv2d_backward", dict(grad=grad, **given),
            dict(padding=1), peers, 4.0,
        )  # fmt: skip
