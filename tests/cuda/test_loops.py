"""Divisions by multiplication, and kernels with indices of either width."""

import numpy as np
import pytest

from arrayvision import cases
from arrayvision.cuda import focal_loss, loops, runtime, tin_shift

KERNELS = {"focal_loss": focal_loss, "tin_shift": tin_shift}
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


@pytest.mark.parametrize("name", KERNELS)
def test_both_widths_give_the_same_bits(name, monkeypatch, request):
    """The switch is tested on both sides: at a lowered limit all indices are wide."""
    from tests.conftest import use

    use("emulated", monkeypatch)
    launched = set()
    launch = runtime.Kernels.launch

    def note(self, kernel, *args, **options):
        launched.update(kernel.rstrip(">").split(", ")[1:])
        return launch(self, kernel, *args, **options)

    monkeypatch.setattr(runtime.Kernels, "launch", note)

    def bits():
        launched.clear()
        return [
            np.asarray(x).tobytes() for case in cases.cases(name) for y in cases.run(case, "float32") for x in flat(y)
        ]

    def flat(x):
        return [z for y in x for z in flat(y)] if isinstance(x, (tuple, list)) else [] if x is None else [x]

    narrow = bits()
    assert "uint32_t" in launched and "int64_t" not in launched
    monkeypatch.setattr(loops, "LIMIT", 1)
    assert bits() == narrow
    assert "int64_t" in launched and "uint32_t" not in launched
