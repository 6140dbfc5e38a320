"""Wrong arguments of every kind end in our own errors, whose text begins with the function's name."""

import pytest

torch = pytest.importorskip("torch")

from arrayvision.operators import OPERATORS  # noqa: E402
from arrayvision.torch_bridge import ops  # noqa: E402
from tests.torch_bridge import fuzz  # noqa: E402


def test_every_function_and_module_is_called():
    older = {name for row in OPERATORS for name in row.older}
    contexts = {"no_weight_gradients"}  # no function to call
    assert {n for _, n in fuzz.subjects()} == set(ops.__all__) - older - contexts


@pytest.mark.parametrize("seed", range(4))
def test_errors_are_ours(seed):
    assert fuzz.run(1500, seed) == []
