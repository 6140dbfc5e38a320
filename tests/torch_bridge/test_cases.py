"""Every case of every operator on tensors: gradients, torch.compile, export, torch.func, dtypes, opcheck of what it calls."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

import arrayvision.ops as array_ops  # noqa: E402
from arrayvision import cases  # noqa: E402
from arrayvision.operators import OPERATORS  # noqa: E402
from arrayvision.torch_bridge import ops  # noqa: E402

CASES = cases.cases()
DIFFERENTIABLE = [case for case in CASES if case.wrt]
GRADIENTS = {row.name: row.gradients for row in OPERATORS}
OLD = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13)
every = pytest.mark.parametrize("case", CASES, ids=str)
differentiable = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)


def tensors(case, dtype=torch.float64, recorded=True):
    """The inputs, those that a gradient is for first."""
    made = {
        n: torch.from_numpy(np.array(case.inputs[n])) for n in sorted(case.inputs, key=lambda n: (n not in case.wrt, n))
    }
    made = {n: x.to(dtype) if x.is_floating_point() else x for n, x in made.items()}
    return [x.requires_grad_(recorded and n in case.wrt) for n, x in made.items()]


def function(case):
    """The first result, as a function of the inputs in that order."""
    names = sorted(case.inputs, key=lambda n: (n not in case.wrt, n))

    def call(*args):
        out = getattr(ops, case.function)(**dict(zip(names, args, strict=True)), **case.arguments)
        return out[0] if isinstance(out, (tuple, list)) else out

    return call


def weighted(out):
    """A sum in which each element has another weight."""
    return (out * torch.linspace(0.5, 1.5, out.numel(), dtype=out.dtype).reshape(out.shape)).sum()


def gradients(call, args, wrt, **options):
    return torch.autograd.grad(weighted(call(*args)), args[:wrt], **options)


def test_gradients_are_what_the_table_says():
    for case in CASES:
        assert bool(case.wrt) == bool(GRADIENTS[case.function]), case


@every
def test_as_on_arrays(case):
    expected = getattr(array_ops, case.function)(**case.inputs, **case.arguments)
    got = function(case)(*tensors(case, recorded=False))
    np.testing.assert_array_equal(got.numpy(), expected[0] if isinstance(expected, (tuple, list)) else expected)


@differentiable
def test_gradients(case, backend):
    if backend == "cuda":
        pytest.skip("tensors of the CPU")
    # In the emulator along one direction: kernels of the CPU, which others are compared with, along all.
    assert torch.autograd.gradcheck(function(case), tensors(case), nondet_tol=0, fast_mode=backend == "emulated")
    if backend == "cpu":
        for k in range(len(case.wrt)):  # one alone
            args = [x.detach().requires_grad_(i == k) for i, x in enumerate(tensors(case))]
            assert torch.autograd.gradcheck(function(case), args)


@pytest.mark.parametrize("case", [case for case in CASES if case.backward], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_of_arrays(case, dtype, backend):
    if backend == "cuda":
        pytest.skip("arrays of the CPU")
    _, found = cases.run(case, dtype)
    args = tensors(case)
    out = function(case)(*args)
    expected = torch.autograd.grad(out, args[: len(case.wrt)], torch.ones_like(out))
    for name, a, b in zip(sorted(case.wrt), found, expected, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(torch.from_numpy(a).double(), b, rtol=1e-4, atol=1e-4, msg=name)


@differentiable
def test_second_derivatives(case):
    args = tensors(case)
    if (case.derivatives or GRADIENTS[case.function]) == "any":
        assert torch.autograd.gradgradcheck(lambda *a: function(case)(*a).pow(2), args)
    else:
        out = (function(case)(*args) ** 2).sum()
        (first, *_) = torch.autograd.grad(out, args[: len(case.wrt)], create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            first.sum().backward()


class Recorder(TorchDispatchMode):
    """Keeps the calls of our operators."""

    def __init__(self):
        super().__init__()
        self.calls = {}

    def __torch_dispatch__(self, function, kinds, args=(), kwargs=None):
        if function.namespace == "arrayvision":
            self.calls.setdefault(function, args)
        return function(*args, **(kwargs or {}))


@every
def test_opcheck(case):
    """Of each operator that the call, or its gradient, makes."""
    with Recorder() as recorder:
        args = tensors(case)
        out = function(case)(*args)
        if case.wrt:
            weighted(out).backward()
    assert recorder.calls
    for operator, given in recorder.calls.items():
        given = [
            a.detach().clone().requires_grad_(a.is_floating_point()) if isinstance(a, torch.Tensor) else a
            for a in given
        ]
        assert set(torch.library.opcheck(operator, tuple(given)).values()) == {"SUCCESS"}


@every
@pytest.mark.parametrize("dynamic", [False, True])
def test_compile(case, dynamic):
    """Whole, in the dtypes of a model's weights and of integers, with gradients."""
    torch._dynamo.reset()
    call, args = function(case), tensors(case)
    compiled = torch.compile(lambda *a: call(*a) * 2, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    out, expected = compiled(*args), call(*args) * 2
    assert torch.equal(out, expected) and out.stride() == expected.stride()
    if case.wrt:
        found = gradients(compiled, args, len(case.wrt))
        for a, b in zip(found, gradients(lambda *x: call(*x) * 2, args, len(case.wrt)), strict=True):
            assert torch.equal(a, b)
    if not dynamic:
        for dtypes in ((torch.bfloat16,), (torch.int64,), (torch.half, torch.bfloat16)):
            given = [
                x.detach().round().to(dtypes[k % len(dtypes)]) if x.is_floating_point() else x
                for k, x in enumerate(args)
            ]
            out, expected = compiled(*given), call(*given) * 2
            assert out.dtype is expected.dtype
            torch.testing.assert_close(out, expected, rtol=0, atol=0, equal_nan=True)


@every
def test_export(case):
    class Model(torch.nn.Module):
        def forward(self, *args):
            return function(case)(*args)

    args = tuple(tensors(case, recorded=False))
    assert torch.equal(torch.export.export(Model(), args).module()(*args), function(case)(*args))


@every
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # vmap runs custom operators one by one
def test_transforms(case):
    """vmap, and with torch.func.grad."""
    call, args = function(case), tensors(case, recorded=False)
    batch = [torch.stack([x, x.flip(0)]) for x in args]
    out = torch.vmap(call)(*batch)
    for k in range(2):
        assert torch.equal(out[k], call(*(x[k] for x in batch)))
    if case.wrt:
        which = tuple(range(len(case.wrt)))
        expected = gradients(call, tensors(case), len(which))
        derivative = torch.func.grad(lambda *a: weighted(call(*a)), which)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")
            both = torch.vmap(derivative)(*batch)
        for a, b, e in zip(derivative(*args), both, expected, strict=True):
            torch.testing.assert_close(a, e, rtol=0, atol=0)
            torch.testing.assert_close(b[0], e, rtol=1e-14, atol=1e-14)


@every
@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16, torch.float])
def test_dtypes_and_autocast(case, dtype):
    args = tensors(case, dtype)
    with torch.autocast("cpu"):
        out = function(case)(*args)
    assert out.requires_grad == bool(case.wrt)
    if case.wrt:
        assert out.dtype is dtype
        assert {g.dtype for g in torch.autograd.grad(out.sum(), args[: len(case.wrt)])} == {dtype}


@differentiable
def test_a_gradient_that_is_not_contiguous(case):
    args = tensors(case)
    wrt = args[: len(case.wrt)]
    out = function(case)(*args)
    one = torch.ones((), dtype=out.dtype)
    expanded = torch.autograd.grad(out, wrt, one.expand(out.shape), retain_graph=True)
    for a, b in zip(expanded, torch.autograd.grad(out, wrt, torch.ones_like(out)), strict=True):
        assert torch.equal(a, b)
