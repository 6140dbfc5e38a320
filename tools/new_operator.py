"""`python -m tools.new_operator NAME`: the files of a new operator, its row in the table, and what follows from that.

What it writes runs, but computes zeros, and its oracle says that it is to be written: the generic tests of the operator
(``pytest -k NAME``) fail until both are filled in. CONTRIBUTING.md walks through them.
"""

from __future__ import annotations

import pathlib
import re
import string
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]

FILES = {
    "arrayvision/ops/$name.py": '''
"""$name: what it is for."""

from __future__ import annotations

from arrayvision import check
from arrayvision.array import arrays
from arrayvision.typing import Array


def $name(input: Array, scale: float = 1.0) -> Array:
    """What it does, in a line.

    Parameters
    ----------
    input : array (N, C)
        What it is, in which unit; any real dtype, integers count as float32.
    scale : float
        What it does.

    Returns
    -------
    array (N, C)
        What it is, in the dtype of input.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong.

    Notes
    -----
    The source of the method. What NaN does.

    Examples
    --------
    >>> import numpy as np
    >>> $name(np.array([[1.0, 2.0]])).shape
    (1, 2)
    """
    at = arrays("$name", input=input)
    n = at.sizes(input="N C")
    scale = check.number("$name", "scale", scale)
    dtype = at.floats(input=input)
    out = at.empty((n.N, n.C), dtype)
    at.kernels("$name").forward(at.read(input, dtype), scale, out.view)
    return out.result()
''',
    "arrayvision/cpu/$name.py": '''
"""$name: how its loops run."""

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for


@kernel
def rows(x, scale, out, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            for k in range(x.shape[1]):
                out[i, k] = 0
        start = claim(turn, grain)


def forward(x, scale, out):
    """Fill out (N, C)."""
    n, columns = x.shape
    if n and columns:
        parallel_for(rows, n, max(1, 32768 // columns), x, scale, out, cost=columns)
''',
    "arrayvision/cuda/$name.cu": """
// $name: how its threads share the work.
#include "prelude.cuh"

template <class T>
__global__ void __launch_bounds__(256) elements(int64_t n, const T* x, acc_t<T> scale, T* out) {
  const int64_t e = first();
  if (e < n) out[e] = T(acc_t<T>(0));
}
""",
    "arrayvision/cuda/$name.py": '''
"""Launches of $name.cu; the functions and arguments of `cpu/$name.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.types import FLOATS, c_type

KERNELS = runtime.Kernels("$name.cu", [f"elements<{T}>" for T in FLOATS])


def forward(x, scale, out):
    """Fill out (N, C)."""
    n = x.shape[0] * x.shape[1]
    KERNELS.launch(f"elements<{c_type(x)}>", n, n, x, scale, out)
''',
    "arrayvision/torch_bridge/ops/$name.py": '''
"""$name on tensors."""

from __future__ import annotations

from torch import Tensor

from arrayvision import ops
from arrayvision.torch_bridge.library import linear

_$name = linear(
    "$name",
    "float scale",
    ops.$name,
    lambda grad, scale, shape: ops.$name(grad, scale),  # its gradient
    lambda input, scale: input.shape,  # the result's shape
)


def $name(input: Tensor, scale: float = 1.0) -> Tensor:
    """`arrayvision.ops.$name` on tensors, differentiable in `input` any number of times."""
    return _$name(input, scale)
''',
    "arrayvision/cases/$name.py": '''
"""Calls of `$name`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case


def plain(input, scale):
    """What it should give, in float64, by other code than the kernels'."""
    raise AssertionError("the oracle of $name is to be written")


CASES = (
    Case(
        "$name",
        "$name",
        dict(input=np.random.default_rng(0).standard_normal((5, 3))),
        dict(input="N C"),
        plain,
        dict(scale=2.0),
        wrt=("input",),
        backward=lambda grad, input, scale: (ops.$name(grad, scale),),
    ),
)
''',
}
ROW = '    _row("$name", "$name", "any", "what it does, for the README"),\n'


def add(name: str, root: pathlib.Path = ROOT) -> list[pathlib.Path]:
    """Write the files and the row of the table; gives what was written or changed."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise SystemExit(f"new_operator: NAME must be a function's name in small letters, got {name!r}")
    values, changed = {"name": name}, []
    paths = {root / string.Template(path).substitute(values): text for path, text in FILES.items()}
    there = [path for path in paths if path.exists()]
    if there:
        raise SystemExit(f"new_operator: {there[0].relative_to(root)} exists already")
    for path, text in paths.items():
        path.write_text(string.Template(text.lstrip()).substitute(values))
        changed.append(path)
    table, anchor = root / "arrayvision/operators.py", ")  # fmt: skip\n\n# Functions"
    text = table.read_text()
    if anchor not in text:
        raise SystemExit(f"new_operator: {table.name} has no place for the operator ({anchor!r})")
    table.write_text(text.replace(anchor, string.Template(ROW).substitute(values) + anchor, 1))
    return [*changed, table]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    for file in add(sys.argv[1]):
        print(file.relative_to(ROOT))
    subprocess.run([sys.executable, "-m", "tools.lists"], check=True, cwd=ROOT)
    print("Now: CONTRIBUTING.md, file by file; python -m tools.lists again when names change.")
