"""Convolutions without gradients for weights: what they compute is torch's."""

import threading

import pytest

torch = pytest.importorskip("torch")

from arrayvision.torch_bridge import ops  # noqa: E402

F = torch.nn.functional


def rand(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


CALLS = {  # input's and weight's shapes, and the call
    "plain": ("conv2d", (2, 4, 6, 7), (3, 4, 3, 2), dict()),
    "strided": ("conv2d", (2, 4, 6, 7), (6, 2, 3, 3), dict(stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2)),
    "one image": ("conv2d", (4, 6, 7), (4, 1, 3, 3), dict(padding=1, groups=4)),
    "transposed": ("conv_transpose2d", (2, 4, 3, 4), (4, 3, 3, 2), dict()),
    "transposed, strided": (
        "conv_transpose2d", (2, 4, 3, 4), (4, 3, 3, 3),
        dict(stride=(2, 3), padding=(1, 0), output_padding=(1, 2), groups=2, dilation=(1, 2)),
    ),
}  # fmt: skip


def tensors(name, dtype=torch.double):
    function, shape, weight, call = CALLS[name]
    made = weight[1] * call.get("groups", 1) if "transpose" in function else weight[0]
    found = rand(*shape), rand(*weight, seed=1), rand(made, seed=2)
    return [x.to(dtype).requires_grad_() for x in found], getattr(ops, function), getattr(F, function), call


@pytest.mark.parametrize("name", CALLS)
def test_as_torch(name):
    """Values, first and second derivatives."""
    args, ours, theirs, call = tensors(name)
    found = []
    for function in (ours, theirs):
        out = function(*args, **call)
        first = torch.autograd.grad((out * out.detach().cos()).sum(), args, create_graph=True)
        second = torch.autograd.grad(sum(g.pow(3).sum() for g in first), args, create_graph=True, allow_unused=True)
        third = []
        if function is ours or not call.get("output_padding"):  # with which torch's own third derivatives are an error
            third = torch.autograd.grad(sum(g.pow(2).sum() for g in second[:2]), args[:2])
        found.append([out, *first, *second[:2], *third])
    for a, b in zip(*found, strict=False):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert torch.equal(ours(*[x.detach() for x in args], **call), theirs(*args, **call))
    assert torch.autograd.gradgradcheck(lambda *a: ours(*a, **call), args)


@pytest.mark.parametrize("name", CALLS)
def test_weights_get_none(name):
    (x, weight, bias), ours, theirs, call = tensors(name)
    out = ours(x, weight, bias, **call)
    with ops.no_weight_gradients():
        (out * rand(*out.shape)).sum().backward()
    assert weight.grad is None
    (expected,) = torch.autograd.grad((theirs(x, weight, bias, **call) * rand(*out.shape)).sum(), x)
    torch.testing.assert_close(x.grad, expected)
    torch.testing.assert_close(bias.grad, rand(*out.shape).sum((0, 2, 3) if x.dim() == 4 else (1, 2)))


@pytest.mark.parametrize("name", CALLS)
def test_a_penalty_reaches_weights_through_the_gradient(name):
    """The first backward pass needs none for weights; the second, outside, gives them all."""
    (x, weight, bias), ours, theirs, call = tensors(name)
    found = []
    for function in (ours, theirs):
        out = (function(x, weight, bias, **call) ** 2).sum()
        with ops.no_weight_gradients():
            (slope,) = torch.autograd.grad(out, x, create_graph=True)
        found.append(torch.autograd.grad(slope.pow(2).sum(), weight)[0])
    torch.testing.assert_close(*found)


def test_the_context_ends_and_nests():
    x, weight = rand(1, 1, 2, 2), rand(1, 1, 1, 1).requires_grad_()

    def gradient():
        return torch.autograd.grad(ops.conv2d(x, weight).sum(), weight, allow_unused=True)[0]

    with ops.no_weight_gradients():
        with ops.no_weight_gradients(False):
            assert gradient() is None
        assert gradient() is None
        other = []
        thread = threading.Thread(target=lambda: other.append(gradient()))
        thread.start()
        thread.join()
        assert other == [None]
    with ops.no_weight_gradients(False):
        assert gradient() is not None
    with pytest.raises(KeyError), ops.no_weight_gradients():
        raise KeyError
    assert gradient() is not None
    with (
        pytest.raises(TypeError, match=r"^no_weight_gradients: disable must be True or False, got int"),
        ops.no_weight_gradients(1),
    ):
        pass


@pytest.mark.parametrize("name", ["strided", "transposed, strided"])
def test_compile_vmap_and_autocast(name):
    args, ours, theirs, call = tensors(name, torch.float)
    torch._dynamo.reset()
    compiled = torch.compile(lambda *a: ours(*a, **call) * 2, fullgraph=True, backend="aot_eager")
    for a, b in zip(
        torch.autograd.grad(compiled(*args).sum(), args),
        torch.autograd.grad((theirs(*args, **call) * 2).sum(), args),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    with torch.autocast("cpu", torch.bfloat16):
        out = ours(*args, **call)
        expected = theirs(*args, **call)
    assert out.dtype is expected.dtype is torch.bfloat16
    for a, b in zip(torch.autograd.grad(out.sum(), args), torch.autograd.grad(expected.sum(), args), strict=True):
        assert a.dtype is torch.float
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05)
    batch = torch.stack([args[0], args[0] * 2])
    found = torch.vmap(lambda x: ours(x, *args[1:], **call))(batch)
    torch.testing.assert_close(found[1], theirs(batch[1], *args[1:], **call))
    gradient = torch.func.grad(lambda w: ours(args[0], w, args[2], **call).sum())(args[1])
    torch.testing.assert_close(gradient, torch.autograd.grad(theirs(*args, **call).sum(), args[1])[0])


X, W, WT, B = torch.zeros(1, 4, 5, 5), torch.zeros(6, 2, 3, 3), torch.zeros(4, 2, 3, 3), torch.zeros(6)


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        ("conv2d", dict(input=3), TypeError, "input must be a tensor, got int"),
        ("conv2d", dict(input=X.long()), TypeError, "input must be a dense tensor of floats"),
        (
            "conv2d",
            dict(weight=W.double()),
            TypeError,
            "weight must have input's dtype torch.float32, got torch.float64",
        ),
        ("conv2d", dict(weight=W.to("meta")), TypeError, "input is on cpu, weight is on meta: give both on one device"),
        (
            "conv2d",
            dict(input=X[0, 0]),
            ValueError,
            r"input must have shape \(N, C, H, W\) or \(C, H, W\), got \(5, 5\)",
        ),
        ("conv2d", dict(weight=W[0]), ValueError, r"weight must have shape \(K, C, height, width\)"),
        ("conv2d", dict(groups=1), ValueError, r"weight must fit input's 4 channels in 1 groups, got \(6, 2, 3, 3\)"),
        ("conv2d", dict(bias=B[:2]), ValueError, r"bias must have shape \(6,\), got \(2,\)"),
        ("conv2d", dict(stride=0), ValueError, "stride must be at least 1, got 0"),
        ("conv2d", dict(padding=-1), ValueError, "padding must be at least 0, got -1"),
        ("conv2d", dict(padding="same"), TypeError, "padding must be an int, got str"),
        ("conv2d", dict(dilation=(1, 2, 3)), ValueError, "dilation must be an int or two, got 3 numbers"),
        ("conv2d", dict(dilation=3), ValueError, r"input must give a result of at least 1 x 1, got \(1, 4, 5, 5\)"),
        (
            "conv_transpose2d",
            dict(output_padding=1),
            ValueError,
            "output_padding must be less than stride or dilation, got 1",
        ),
        ("conv_transpose2d", dict(padding=4), ValueError, "input must give a result of at least 1 x 1"),
        ("conv_transpose2d", dict(bias=B), ValueError, r"bias must have shape \(4,\), got \(6,\)"),
    ],
)
def test_refuses(function, arguments, error, message):
    weight = W if function == "conv2d" else WT
    with pytest.raises(error, match=rf"^{function}: {message}"):
        getattr(ops, function)(**{"input": X, "weight": weight, "groups": 2, **arguments})
