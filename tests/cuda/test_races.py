"""The emulator sees data races: in one block, across blocks, in shared memory, whatever the values and the order."""

import os
import re

import numpy as np
import pytest

from arrayvision.cuda import emulator
from arrayvision.cuda.runtime import INCLUDE

SOURCE = os.path.join(os.path.dirname(__file__), "bad.cu")
EXPRESSIONS = [
    "scatter", "scatter_atomic", "half_atomic", "last_writer", "any_found", "neighbours", "exchange", "structs", "race<float>",
    "dynamic_exchange<false>", "dynamic_exchange<true>", "in_warps<false>", "in_warps<true>", "narrow<false>", "narrow<true>",
]  # fmt: skip
N = 64
X = np.arange(N, dtype=np.float32) + 1
I32 = np.int32(N)

pytestmark = pytest.mark.skipif(emulator.sanitize, reason="a sanitized build doesn't look for races")


@pytest.fixture(scope="module")
def module():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emulator, "races", True)
        return emulator.Module(SOURCE, EXPRESSIONS, (INCLUDE,))


@pytest.fixture(autouse=True)
def races(monkeypatch):
    monkeypatch.setattr(emulator, "races", True)
    monkeypatch.setattr(emulator, "orders", ("ascending",))


def line(text):
    """The number of the only line of the source that holds this text."""
    with open(SOURCE) as file:
        found = [i for i, content in enumerate(file, 1) if text in content]
    assert len(found) == 1
    return found[0]


def reported(module, kernel, text, args, what, blocks=1, **kwargs):
    """Run, and check that the race is reported at the line that holds `text`."""
    with pytest.raises(emulator.KernelError, match=re.escape(kernel) + f": a race on {what}") as error:
        module.launch(kernel, (blocks,), (N // blocks,), args, **kwargs)
    assert f"bad.cu:{line(text)}" in str(error.value), str(error.value)
    return str(error.value)


@pytest.mark.parametrize("blocks", [1, 2, 64])
@pytest.mark.parametrize("order", emulator.ORDERS)
def test_a_scatter_without_atomics(module, blocks, order, monkeypatch):
    monkeypatch.setattr(emulator, "orders", (order,))
    index = np.arange(N, dtype=np.int32)
    out = np.zeros(N, np.float32)
    module.launch("scatter", (blocks,), (N // blocks,), [I32, index, X, out])  # to its own place each
    np.testing.assert_array_equal(out, X)
    index[-1] = 5
    message = reported(module, "scatter", "out[idx[t]] +=", [I32, index, X, out], "byte 20 of argument 3", blocks)
    assert "thread 5 of" in message or blocks > 1
    out[:] = 0
    module.launch("scatter_atomic", (blocks,), (N // blocks,), [I32, index, X, out])
    assert out[5] == X[5] + X[-1]


@pytest.mark.parametrize("blocks", [1, 2, 64])
def test_atomics_order_nothing(module, blocks):
    message = reported(
        module, "half_atomic", "out[1] = out[0]", [I32, np.zeros(2, np.float32)], "byte 0 of argument 1", blocks
    )
    assert "atomically changed it" in message


@pytest.mark.parametrize("blocks", [1, 2, 64])
def test_writes_of_the_same_value(module, blocks):
    reported(module, "last_writer", "*out = n", [I32, np.zeros(1, np.int64)], "byte 0 of argument 1", blocks)
    reported(module, "any_found", "found[t / 8] =", [I32, X, np.zeros(8, bool)], "byte 0 of argument 2", blocks)


@pytest.mark.parametrize("blocks", [1, 2])
def test_bytes_of_a_word_are_apart(module, blocks):
    out = np.zeros(N, np.uint8)
    module.launch("neighbours", (blocks,), (N // blocks,), [I32, X, out])
    assert out.all()


def test_whole_structs(module):
    x, y = np.arange(5.0 * N), np.zeros(5 * N)
    reported(module, "structs", "void structs", [x, y], "byte 0 of argument 1")


def test_a_missing_barrier(module):
    reported(module, "race<float>", "threadIdx.x == 0 ? 0", [X, np.zeros(N, np.float32)], "byte .* of shared memory")
    y = np.zeros(N, np.float32)
    module.launch("exchange", (1,), (N,), [np.int32(1), X, y])
    np.testing.assert_array_equal(y, X[::-1])
    reported(module, "exchange", "tile[threadIdx.x] = v", [np.int32(2), X, y], "byte .* of shared memory")


def test_a_missing_barrier_in_dynamic_shared_memory(module):
    y = np.zeros(N, np.float32)
    module.launch("dynamic_exchange<true>", (1,), (N,), [X, y], 4 * N)
    np.testing.assert_array_equal(y, X[np.arange(N) ^ 31])
    args = [X, y]
    reported(
        module, "dynamic_exchange<false>", "tile[31 ^ threadIdx.x]", args, "byte .* of shared memory", shared=4 * N
    )


def test_bytes_of_shared_memory(module):
    y = np.zeros(N, np.float32)
    module.launch("narrow<true>", (1,), (N,), [X, y])
    np.testing.assert_array_equal(y, np.where(X[np.arange(N) ^ 1] > 9, 1, 2) + X)
    reported(module, "narrow<false>", "flags[threadIdx.x ^ 1]", [X, y], "byte .* of shared memory")


def test_a_warp_barrier_orders_its_warp(module):
    y = np.zeros(N, np.float32)
    module.launch("in_warps<false>", (1,), (N,), [X, y])
    np.testing.assert_array_equal(y, X[np.arange(N) ^ 31])
    reported(module, "in_warps<true>", "tile[ACROSS ?", [X, y], "byte .* of shared memory")


def test_other_blocks_have_other_shared_memory(module):
    y = np.zeros(N, np.float32)
    with pytest.raises(emulator.KernelError, match=r"argument 2: thread .* of block .1, 0, 0. writes it"):
        module.launch("exchange", (2,), (N,), [np.int32(1), X, y])  # not a word of shared memory
