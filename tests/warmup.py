"""Compiles every kernel before workers start, in two processes: cold workers racing for a cache would each compile.

``python -m tests.warmup``
"""

import multiprocessing
import time

from arrayvision import warmup
from arrayvision.cuda import emulator


def compile(task):
    """A file's kernels, for the CPU or for the emulator."""
    name, emulated = task
    emulator.races = True  # the build that tests use
    for step, act in warmup.steps([name], emulated=emulated):
        if step.endswith("emulated") == emulated:
            act()


if __name__ == "__main__":
    start = time.perf_counter()
    size = {name: (warmup.HERE / "cuda" / f"{name}.cu").stat().st_size for name in warmup.cuda_files()}
    tasks = [(name, True) for name in sorted(size, key=size.get, reverse=True)]  # long ones first
    tasks += [(name, False) for name in (*warmup.EXAMPLES, *warmup.PICTURES)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for _ in pool.imap_unordered(compile, tasks):
            pass
    print(f"kernels compiled in {time.perf_counter() - start:.0f} s")
