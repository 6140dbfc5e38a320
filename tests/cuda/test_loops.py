"""Divisions by multiplication, and kernels with indices of either width."""

import numpy as np
import pytest

from arrayvision import cases, ops
from arrayvision.cuda import emulator, loops, roi_bins, runtime
from tests.conftest import use

EDGES = sorted({max(1, min(2**31 - 1, 2**k + d)) for k in range(32) for d in (-1, 0, 1)})


@pytest.fixture(scope="module")
def divide(tmp_path_factory):
    source = tmp_path_factory.mktemp("loops") / "own.cu"
    source.write_text(
        '#include "loops.cuh"\n'
        "template <class Index> __global__ void own(int n, const Index* x, uint64_t by, Index* quotients, Index* rests) {\n"
        "  const int t = loops::thread<uint32_t>();\n"
        "  if (t >= n) return;\n"
        "  Index number = x[t];\n"
        "  rests[t] = loops::split(number, loops::FastDivider<Index>(by));\n"
        "  quotients[t] = number;\n"
        "}\n"
    )
    kernels = runtime.Kernels(source, [f"own<{index}>" for index in loops.INDICES])

    def divide(index, numbers, divisor):
        x = np.array(numbers, np.uint32 if index == "uint32_t" else np.int64)
        quotients, rests = np.empty_like(x), np.empty_like(x)
        kernels.launch(f"own<{index}>", len(x), len(x), x, loops.divider(index, divisor), quotients, rests)
        return quotients, rests

    return divide


@pytest.mark.parametrize("index", loops.INDICES)
def test_quotients_are_those_of_a_division(divide, index):
    rng = np.random.default_rng(0)
    divisors = [*EDGES, *(int(2 ** rng.uniform(0, 31)) for _ in range(100))]
    for divisor in divisors:
        multiples = [divisor * k for k in (1, 2, (2**31 - 1) // divisor)]
        near = [m + d for m in multiples for d in (-1, 0, 1)]
        x = np.array([0, *EDGES, *near, *rng.integers(0, 2**31, 50)])
        x = x[(x >= 0) & (x < 2**31)]
        quotients, rests = divide(index, x, divisor)
        np.testing.assert_array_equal(quotients, x // divisor, str(divisor))
        np.testing.assert_array_equal(rests, x % divisor, str(divisor))


def test_wide_indices_divide_beyond_32_bits(divide):
    x = np.array([2**31, 2**32 + 5, 2**40 + 7, 2**62])
    for divisor in (1, 80, 2**31, 2**33 + 1):
        quotients, rests = divide("int64_t", x, divisor)
        np.testing.assert_array_equal(quotients, x // divisor)
        np.testing.assert_array_equal(rests, x % divisor)
    with pytest.raises(ValueError, match="2147483648 does not divide 32-bit indices"):
        loops.divider("uint32_t", 2**31)


def test_indices_are_wide_only_where_they_must_be():
    assert loops.index(2**31 - 1, 5) == "uint32_t" and loops.index(5, 2**31) == "int64_t"


def flat(x):
    return [z for y in x for z in flat(y)] if isinstance(x, (tuple, list)) else [] if x is None else [x]


def results(name):
    """Those of a file's cases, in bits."""
    return [np.asarray(x).tobytes() for case in cases.cases(name) for x in flat(cases.run(case, "float32"))]


@pytest.mark.parametrize("name", ["focal_loss", "tin_shift"])
def test_both_widths_give_the_same_bits(name, monkeypatch):
    """The switch is tested on both sides: at a lowered limit all indices are wide."""
    use("emulated", monkeypatch)
    launched = set()
    launch = runtime.Kernels.launch

    def note(self, kernel, *args, **options):
        launched.update(kernel.rstrip(">").split(", ")[1:])
        return launch(self, kernel, *args, **options)

    monkeypatch.setattr(runtime.Kernels, "launch", note)

    narrow = results(name)
    assert "uint32_t" in launched and "int64_t" not in launched
    launched.clear()
    monkeypatch.setattr(loops, "LIMIT", 1)
    assert results(name) == narrow
    assert "int64_t" in launched and "uint32_t" not in launched


@pytest.mark.parametrize("name", ["roi_align", "roi_pool", "prroi_pool", "deform_roi_pool"])
def test_regions_in_parts_give_the_same_bits(name, monkeypatch):
    """Of more threads than 32 bits count, here at a lowered limit, a launch takes some of the regions."""
    use("emulated", monkeypatch)
    monkeypatch.setattr(emulator, "orders", ("ascending",))  # sums have one order of terms
    asked, taken, parts = [], [], loops.parts

    def note(items, threads):
        asked.append((items, threads))
        for part in parts(items, threads):
            taken.append(part)
            yield part

    monkeypatch.setattr(loops, "parts", note)
    monkeypatch.setattr(roi_bins, "_lists", lambda *sizes: (None, None))  # pooled sample by sample
    monkeypatch.setattr(roi_bins, "worth_turning", lambda *shapes: False)
    roi_bins._upright.cache_clear()
    roi_bins._tasks.cache_clear()
    whole = results(name)
    assert taken and all(part is None for _, part in taken)
    monkeypatch.setattr(loops, "LIMIT", max(threads for _, threads in asked) + 1)
    taken.clear()
    roi_bins._tasks.cache_clear()
    assert results(name) == whole
    roi_bins._upright.cache_clear()
    assert any(part is not None for _, part in taken)


def test_parts_are_all_items_in_turn(monkeypatch):
    monkeypatch.setattr(loops, "LIMIT", 21)
    x = np.arange(7)
    for threads, sizes in ((1, [7]), (3, [6, 1]), (20, [1] * 7), (0, [])):
        found = [(some, loops.rows(x, part)) for some, part in loops.parts(7, threads)]
        assert [some for some, _ in found] == [len(y) for _, y in found] == sizes
        assert not sizes or np.array_equal(np.concatenate([y for _, y in found]), x)
    assert list(loops.parts(0, 5)) == []
    with pytest.raises(ValueError, match="21 threads for one item are more than 32-bit indices count"):
        list(loops.parts(7, 21))


@pytest.mark.parametrize("classes", (1, 3, 4, 7, 8))
@pytest.mark.parametrize("dtype", (np.float16, np.float32, np.float64))
def test_runs_of_elements_are_the_same_wherever_arrays_begin(classes, dtype, monkeypatch):
    """Loads of 16 bytes where arrays begin at multiples of that, and of single elements where they don't."""
    use("emulated", monkeypatch)
    rng = np.random.default_rng(0)
    labels, bias = np.arange(13) % classes, rng.standard_normal(classes).astype(dtype)
    room = np.empty(13 * classes * 2 + 16, dtype)
    found = []
    for shift in range(16 // room.itemsize):
        start = (-room.ctypes.data // room.itemsize + shift) % (16 // room.itemsize)
        x = room[start : start + 13 * classes].reshape(13, classes)
        x[...] = np.random.default_rng(1).standard_normal(x.shape)
        assert x.ctypes.data % 16 == shift * room.itemsize
        found.append(
            (
                ops.sigmoid_focal_loss(x, labels, reduction="none"),
                ops.sigmoid_focal_loss_backward(x, x, labels, reduction="none"),
                ops.bias_act(x, bias, act="swish"),
                ops.tin_shift(x.reshape(1, 13, classes), np.arange(classes)[None] - 1),
            )
        )
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(a, b)
