"""What generators of images are made of, on tensors, beyond what `test_cases.py` tests of every operator."""

import contextlib

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


class Layer(torch.nn.Module):
    """A modulated convolution of StyleGAN2: weights scaled by a style, normalised, one group for each image."""

    def __init__(self, inner, outer, up):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(outer, inner, 3, 3))
        self.style = torch.nn.Linear(8, inner)
        self.act = ops.FusedBiasLeakyReLU(outer)
        self.up = up
        self.register_buffer("filter", torch.tensor([1.0, 3, 3, 1]) / 8)

    def forward(self, x, w):
        n, c, h, width = x.shape
        weight = self.weight * (self.style(w) + 1)[:, None, :, None, None]
        weight = weight * (weight.pow(2).sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        x = x.reshape(1, n * c, h, width)
        if self.up:
            weight = weight.transpose(1, 2).flatten(0, 1)
            x = ops.conv_transpose2d(x, weight, stride=2, groups=n)
            x = ops.upfirdn2d(x, self.filter, padding=1, gain=4)
        else:
            x = ops.conv2d(x, weight.flatten(0, 1), padding=1, groups=n)
        return self.act(x.reshape(n, -1, *x.shape[2:]))


class Generator(torch.nn.Module):
    """8 x 8 pixels from latents; each resolution's image is added to the last one's, enlarged."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.start = torch.nn.Parameter(torch.randn(1, 6, 4, 4))
        self.mapping = torch.nn.Sequential(torch.nn.Linear(8, 8), ops.FusedBiasLeakyReLU(8))
        self.layers = torch.nn.ModuleList([Layer(6, 6, False), Layer(6, 4, True), Layer(4, 4, False)])
        self.to_image = torch.nn.ModuleList([torch.nn.Conv2d(6, 3, 1), torch.nn.Conv2d(4, 3, 1)])
        self.bias = torch.nn.Parameter(torch.zeros(4))
        self.register_buffer("filter", torch.tensor([1.0, 3, 3, 1]) / 8)

    def latents(self, z):
        return self.mapping(z)

    def forward(self, w):
        x = self.layers[0](self.start.expand(len(w), -1, -1, -1), w)
        image = ops.upsample2d(self.to_image[0](x), self.filter)
        x = self.layers[2](self.layers[1](x, w), w)
        x = ops.filtered_lrelu(x, self.filter, self.filter, self.bias, 2, 2, 3)
        return ops.bias_act(image + self.to_image[1](x), act="tanh", clamp=0.999)


class Discriminator(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.weight = torch.nn.Parameter(torch.randn(4, 3, 3, 3) / 5)
        self.bias = torch.nn.Parameter(torch.zeros(4))
        self.out = torch.nn.Linear(4 * 16, 1)
        self.register_buffer("filter", torch.tensor([1.0, 3, 3, 1]) / 8)

    def forward(self, image):
        x = ops.bias_act(ops.conv2d(image, self.weight, padding=1), self.bias, act="swish")
        return self.out(ops.downsample2d(ops.filter2d(x, self.filter), self.filter).flatten(1))


def train(steps):
    """Steps of training, with a penalty on path lengths and one on the discriminator's slope; the losses, and all weights."""
    generator, discriminator = Generator(), Discriminator()
    torch.manual_seed(2)
    optimizers = [torch.optim.SGD(m.parameters(), 0.01) for m in (generator, discriminator)]
    real, z, noise, mean, losses = torch.rand(3, 3, 8, 8), torch.randn(3, 8), torch.randn(3, 3, 8, 8) / 8, 0.0, []
    for _ in range(steps):
        w = generator.latents(z)
        image = generator(w)
        (slope,) = torch.autograd.grad((image * noise).sum(), w, create_graph=True)  # by way of the weights, too
        length = slope.pow(2).sum(1).sqrt()
        mean = mean + 0.5 * (length.mean().detach() - mean)
        loss = torch.nn.functional.softplus(-discriminator(image)).mean() + 2 * (length - mean).pow(2).mean()
        optimizers[0].zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in generator.parameters())
        optimizers[0].step()
        real = real.detach().requires_grad_()
        scores = discriminator(real)
        with ops.no_weight_gradients():
            (slope,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
        other = torch.nn.functional.softplus(discriminator(image.detach())).mean()
        other = other + torch.nn.functional.softplus(-scores).mean() + slope.pow(2).sum((1, 2, 3)).mean()
        optimizers[1].zero_grad()
        other.backward()
        optimizers[1].step()
        losses += [loss.item(), other.item()]
    return losses, [p.detach().clone() for m in (generator, discriminator) for p in m.parameters()]


class Composed:
    """The same operators from torch's own operations, by the definitions."""

    no_weight_gradients = staticmethod(contextlib.nullcontext)
    conv2d = staticmethod(torch.nn.functional.conv2d)
    conv_transpose2d = staticmethod(torch.nn.functional.conv_transpose2d)

    class FusedBiasLeakyReLU(ops.FusedBiasLeakyReLU):
        def forward(self, x):
            return Composed.bias_act(x, self.bias, act="lrelu")

    @staticmethod
    def upfirdn2d(x, f, up=1, down=1, padding=0, gain=1):
        n, c, h, w = x.shape
        wide = x.new_zeros(n, c, h, up, w, up)
        padding = (padding,) * 4 if isinstance(padding, int) else padding
        wide = torch.cat([torch.cat([x[:, :, :, None, :, None], wide[:, :, :, :1, :, 1:]], 5), wide[:, :, :, 1:]], 3)
        wide = torch.nn.functional.pad(wide.reshape(n * c, 1, h * up, w * up), padding)
        return (
            gain
            * torch.nn.functional.conv2d(wide, torch.outer(f, f).flip(0, 1)[None, None], stride=down).unflatten(
                0, (n, c)
            )[:, :, 0]
        )

    @staticmethod
    def filter2d(x, f):
        return Composed.upfirdn2d(x, f, padding=(2, 1, 2, 1))

    @staticmethod
    def upsample2d(x, f):
        return Composed.upfirdn2d(x, f, 2, padding=(2, 1, 2, 1), gain=4)

    @staticmethod
    def downsample2d(x, f):
        return Composed.upfirdn2d(x, f, 1, 2, padding=1)

    @staticmethod
    def bias_act(x, bias=None, act="linear", clamp=None):
        x = x if bias is None else x + bias.reshape(-1, *[1] * (x.dim() - 2))
        x = {
            "lrelu": lambda x: torch.nn.functional.leaky_relu(x, 0.2) * 2**0.5,
            "tanh": torch.tanh,
            "swish": lambda x: torch.nn.functional.silu(x) * 2**0.5,
        }[act](x)
        return x if clamp is None else x.clamp(-clamp, clamp)

    @staticmethod
    def filtered_lrelu(x, up_filter, down_filter, bias, up, down, padding):
        x = Composed.upfirdn2d(x + bias[:, None, None], up_filter, up, padding=padding, gain=up**2)
        return Composed.upfirdn2d(Composed.bias_act(x, act="lrelu"), down_filter, 1, down)


def test_a_small_generator_is_trained_with_penalties_on_gradients(monkeypatch):
    """Backward twice through the whole of it, for two steps: losses and weights are those of torch's operations."""
    losses, weights = train(2)
    monkeypatch.setitem(globals(), "ops", Composed)
    expected, others = train(2)
    assert len(losses) == 4 and losses[0] != losses[2]
    torch.testing.assert_close(torch.tensor(losses), torch.tensor(expected), rtol=1e-4, atol=1e-5)
    for a, b in zip(weights, others, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
