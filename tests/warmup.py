"""Compiles every kernel before workers start, in two processes: cold workers racing for a cache would each compile.

``python -m tests.warmup``
"""

import subprocess
import sys
import time

from arrayvision import warmup

if __name__ == "__main__":
    if len(sys.argv) == 1:
        start = time.perf_counter()
        parts = [subprocess.Popen([sys.executable, "-m", "tests.warmup", part]) for part in ("cpu", "emulated")]
        if [part for part in parts if part.wait()]:
            sys.exit("warming up failed")
        print(f"kernels compiled in {time.perf_counter() - start:.0f} s")
    else:
        for name, act in warmup.steps(emulated=True):
            if name.endswith("emulated") == (sys.argv[1] == "emulated"):
                act()
