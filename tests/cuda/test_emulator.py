"""The emulator reports what a GPU leaves undefined or hangs on, and computes what a GPU computes."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from arrayvision.cuda import emulator
from arrayvision.cuda.runtime import INCLUDE
from tests.sanitized import environment

SOURCE = os.path.join(os.path.dirname(__file__), "bad.cu")
EXPRESSIONS = [
    *(f"{k}<float>" for k in ("race", "divergent", "uninitialised", "shared_overrun", "dynamic_overrun", "overrun")),
    *(f"{k}<float>" for k in ("exited", "sums")), "sums<double>", "convert<half_t>", "convert<bfloat16_t>",
    "where", "collectives", "extremes", "with_nan", "hang", "cast",
]  # fmt: skip
X = np.arange(64, dtype=np.float32) + 1


@pytest.fixture(scope="module")
def module():
    return emulator.Module(SOURCE, EXPRESSIONS, (INCLUDE,))


@pytest.fixture(autouse=True)
def one_order(monkeypatch):
    monkeypatch.setattr(emulator, "orders", ("ascending",))


def run(module, kernel, *args, grid=(1,), shared=0):
    y = np.zeros(64, np.float32)
    module.launch(kernel, grid, (64,), [y if a is ... else a for a in args], shared)
    return y


def test_a_race_shows_in_another_order(module, monkeypatch):
    np.testing.assert_array_equal(run(module, "race<float>", X, ...)[1:], X[:-1])  # it seems right
    for other in ("descending", "shuffled"):
        monkeypatch.setattr(emulator, "orders", ("ascending", other))
        with pytest.raises(emulator.KernelError, match=f"race<float>: {other} threads give another result"):
            run(module, "race<float>", X, ...)


def test_divergent_barriers(module):
    with pytest.raises(emulator.KernelError, match=r"threads of block \(0, 0, 0\) wait for each other: thread 16"):
        run(module, "divergent<float>", X, ...)
    with pytest.raises(emulator.KernelError, match="wait for each other"):
        module.launch("hang", (1,), (64,), [np.zeros(64, np.int32)])
    np.testing.assert_array_equal(run(module, "race<float>", X, ...)[1:], X[:-1])  # and goes on


def test_uninitialised_shared_memory_is_nan(module):
    assert np.isnan(run(module, "uninitialised<float>", ...)).all()


def test_a_shuffle_from_a_lane_that_returned_is_nan(module):
    assert np.isnan(run(module, "exited<float>", np.int32(20), X, ...)[0])
    assert run(module, "exited<float>", np.int32(32), X, ...)[0] == X[:32].sum()


@pytest.mark.parametrize(
    ("grid", "block", "shared", "message"),
    [((1,), (1025,), 0, "at most 1024 threads"), ((1, 65536), (1,), 0, "65535"), ((0,), (1,), 0, "at least 1"),
     ((1,), (1, 1, 65), 0, "64 in z"), ((1,), (1,), 49153, "48 KiB")],
)  # fmt: skip
def test_launches_beyond_the_hardware(module, grid, block, shared, message):
    with pytest.raises(emulator.KernelError, match=message):
        module.launch("hang", grid, block, [np.zeros(64, np.int32)], shared)


def test_argument_types(module):
    with pytest.raises(TypeError, match="argument 0 is i4, got int"):
        run(module, "exited<float>", 20, X, ...)
    with pytest.raises(TypeError, match="argument 0 is i4, got int64"):
        run(module, "exited<float>", np.int64(20), X, ...)
    with pytest.raises(TypeError, match=r"argument 1 is f4\*, got an array of float64"):
        run(module, "exited<float>", np.int32(20), X.astype(np.float64), ...)
    with pytest.raises(TypeError, match="takes 3 arguments, got 2"):
        run(module, "exited<float>", np.int32(20), X)


@pytest.mark.parametrize("order", emulator.ORDERS)
def test_grids_blocks_and_collectives(module, order, monkeypatch):
    monkeypatch.setattr(emulator, "orders", (order,))
    for grid, block in (((3, 2, 2), (5, 3, 2)), ((30, 20, 20), (5, 3, 2)), ((1,), (1,))):
        out = np.zeros(10007, np.int32)
        module.launch("where", grid, block, [np.int64(out.size), out])
        np.testing.assert_array_equal(out, 1)
    x = np.random.default_rng(0).integers(-9, 10, 64).astype(np.int32)
    ballot, others = np.zeros(64, np.uint32), [np.zeros(64, np.int32) for _ in range(6)]
    module.launch("collectives", (1,), (64,), [x, ballot, *others])
    any_, all_, up, butterfly, broadcast, half_warp = (o.reshape(2, 32) for o in others)
    w, lane = x.reshape(2, 32), np.arange(32)
    np.testing.assert_array_equal(ballot.reshape(2, 32), ((w > 0) << lane).sum(1, keepdims=True).repeat(32, 1))
    np.testing.assert_array_equal(any_, (w == 7).any(1, keepdims=True).repeat(32, 1))
    assert all_.all()
    np.testing.assert_array_equal(up, w[:, np.where(lane < 3, lane, lane - 3)])
    np.testing.assert_array_equal(butterfly, w[:, lane ^ 5])
    np.testing.assert_array_equal(broadcast, w[:, lane // 16 * 16 + 9])
    expected = np.where(lane < 16, np.minimum(lane + 1, 15), np.maximum(lane - 1, 16))
    np.testing.assert_array_equal(half_warp, w[:, expected])


@pytest.mark.parametrize(("kind", "dtype"), [("float", np.float32), ("double", np.float64)])
@pytest.mark.parametrize("threads", [1, 2])
def test_atomics(module, kind, dtype, threads):
    x = np.random.default_rng(1).standard_normal(5000).astype(dtype)
    out = np.zeros(1, dtype)
    module.launch(f"sums<{kind}>", (20,), (256,), [np.int32(5000), x, out], threads=threads)
    np.testing.assert_allclose(out[0], x.sum(dtype=np.float64), rtol=1e-4)
    i = (x * 1000).astype(np.int32)
    low, high = np.zeros(1, np.int32), np.zeros(1, np.int32)
    module.launch("extremes", (20,), (256,), [np.int32(5000), i, low, high], threads=threads)
    assert (low[0], high[0]) == (i.min(), i.max())


def test_sixteen_bit_types_round_as_numpy_and_ml_dtypes(module):
    import ml_dtypes

    rng = np.random.default_rng(2)
    x = rng.integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    with np.errstate(invalid="ignore"):
        halves = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
        x = np.concatenate([x, halves, [65519.99, 65520, 5.96e-8, 2.9e-8]]).astype(np.float32)
    for kind, dtype in (("half_t", np.float16), ("bfloat16_t", ml_dtypes.bfloat16)):
        y, back = np.empty(len(x), dtype), np.empty(len(x), np.float32)
        module.launch(f"convert<{kind}>", (-(-len(x) // 256),), (256,), [np.int32(len(x)), x, y, back])
        with np.errstate(over="ignore", invalid="ignore"):
            expected = x.astype(dtype).astype(np.float32)
        np.testing.assert_array_equal(back, expected)


def test_min_and_max_ignore_a_nan_as_a_gpu_does(module):
    y = np.zeros(3, np.float32)
    module.launch("with_nan", (1,), (1,), [np.array([np.nan], np.float32), y])
    np.testing.assert_array_equal(y, 1)


SANITIZED = """
import sys, numpy as np
from arrayvision.cuda import emulator
from arrayvision.cuda.runtime import INCLUDE
assert emulator.sanitize
module = emulator.Module(sys.argv[1], sys.argv[2].split(";"), (INCLUDE,))
y, k = np.zeros(64, np.float32), np.int32(sys.argv[4])
args = [np.full(64, 1e20, np.float32), np.zeros(64, np.int32)] if sys.argv[3] == "cast" else [y, k]
module.launch(sys.argv[3], (1,), (64,), args, 256 if "dynamic" in sys.argv[3] else 0)
print("no report")
"""


@pytest.mark.alone
@pytest.mark.parametrize(
    ("kernel", "report"),
    [("shared_overrun<float>", "global-buffer-overflow|insufficient space"), ("dynamic_overrun<float>", "heap-buffer-overflow|insufficient space"),
     ("overrun<float>", "heap-buffer-overflow|insufficient space"), ("cast", "outside the range of representable values")],
)  # fmt: skip
def test_sanitizers_report(kernel, report):
    def start(k):
        command = [sys.executable, "-c", SANITIZED, SOURCE, ";".join(EXPRESSIONS), kernel, str(k)]
        return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300)

    done = start(1)
    assert done.returncode and re.search(report, done.stderr), done.stderr[-2000:]
    if kernel != "cast":
        done = start(0)
        assert "no report" in done.stdout, done.stderr[-2000:]
