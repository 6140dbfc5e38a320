"""What generators of images are made of, on tensors, beyond what `test_cases.py` tests of every operator."""

import pytest
import torch

from arrayvision.ops.bias_act import ACTIVATIONS
from arrayvision.torch_bridge import ops


def rand(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_third_derivatives(act):
    """A penalty on the gradient of a gradient, against torch's own activations."""
    theirs = {
        "linear": lambda t: t,
        "lrelu": lambda t: torch.nn.functional.leaky_relu(t, 0.2),
        "swish": torch.nn.functional.silu,
    }.get(act) or getattr(torch.nn.functional, act)
    found = []
    for call in (lambda x, b: ops.bias_act(x, b, act=act, gain=1.5), lambda x, b: 1.5 * theirs(x + b[:, None])):
        x, b = rand(4, 3, 5).requires_grad_(), rand(3, seed=1).requires_grad_()
        out = (call(x, b) * rand(4, 3, 5, seed=2)).pow(2)
        for _ in range(2):
            first, second = torch.autograd.grad(out.sum(), (x, b), create_graph=True)
            out = first.pow(2).sum() + second.pow(3).sum()
        found.append(torch.autograd.grad(out, (x, b)))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_a_gradient_in_one_argument_computes_no_other():
    x, b = rand(2, 3).requires_grad_(), rand(3, seed=1)
    ops.bias_act(x, b, act="tanh").sum().backward()
    assert b.grad is None and x.grad is not None
    x, b = x.detach(), b.requires_grad_()
    ops.fused_bias_leakyrelu(x, b).sum().backward()
    assert x.grad is None and b.grad.shape == (3,)


def test_dtypes_of_input_and_bias_may_differ():
    x, b = rand(2, 3).half().requires_grad_(), rand(3).float().requires_grad_()
    out = ops.bias_act(x, b, act="lrelu")
    out.sum().backward()
    assert out.dtype is torch.float and x.grad.dtype is torch.half and b.grad.dtype is torch.float


def test_the_module_has_a_bias_of_zeros():
    module = ops.FusedBiasLeakyReLU(8, 0.1, 2.0)
    assert {n: (tuple(p.shape), p.sum().item()) for n, p in module.state_dict().items()} == {"bias": ((8,), 0)}
    x = rand(2, 8, 3).float()
    torch.testing.assert_close(module(x), torch.nn.functional.leaky_relu(x, 0.1) * 2)
    assert repr(module) == "FusedBiasLeakyReLU(8, negative_slope=0.1, scale=2)"
    with pytest.raises(ValueError, match=r"^FusedBiasLeakyReLU: num_channels must be at least 0, got -1"):
        ops.FusedBiasLeakyReLU(-1)
