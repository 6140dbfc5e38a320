"""Numbers that kernels and their launches share, read from the device code, where they are written once."""

import functools
import re

from arrayvision.cuda.runtime import HERE, INCLUDE

_CONSTANT = re.compile(r"^constexpr int (\w+) = (\d+);", re.MULTILINE)


@functools.cache
def constants(file: str) -> dict[str, int]:
    """All `constexpr int NAME = 123;` that begin a line of a .cu file or a header: {"NAME": 123}."""
    path = (INCLUDE if file.endswith(".cuh") else HERE) / file
    return {name: int(value) for name, value in _CONSTANT.findall(path.read_text())}


def constant(file: str, name: str) -> int:
    """One of them; a KeyError if the file has none of this name."""
    return constants(file)[name]


WARP = constant("prelude.cuh", "WARP")  # threads that run together
