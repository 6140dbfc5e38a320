"""Cases and how they are timed: side by side, in turns, in one process; medians."""

from __future__ import annotations

import ctypes
import gc
import importlib
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    """What is timed: a call of ours and the same by others.

    `at_least` is the ratio (a peer's time over ours) that we mean to reach against each peer; `within`, milliseconds
    that ours may take. `agree(ours, theirs)` tells whether two results are the same. `before` is called before each call,
    which is then timed alone. `own`: the call returns the milliseconds, of its own making. `worth()` tells whether the case
    is to be timed at all.
    """

    name: str
    ours: Callable[[], object]
    peers: Mapping[str, Callable[[], object]] = {}
    at_least: float | None = None
    within: float | None = None
    agree: Callable[[object, object], bool] | None = None
    note: str = ""
    before: Callable[[], object] | None = None
    own: bool = False
    worth: Callable[[], bool] | None = None


def peer(name: str):
    """A module if it can be imported, else None."""
    try:
        return importlib.import_module(name)
    except Exception:  # a peer that is broken is as good as missing
        return None


def same(a, b) -> bool:
    """Equal numbers, in order."""
    return np.array_equal(to_numpy(a), to_numpy(b))


def same_set(a, b) -> bool:
    """Equal numbers in any order: peers break ties as they like."""
    return np.array_equal(np.sort(to_numpy(a)), np.sort(to_numpy(b)))


def to_numpy(x):
    """The first array of a result."""
    if isinstance(x, (tuple, list)):
        x = x[0]
    return x.get() if hasattr(x, "get") else x.cpu().numpy() if hasattr(x, "cpu") else np.asarray(x)


def synchronise():
    """Wait for the GPU, if there is one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()


def memory(call: Callable[[], object]) -> dict[str, float] | None:
    """Megabytes in the CPU's memory: of a call's result, and of what was there beside it at the peak, from the pages that the
    process holds; None where the system doesn't tell, or the result isn't in that memory."""
    result = call()
    arrays = _arrays(result)
    if any(hasattr(x, "get") or getattr(x, "is_cuda", False) for x in arrays):
        return None
    size = sum(x.nbytes for x in arrays)
    del result, arrays
    try:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before is not to be used again
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak is now
        before = _held("VmRSS")
        result = call()
        peak = _held("VmHWM")
    except (OSError, AttributeError):
        return None
    del result
    return {"result": size / 2**20, "beside": max(0.0, peak - before - size) / 2**20}


def _arrays(result):
    if isinstance(result, (tuple, list)):
        return [x for part in result for x in _arrays(part)]
    return [result] if hasattr(result, "nbytes") else []


def _held(name):
    """Bytes of a line of the process's status."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


def run(case: Case, seconds: float = 2.0) -> dict:
    """Time a case: rounds in which each takes its turn, for about `seconds` in all but at least five."""
    if case.own:
        return _row(case, {"arrayvision": case.ours()}, {}, 1, None)
    calls = {"arrayvision": case.ours, **case.peers}
    results, once = {}, {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        results[name] = call()
        once[name] = time.perf_counter() - start
    agrees = {
        n: bool(case.agree(results["arrayvision"], r)) for n, r in results.items() if case.agree and n != "arrayvision"
    }
    del results
    megabytes = memory(case.ours) if case.before is None else None
    total = sum(once.values())
    repeat = {n: max(1, int(2e-4 / max(t, 1e-7))) for n, t in once.items()}  # short calls are timed in loops
    rounds = int(np.clip(seconds / max(total, 1e-3), 5, 101))
    if case.before is not None:
        repeat, rounds = dict.fromkeys(once, 1), 25
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            if case.before is not None:
                case.before()
            synchronise()
            start = time.perf_counter()
            for _ in range(repeat[name]):
                call()
            synchronise()
            times[name].append((time.perf_counter() - start) / repeat[name])
    return _row(case, {name: statistics.median(t) * 1e3 for name, t in times.items()}, agrees, rounds, megabytes)


def _row(case, median, agrees, rounds, megabytes):
    ours = median["arrayvision"]
    ratios = {name: t / ours for name, t in median.items() if name != "arrayvision"}
    reached = all(r >= case.at_least for r in ratios.values()) if case.at_least else True
    reached = reached and (case.within is None or ours <= case.within)
    return {
        "case": case.name,
        "megabytes": megabytes and {n: round(m, 1) for n, m in megabytes.items()},
        "milliseconds": {n: round(t, 4) for n, t in median.items()},
        "ratios": {n: round(r, 2) for n, r in ratios.items()},
        "agree": agrees,
        "at_least": case.at_least,
        "within_milliseconds": case.within,
        "reached": bool(reached),
        "rounds": rounds,
        "note": case.note,
    }
