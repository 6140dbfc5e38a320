"""A thread pool whose callers never wait for a helper that has not started; blocks are claimed inside compiled code.

`parallel_for(kernel, n, grain, *args)` calls ``kernel(*args, turn, grain, n)`` in the calling thread and, when there is
enough to do, in helpers; each call claims blocks ``[start, start + grain)`` by ``start = claim(turn, grain)`` until start
reaches n. Blocks follow from the problem's size alone, and a block's results lie in that block's own memory, so results
are the same to the bit for any number of threads.

Why not what exists: Numba's omp layer aborts forked children (every torch DataLoader), its workqueue aborts on
concurrent calls; chunks handed out by Python wait for the GIL at each end (one other busy Python thread made a 2.5 ms
kernel take 86 ms); ThreadPoolExecutor hangs in a forked child and raises at interpreter exit.

A helper that has taken a ticket is waited for; a ticket that no helper took is taken back. So nested calls, calls from
many threads, forks and interpreter shutdown can't deadlock. Ctrl-C is seen when the compiled call ends.
"""

import _thread
import contextlib
import ctypes
import functools
import math
import os
import pathlib
import queue
import sys
import threading
import time
from collections import deque

import numpy as np
from numba import types
from numba.extending import intrinsic

ENOUGH = 200_000  # nanoseconds of work from which helpers pay: waking one costs 10 to 30 microseconds


@intrinsic
def claim(typingctx, turn, step):
    """turn[0], after which turn[0] += step, in one indivisible act."""

    def codegen(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.atomic_rmw("add", array.data, args[1], "monotonic")

    return types.int64(turn, types.int64), codegen


# ---- how many ----------------------------------------------------------------------------------------------------
_chosen = None  # by set_num_threads: (how many, in which process)


def set_num_threads(count: int) -> None:
    """Let CPU kernels use this many threads, the caller's included, in this process and those forked from it.

    The default is `ARRAYVISION_NUM_THREADS`; without it, as many as this process may use (affinity, cgroup quota), and
    one inside a worker of a torch DataLoader. Such workers begin with the default: call this in `worker_init_fn`.
    Results don't depend on it.
    """
    global _chosen
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"set_num_threads: count must be an int, got {type(count).__name__}")
    if count < 1:
        raise ValueError(f"set_num_threads: count must be at least 1, got {count}")
    _chosen = count, os.getpid()


def get_num_threads() -> int:
    """How many threads CPU kernels may use, the caller's included."""
    if _chosen is not None and _chosen[1] == os.getpid():
        return _chosen[0]
    loader = sys.modules.get("torch.utils.data._utils.worker")
    worker = loader is not None and loader._worker_info is not None
    if _chosen is not None and not worker:  # by a process that this one was forked from
        return _chosen[0]
    wanted = os.environ.get("ARRAYVISION_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return 1 if worker else _allowed()


@functools.cache
def _allowed():
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        count = os.cpu_count() or 1
    quota = _quota()
    return count if quota == math.inf else max(1, min(count, math.ceil(quota)))


def _quota(root="/sys/fs/cgroup", own="/proc/self/cgroup"):
    """The processors that the control group grants (infinity when it sets no limit), its parents' limits included."""
    root, least = pathlib.Path(root), math.inf
    try:
        groups = [line.split(":", 2)[2].strip("/") for line in pathlib.Path(own).read_text().splitlines()]
    except OSError:
        groups = [""]
    for group in {"", *groups}:
        path = root / group
        while True:
            try:  # version 2
                quota, period = (path / "cpu.max").read_text().split()
                if quota != "max":
                    least = min(least, int(quota) / int(period))
            except (OSError, ValueError):
                pass
            if path == root or root not in path.parents:
                break
            path = path.parent
    try:  # version 1
        quota = int((root / "cpu/cpu.cfs_quota_us").read_text())
        if quota > 0:
            least = min(least, quota / int((root / "cpu/cpu.cfs_period_us").read_text()))
    except (OSError, ValueError):
        pass
    return least


# ---- the pool ----------------------------------------------------------------------------------------------------
_queue: queue.SimpleQueue = queue.SimpleQueue()
_helpers: list = []
_lock = _thread.allocate_lock()


def _help(jobs):
    while True:
        job = jobs.get()
        if job is None:  # a fork is coming
            return
        _work(*job)
        job = None  # keep no caller's arrays alive while waiting for the next


def _work(kernel, args, tickets, errors):
    try:
        done = tickets.pop()
    except IndexError:  # the caller has finished without us
        return
    try:
        kernel(*args)
    except BaseException as error:
        errors.append(error)
    done.release()


def _start(count):
    global _kept_off
    with _lock:
        while len(_helpers) < count:
            thread = threading.Thread(target=_help, args=(_queue,), daemon=True, name="arrayvision")
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down, or no more threads: the caller does it all
                return
            _helpers.append(thread)
            _kept_off = -1, 0
            mother = _masks.get(
                threading.get_native_id()
            )  # a helper that calls for helpers, whose processors they inherit
            if mother is not None:
                _masks[thread.native_id] = mother


# ---- where helpers run ---------------------------------------------------------------------------------------------
FEW = 15  # helpers that are moved when their caller moves: each takes a microsecond
SELDOM = 10_000_000  # nanoseconds between two moves, lest two callers move them to and fro
_kept_off = -1, 0  # the processor that helpers keep off, and since when
_masks: dict[
    int, tuple[set, set]
] = {}  # of helpers: the processors it may use as the system said, and those it was given


def _processor():
    """The number of the processor that the caller runs on, or -1 where the system doesn't tell."""
    return -1


if sys.platform == "linux":
    with contextlib.suppress(OSError, AttributeError):  # a C library without it
        _processor = ctypes.PyDLL(None).sched_getcpu


def _keep_off(processor):
    """Let helpers run on any processor but their caller's.

    Threads of other libraries' pools, torch's OpenMP among them, wait for their next work by spinning for milliseconds. To
    the scheduler all processors are busy then, and it wakes a helper where the helper ran last, which may be its caller's:
    the two take turns there, and two threads are worth one.
    """
    global _kept_off
    now = time.monotonic_ns()
    if now - _kept_off[1] < SELDOM:
        return
    with _lock:
        _kept_off = processor, now
        for helper in _helpers if len(_helpers) <= FEW else ():
            number = helper.native_id
            with contextlib.suppress(OSError):  # the processors were taken away, or the thread has ended
                may = os.sched_getaffinity(number)
                whole, given = _masks.get(number, (may, may))
                if may != given:  # someone else has moved it
                    whole = may
                wanted = whole - {processor}
                if len(wanted) >= len(_helpers) and wanted != may:
                    os.sched_setaffinity(number, wanted)
                    may = wanted
                _masks[number] = whole, may


def _before_fork():
    """End the helpers: a child has none, and Python warns of a fork while threads live. Calls go on without them."""
    _lock.acquire()
    for _ in _helpers:
        _queue.put(None)
    for thread in _helpers:
        thread.join()
    _helpers.clear()
    _masks.clear()


def _in_child():
    global _queue, _lock
    _queue, _lock = queue.SimpleQueue(), _thread.allocate_lock()
    _allowed.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=lambda: _lock.release(), after_in_child=_in_child)


def parallel_for(kernel, n, grain, *args, cost=math.inf):
    """Call ``kernel(*args, turn, grain, n)`` in several threads; it claims ``[start, start + grain)`` with `claim`.

    Parameters
    ----------
    kernel : callable
        Compiled, holding no GIL; what it writes for a block lies in that block's own memory.
    n, grain : int
        How many items, and how many make a block; both from the problem's size, never from the number of threads.
    *args
        What the kernel takes before these.
    cost : float
        Nanoseconds an item takes, about: below `ENOUGH` in all, the caller works alone.
    """
    args = (*args, np.zeros(1, np.int64), grain, n)
    if n <= grain or n * cost < ENOUGH:
        return kernel(*args)
    count = min(get_num_threads(), -(-n // grain)) - 1
    if count == 0:
        return kernel(*args)
    if len(_helpers) < count:
        _start(count)
    processor = _processor()
    if processor != _kept_off[0]:
        _keep_off(processor)
    locks = [_thread.allocate_lock() for _ in range(count)]
    for lock in locks:
        lock.acquire()
    tickets, errors = deque(locks), []
    for _ in locks:
        _queue.put((kernel, args, tickets, errors))
    try:
        kernel(*args)
    finally:
        waiting = set(map(id, locks))
        while tickets:  # take back the tickets that no helper has taken
            try:
                waiting.discard(id(tickets.pop()))
            except IndexError:
                break
        for lock in locks:
            if id(lock) in waiting:
                lock.acquire()
    if errors:
        raise errors[0]
