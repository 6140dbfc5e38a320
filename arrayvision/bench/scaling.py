"""What threads are worth: each operator's longest case with one thread, beside the same with all of them."""

from __future__ import annotations

import functools
import time

from arrayvision import cases as operators, get_num_threads, ops, set_num_threads
from arrayvision.bench.measure import Case, same

AT_LEAST = 0.85  # of the number of threads: two are to be worth 1.7 of one
SHORT = 5e-3  # seconds with one thread, below which helpers aren't worth much


def with_threads(count, call):
    """Make a call with a number of threads."""
    before = get_num_threads()
    set_num_threads(count)
    try:
        return call()
    finally:
        set_num_threads(before)


def cases():
    """For each operator the case that reads most, unless it is short; results are the same to the bit."""
    threads = get_num_threads()
    if threads == 1:
        return
    largest = {}
    for timed in operators.timed():
        size = sum(x.size for x in timed.inputs.values())
        if size > largest.get(timed.function, (0, None))[0]:
            largest[timed.function] = size, timed
    for _, timed in largest.values():
        call = functools.partial(getattr(ops, timed.function), **timed.inputs, **timed.arguments)
        alone = functools.partial(with_threads, 1, call)
        case = Case(f"threads: {timed.name}", call, {"one thread": alone}, AT_LEAST * threads, agree=same)
        yield case._replace(worth=functools.partial(_long, alone))


def _long(call):
    call()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start >= SHORT
