"""SyncBatchNorm on two processes against one process with all samples, whatever each of the two has."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from arrayvision.registry import MODELS  # noqa: E402
from arrayvision.torch_bridge.ops import SyncBatchNorm  # noqa: E402
from arrayvision.torch_bridge.ops.sync_bn import SyncBatchNormFunction  # noqa: E402
from tests.torch_bridge import sync_bn_worker as worker  # noqa: E402


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """What the two saved."""
    if not torch.distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    folder = tmp_path_factory.mktemp("workers")
    command = [sys.executable, "-m", "tests.torch_bridge.sync_bn_worker"]
    running = [
        subprocess.Popen([*command, str(rank), str(folder)], stderr=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said[-3000:]
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def expected(case):
    """By the formulas, with gradients by torch: parts' means and variances, weighted."""
    mode, counts, _ = case
    (x, grad), layer = batch(case), worker.norm(case)
    x.requires_grad_()
    axes = [axis for axis in range(x.dim()) if axis != 1]
    parts = [part for part in x.split(counts) if part.numel()]
    weights = [len(part) if mode == "N" else 1 for part in parts]
    mean = sum(w * part.mean(axes, keepdim=True) for w, part in zip(weights, parts, strict=True)) / sum(weights)
    spread = [((part - mean) ** 2).mean(axes, keepdim=True) for part in parts]
    variance = sum(w * v for w, v in zip(weights, spread, strict=True)) / sum(weights)
    shape = [1, -1, *[1] * (x.dim() - 2)]
    out = (x - mean) / (variance + layer.eps) ** 0.5 * layer.weight.view(shape) + layer.bias.view(shape)
    out.backward(grad)
    n = x.numel() / x.shape[1]
    unbiased = variance * n / (n - 1) if n > 1 else variance
    running = 0.1 * mean.flatten().detach(), 0.9 + 0.1 * unbiased.flatten().detach()
    return out.detach(), x.grad, *running, layer.weight.grad / 2, layer.bias.grad / 2


def batch(case):
    return worker.batch(case).clone()


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", [case for case in worker.CASES if sum(case[1])], ids=str)
def test_two_workers_give_what_one_does(case, workers):
    wanted = expected(case)
    first, second = (found[worker.CASES.index(case)] for found, *_ in workers)
    for k in (0, 1):  # the results, the samples' gradients
        close(torch.cat([first[k], second[k]]), wanted[k])
    for k in range(2, 6):
        close(first[k], wanted[k])
        close(second[k], wanted[k])
    if case[0] == "N" or case[1][0] == case[1][1] or 0 in case[1]:  # torch's own norm of all samples
        x, grad = batch(case)
        n = x.numel() / x.shape[1]
        if n > 1:
            one = (
                torch.nn.BatchNorm2d(x.shape[1]).double() if x.dim() == 4 else torch.nn.BatchNorm1d(x.shape[1]).double()
            )
            one.load_state_dict(worker.norm(case).state_dict())
            out = one(x.requires_grad_())
            out.backward(grad)
            for a, b in zip(
                wanted, (out, x.grad, one.running_mean, one.running_var, one.weight.grad / 2), strict=False
            ):
                close(a, b.detach())


def test_nothing_at_all_changes_nothing(workers):
    for found, *_ in workers:
        out, grad, mean, variance, *parameters = found[worker.CASES.index(("default", (0, 0), (2, 4, 5)))]
        assert out.shape == grad.shape == (0, 2, 4, 5)
        assert torch.equal(mean, torch.zeros(2).double()) and torch.equal(variance, torch.ones(2).double())
        assert not any(p.any() for p in parameters)


def test_further_arguments(workers):
    case, (x, grad) = worker.CASES[0], batch(worker.CASES[0])
    one = torch.nn.BatchNorm2d(2, affine=False).double()
    one(x.requires_grad_()).backward(grad)
    both = [plain for _, plain, *_ in workers]
    close(both[0][2], one.running_mean)
    close(both[0][1], x.grad[:3])
    (_, _, half, shown, _), (*_, groups) = workers[0], workers[1]
    assert half.dtype is torch.bfloat16
    torch.testing.assert_close(half.double(), expected(case)[0][:3], rtol=0, atol=0.1)
    assert shown == (
        "SyncBatchNorm(2, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, group_size=2, stats_mode=N)"
    )
    case = worker.CASES[2]
    for a, b in zip(groups, worker.step(case, slice(4, None)), strict=True):  # a group of its own
        close(a, b)


@pytest.mark.parametrize("shape", [(3, 2, 4), (1, 2), (1, 2, 1), (4, 2, 3, 2)])
@pytest.mark.parametrize("mode", ["default", "N"])
def test_alone(shape, mode):
    """The gradient, by differences; one value a channel too, which torch's own norm refuses."""
    layer = SyncBatchNorm(2, eps=0.5, stats_mode=mode).double()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight, bias = (torch.randn(2, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def call(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    def function(x, weight, bias):
        return SyncBatchNormFunction.apply(x, None, None, weight, bias, 0.1, 0.5, None, 1, mode)

    assert torch.autograd.gradcheck(call, (x, weight, bias))
    assert torch.autograd.gradcheck(function, (x, weight, bias))
    close(function(x, weight, bias), call(x, weight, bias))


def test_statistics():
    x = torch.randn(5, 3, 4)
    ours, torchs = SyncBatchNorm(3, momentum=None), torch.nn.BatchNorm1d(3, momentum=None)
    torchs.load_state_dict(ours.state_dict())
    for k in range(3):
        torch.testing.assert_close(ours(x * k), torchs(x * k))
    torch.testing.assert_close(ours.state_dict(), torchs.state_dict())
    torch.testing.assert_close(ours.eval()(x), torchs.eval()(x))
    none = SyncBatchNorm(3, affine=False, track_running_stats=False)
    assert not none.state_dict()
    torch.testing.assert_close(none.eval()(x).mean((0, 2)), torch.zeros(3), rtol=0, atol=1e-6)


def test_weights_begin_as_checkpoints_code_expects():
    torch.manual_seed(0)
    layer = SyncBatchNorm(5)
    torch.manual_seed(0)
    assert torch.equal(layer.weight, torch.empty(5).uniform_()) and not layer.bias.any()
    built = MODELS.build(dict(type="MMSyncBN", num_features=4, stats_mode="N"))
    assert type(built) is SyncBatchNorm and built.stats_mode == "N"


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: SyncBatchNorm(3, stats_mode="X"), AssertionError, "stats_mode must be 'default' or 'N', got 'X'"),
        (lambda: SyncBatchNorm(3, eps=-1), ValueError, "eps must be at least 0, got -1"),
        (lambda: SyncBatchNorm(3)(torch.ones(3)), ValueError, r"input must have shape \(N, 3, ...\), got \(3,\)"),
        (lambda: SyncBatchNorm(3)(torch.ones(2, 4)), ValueError, r"input must have shape \(N, 3, ...\), got \(2, 4\)"),
        (
            lambda: SyncBatchNorm(3)(torch.ones(2, 3).double()),
            TypeError,
            "input must have the module's dtype torch.float32",
        ),
        (lambda: SyncBatchNorm(3)(torch.ones(2, 3).long()), TypeError, "input must hold floats, got dtype torch.int64"),
        (lambda: SyncBatchNorm(3)([1]), TypeError, "input must be a tensor, got list"),
    ],
)
def test_wrong_arguments(call, error, text):
    with pytest.raises(error, match=f"^SyncBatchNorm: {text}"):
        call()
