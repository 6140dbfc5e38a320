"""Kernels are compiled no more often than they must be, and no more of Numba's functions with them."""

import importlib
import math
import pathlib
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
from numba import typeof
from numba.core import event, types
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher

from arrayvision import cpu, warmup
from arrayvision.cpu import kernel, writes
from arrayvision.cpu.threads import claim
from arrayvision.cpu.transposes import transpose

ROOT = pathlib.Path(__file__).parents[1]


@kernel
def fill(values, out):
    for k in range(out.shape[0]):
        out[k] = values[k]


@kernel
def rows_of(x, y, index, pair, out, other):
    first, (second, third) = x[0], pair
    flat = out.reshape(-1)[1:]
    fill(first, flat)
    fill(second[:1], out=other)
    start = claim(index, 1)
    for row in y:
        row[0] += start
    return third.shape, first[0] + 1


@kernel
def part(x, y, at):
    return x[at:] if at > 0 else y.copy()


@kernel
def total(x, pair, out):
    out[0] = x[0] + pair[0][0] + pair[1][0]


@kernel
def moved(x, by, wanted):
    return x[0] + by if wanted else x[0]


@kernel
def by_constants_and_variables(x, n, out):
    out[0], out[1], out[2] = moved(x, 0, True), moved(x, 6, False), moved(x, n, n > 3)


def compilations(act):
    """The functions that were compiled on the way."""
    recorder = event.RecordingListener()
    with event.install_listener("numba:compile", recorder):
        act()
    return [happening.data["dispatcher"].py_func.__name__ for _, happening in recorder.buffer if happening.is_start]


def test_what_a_kernel_writes_to():
    """Through views, calls of kernels and of intrinsics, and loops; and what it returns a view of."""
    assert writes.arguments(fill.py_func) == ({1}, set())
    assert writes.arguments(rows_of.py_func) == ({1, 2, 4, 5}, set())
    assert writes.arguments(part.py_func) == (set(), {0})
    assert writes.arguments(exec_made()) == ({0, 1}, {0, 1})


def exec_made():
    """A function without a source."""
    space = {}
    exec("def function(a, b):\n    return a", space)
    return space["function"]


def test_one_kernel_serves_what_may_be_written_to_and_what_may_not():
    """In whatever order they come, and in tuples; results are as ever."""
    locked, free = np.full(3, 2.0), np.full(3, 2.0)
    locked.flags.writeable = False
    for x, pair in ((free, (locked, free)), (locked, (free, free)), (free, (locked, locked)), (locked, (locked, free))):
        out = np.zeros(1)
        total(x, pair, out)
        assert out[0] == 6
    assert len(total.overloads) == 1
    out = np.zeros(3)
    assert not compilations(lambda: total(free, (free, free), out)) and out[0] == 6
    with pytest.raises(Exception, match="readonly"):
        total(free, (free, free), locked)
    assert part(free, locked, 1).flags.writeable and not part(locked, free, 1).flags.writeable


def test_a_constant_is_no_type_of_its_own():
    """A kernel that another calls with numbers that stand in its source, and with variables, is compiled once."""
    out = np.zeros(3)
    by_constants_and_variables(np.full(3, 2.0), 4, out)
    assert out.tolist() == [2, 2, 6]
    assert len(moved.overloads) == 1


def test_what_threads_compile_at_once_is_found_at_once(monkeypatch):
    """Numba finds none of two entries that are alike, and would look for them in the cache at each call."""
    locked, out = np.ones(2), np.zeros(1)
    locked.flags.writeable = False
    total(locked, (locked, locked), out)
    kinds = tuple(typeof(x) for x in (out, (locked, out), out))
    for _ in range(2):  # as two threads that both found nothing
        total.compile(kinds)
    monkeypatch.setattr(total, "_compile_for_args", None)
    total(out, (locked, np.ones(1)), out)
    assert out[0] == 3 + 1 + 1


KEPT = """
import sys
import numpy as np
from arrayvision import cpu
from arrayvision.cpu.threads import claim
from arrayvision.cpu.transposes import transpose
from tests.test_compiling import total
x, pair, out = np.ones(2), (np.ones(2), np.ones(2)), np.zeros(1)
x.flags.writeable = pair[0].flags.writeable = sys.argv[1] == "free"
total(x, pair, out)
print(out[0], sum(total.stats.cache_hits.values()), len(total.overloads), len(cpu.signatures(total, cpu.folder())))
"""


def test_one_kept_kernel_serves_both(tmp_path):
    """A process that may write to its arrays finds what one that may not has compiled."""
    said = []
    for how in ("free", "locked", "free"):
        command = [sys.executable, "-c", KEPT, how]
        environment = {"ARRAYVISION_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split())
    assert said == [["3.0", "0", "1", "1"], ["3.0", "1", "1", "1"], ["3.0", "1", "1", "1"]]


def test_no_kernel_is_compiled_twice_for_arrays_that_it_only_reads():
    """Of all that these operators compiled, and that lies in the cache: after the other tests, of all operators."""
    for name in ("corner_pool", "nms", "soft_nms", "three_interpolate"):
        warmup.EXAMPLES[name]("float32")
    twice, count = [], 0
    for module in pkgutil.iter_modules(cpu.__path__, "arrayvision.cpu."):
        module = importlib.import_module(module.name)
        for name, function in vars(module).items():
            if not isinstance(function, Dispatcher) or function.py_func.__module__ != module.__name__:
                continue
            signatures = set(function.overloads)
            if cpu.folder() is not None:
                signatures |= set(cpu.signatures(function, cpu.folder()))
            count += len(signatures)
            alike = {tuple(map(writes.reading, kinds)) for kinds in signatures}
            if len(alike) < len(signatures):
                twice.append(f"{module.__name__}.{name}: {len(signatures)} signatures, {len(alike)} that differ")
    assert count > 20 and not twice, twice


@kernel
def lesser(a, b, c):
    low = min(a, b)
    high = max(a, b if c else a)
    room = np.empty((2, 3), np.float32)
    line = np.empty(4, room.dtype)
    return low, high, room.shape, line.shape, line.itemsize


@pytest.mark.parametrize("a", [1, 2.5, math.nan, np.float32(2), np.uint8(7), -0.0])
@pytest.mark.parametrize("b", [3, 0.5, math.nan, np.float32(1.5), 0.0])
def test_min_and_max_are_as_pythons(a, b):
    low, high, shape, line, size = lesser(a, b, True)
    assert (shape, line, size) == ((2, 3), (4,), 4)
    for have, want in ((low, min(a, b)), (high, max(a, b))):
        np.testing.assert_array_equal(have, want)
        assert math.copysign(1, have) == math.copysign(1, want)


@kernel
def least(a, b):
    room, zeros = np.empty(3, np.int16), np.zeros((2, 3), np.float32)
    return min(a, max(b, 3)) + room.shape[0] + zeros.shape[0]


def test_min_max_empty_and_zeros_compile_nothing_of_their_own():
    """Beside what makes room for any array."""
    least._cache = NullCache()  # else another run's is found
    compiled = compilations(lambda: least.compile((types.int16, types.float32)))
    assert "least" in compiled and len(compiled) <= 2, compiled


@kernel
def beginnings(sizes, out, sums):
    for k in range(sizes.shape[0]):
        room, zeros = np.empty(sizes[k], np.float32), np.zeros((2, sizes[k]), np.float64)
        out[k, 0], out[k, 1] = room.ctypes.data % 64, zeros.ctypes.data % 64
        sums[k] = np.abs(zeros).sum()
        room[:], zeros[:] = 1, 1  # which is what the next ones find in the memory


def test_arrays_begin_at_lines_of_the_cache():
    sizes = np.array([1, 3, 5, 17, 100, 33, 1000, 7, 20000, 9] * 3)
    out, sums = np.ones((len(sizes), 2), np.int64), np.ones(len(sizes))
    beginnings(sizes, out, sums)
    assert not out.any() and not sums.any()


@kernel
def turned(x, out):
    transpose(x, out)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_transposes(dtype):
    """Of every size round that of a block, within larger arrays; nothing beside the result is written to."""
    x = np.arange(40 * 40).reshape(40, 40).astype(dtype)
    for rows in (0, 1, 7, 8, 9, 16, 23):
        for columns in (0, 1, 7, 8, 17):
            out = np.full((columns, rows + 2), -1, dtype)
            turned(x[3 : 3 + rows, 2 : 2 + columns], out[:, :rows])
            np.testing.assert_array_equal(out[:, :rows], x[3 : 3 + rows, 2 : 2 + columns].T)
            assert (out[:, rows:] == -1).all()


def test_transposes_of_one_dtype():
    with pytest.raises(Exception, match="one dtype"):
        turned(np.ones((2, 3)), np.ones((3, 2), np.float32))
