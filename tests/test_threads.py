"""The pool: under forks, DataLoaders, spawned processes and many calling threads; how many threads there are."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from arrayvision import get_num_threads, set_num_threads
from arrayvision.cpu import kernel, threads
from arrayvision.cpu.threads import claim, parallel_for


@kernel
def work(x, out, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        a, o = x[start : min(start + grain, n)], out[start : min(start + grain, n)]
        for i in range(a.shape[0]):
            v = a[i]
            for _ in range(400):
                v = v * np.float32(1.0000001) + np.float32(1e-7)
            o[i] = v
        start = claim(turn, grain)


@kernel
def fail(x, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        if x[start] > 0:
            raise ValueError("a kernel's error")
        start = claim(turn, grain)


X = np.linspace(0, 1, 8192).astype(np.float32)


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    monkeypatch.setattr(threads, "_chosen", (2, os.getpid()))


def expected():
    out = np.empty_like(X)
    work(X, out, np.zeros(1, np.int64), len(X), len(X))
    return out


def run(grain=256):
    out = np.empty_like(X)
    parallel_for(work, len(X), grain, X, out)
    return out


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_same_bits(count):
    set_num_threads(count)
    for grain in (1, 100, 256, 8191, 8192, 10**6):
        np.testing.assert_array_equal(run(grain), expected())


def test_nothing_to_do():
    parallel_for(work, 0, 16, X[:0], np.empty(0, np.float32))


def test_small_work_wakes_nobody(monkeypatch):
    monkeypatch.setattr(threads, "_start", lambda count: pytest.fail("helpers were started"))
    monkeypatch.setattr(threads, "_helpers", [])
    out = np.empty_like(X)
    parallel_for(work, len(X), 256, X, out, cost=1)
    np.testing.assert_array_equal(out, expected())


def test_an_error_in_any_thread_reaches_the_caller():
    for place in (0, 5000):
        x = np.zeros(8192)
        x[place] = 1
        with pytest.raises(ValueError, match="a kernel's error"):
            parallel_for(fail, 8192, 1, x)
    np.testing.assert_array_equal(run(), expected())


@pytest.mark.skipif(threads._processor() < 0, reason="the system doesn't tell which processor a thread runs on")
@pytest.mark.skipif(threads._allowed() < 2, reason="helpers have no other processor")
def test_helpers_keep_off_the_processor_of_their_caller(monkeypatch):
    threads._before_fork()  # helpers of earlier tests end
    threads._lock.release()
    monkeypatch.setattr(threads, "SELDOM", 0)
    whole = os.sched_getaffinity(0)
    try:
        np.testing.assert_array_equal(run(), expected())
        (helper,) = threads._helpers
        for processor in sorted(whole)[:2] * 2:
            os.sched_setaffinity(0, {processor})
            np.testing.assert_array_equal(run(), expected())
            assert os.sched_getaffinity(helper.native_id) == whole - {processor}
        os.sched_setaffinity(helper.native_id, {processor})  # by someone who knows better
        threads._keep_off(processor)
        assert os.sched_getaffinity(helper.native_id) == {processor}
    finally:
        os.sched_setaffinity(0, whole)
        threads._before_fork()
        threads._lock.release()


def test_sixteen_threads_at_once():
    set_num_threads(3)
    wanted, wrong = expected(), []

    def caller():
        for _ in range(20):
            if not np.array_equal(run(), wanted):
                wrong.append(1)

    callers = [threading.Thread(target=caller) for _ in range(16)]
    for c in callers:
        c.start()
    for c in callers:
        c.join(60)
    assert not wrong and not any(c.is_alive() for c in callers)
    assert len(threads._helpers) <= 2 * 16


@pytest.mark.parametrize("late", [False, True])
def test_no_callers_arrays_are_kept_alive(late):
    """Neither by a helper that worked, nor by one that came when the work was done."""
    import gc
    import weakref

    x = X.copy()
    out = np.empty_like(x)
    if late:
        threads._start(1)
        threads._queue.put((work, (x, out), [], []))
    else:
        parallel_for(work, len(x), 256, x, out)
    alive = weakref.ref(x)
    del x
    for _ in range(100):  # a helper may still be putting the job down
        gc.collect()
        if alive() is None:
            break
        time.sleep(0.01)
    assert alive() is None


def test_how_many(monkeypatch):
    monkeypatch.setattr(threads, "_chosen", None)
    monkeypatch.delenv("ARRAYVISION_NUM_THREADS", raising=False)
    assert 1 <= get_num_threads() <= len(os.sched_getaffinity(0))
    monkeypatch.setenv("ARRAYVISION_NUM_THREADS", "5")
    assert get_num_threads() == 5
    monkeypatch.setenv("ARRAYVISION_NUM_THREADS", "many")
    assert get_num_threads() == threads._allowed()
    set_num_threads(3)
    assert get_num_threads() == 3
    for wrong, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="set_num_threads: count must be"):
            set_num_threads(wrong)


def test_the_control_groups_quota(tmp_path):
    own = tmp_path / "self"
    own.write_text("0::/user/job\n")
    root = tmp_path / "cgroup"
    (root / "user/job").mkdir(parents=True)
    assert threads._quota(root, own) == float("inf")
    (root / "user/cpu.max").write_text("150000 100000\n")
    assert threads._quota(root, own) == 1.5
    (root / "user/job/cpu.max").write_text("max 100000\n")
    assert threads._quota(root, own) == 1.5
    (root / "cpu").mkdir()
    (root / "cpu/cpu.cfs_quota_us").write_text("50000")
    (root / "cpu/cpu.cfs_period_us").write_text("100000")
    assert threads._quota(root, own) == 0.5
    assert threads._quota(tmp_path / "none", tmp_path / "nothing") == float("inf")


# ---- in processes of their own ----------------------------------------------------------------------------------------
COMMON = """
import os, signal, sys, threading, time, warnings
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started with Ctrl-C ignored
import numpy as np
from arrayvision import ops, set_num_threads, get_num_threads
rng = np.random.default_rng(0)
xy = rng.uniform(0, 2000, (40000, 2))
boxes = np.concatenate([xy, xy + rng.uniform(5, 50, (40000, 2))], 1).astype(np.float32)
scores, labels = rng.random(40000).astype(np.float32), rng.integers(0, 40, 40000)
def run():
    return ops.batched_nms(boxes, scores, labels, dict(iou_threshold=0.5))[1]
"""


def in_a_process(text, timeout=240, **environment):
    environment = {**os.environ, **environment}
    done = subprocess.run(
        [sys.executable, "-c", COMMON + text], capture_output=True, text=True, timeout=timeout, env=environment
    )
    assert done.returncode == 0 and "fine" in done.stdout, done.stdout[-1000:] + done.stderr[-3000:]


@pytest.mark.parametrize("variable", ["8", ""])
def test_a_forked_child_keeps_the_number_that_was_set(variable):
    in_a_process(
        """
for count in (3, 2):
    set_num_threads(count)
    for _ in range(2):  # a child's child, too
        child = os.fork()
        if child:
            break
        assert get_num_threads() == count, get_num_threads()
    code = 0
    if child:
        code = os.waitpid(child, 0)[1]
    if os.getpid() != parent:
        os._exit(0 if code == 0 else 1)
    assert code == 0
print("fine")
""".replace("for count", "parent = os.getpid()\nfor count", 1),
        ARRAYVISION_NUM_THREADS=variable,
    )


@pytest.mark.alone
def test_forks():
    """A hundred, while other threads are computing; children compute, too."""
    in_a_process("""
warnings.simplefilter("error", DeprecationWarning) if sys.version_info >= (3, 12) else None
set_num_threads(2)
wanted, stop = run(), False
def busy():
    while not stop:
        assert np.array_equal(run(), wanted)
others = [threading.Thread(target=busy) for _ in range(2)]
warnings.simplefilter("ignore")
[t.start() for t in others]
for _ in range(100):
    pid = os.fork()
    if not pid:
        os._exit(0 if np.array_equal(run(), wanted) else 1)
    assert os.waitpid(pid, 0)[1] == 0
stop = True
[t.join() for t in others]
assert np.array_equal(run(), wanted)
print("fine")
""")


@pytest.mark.alone
def test_suppression_in_a_forked_child():
    """Of many boxes, after torch has used its threads in the parent: torch's own indexing would hang there."""
    in_a_process("""
import time, torch
from arrayvision.torch_bridge import ops
generator = torch.Generator().manual_seed(0)
boxes = torch.rand(60_000, 4, generator=generator) * 500
boxes[:, 2:] = boxes[:, :2] + torch.rand(60_000, 2, generator=generator) * 20
scores, labels = torch.rand(60_000, generator=generator), torch.arange(60_000) % 80
dets = torch.cat([boxes, scores[:, None]], 1)[:20_000].contiguous()
calls = [
    lambda: ops.nms(boxes, scores, 0.5),
    lambda: ops.nms(boxes, scores, 0.5, 0, 0.1, 1000),
    lambda: ops.batched_nms(boxes, scores, labels, dict(type="nms", iou_threshold=0.5)),
    lambda: ops.batched_nms(boxes, scores, labels, dict(type="nms", iou_threshold=0.5), class_agnostic=True),
    lambda: ops.nms_match(dets, 0.5),
    lambda: ops.nms_rotated(dets, dets[:, 4].contiguous(), 0.5),
]
for call in calls:
    wanted = call()[0]
    (boxes[torch.arange(60_000).flip(0)] * 2).sum()  # torch's threads start
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(call()[0].numpy(), wanted.numpy()) else 1)
    end = time.time() + 60
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if time.time() > end:
            os.kill(child, 9)
            os.waitpid(child, 0)
            raise AssertionError("it hangs")
        time.sleep(0.02)
    assert done[1] == 0
print("fine")
""")


@pytest.mark.alone
@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of Unix")
def test_ctrl_c_while_a_kernel_is_loaded_or_compiled(tmp_path):
    """It waits for the end, and is a KeyboardInterrupt then, or what the user's handler makes of it; once."""
    text = """
import signal
from numba.core import caching, event
from arrayvision import cpu

@cpu.kernel
def total(x):
    s = x[0] * 0
    for i in range(len(x)):
        s += x[i]
    return s

def interrupted(call):
    try:
        call()
    except KeyboardInterrupt:
        return True
    return False

class Interrupt(event.Listener):
    def on_start(self, happening):
        os.kill(os.getpid(), signal.SIGINT)
    def on_end(self, happening):
        pass

with event.install_listener("numba:compile", Interrupt()):
    assert interrupted(lambda: total(np.arange(10.0)))
assert total(np.arange(10.0)) == 45 and signal.getsignal(signal.SIGINT) is signal.default_int_handler

load, loaded = caching.CompileResultCacheImpl.rebuild, []
def rebuild(*args):
    os.kill(os.getpid(), signal.SIGINT)
    loaded.append(args)
    return load(*args)
caching.CompileResultCacheImpl.rebuild = rebuild
again = cpu.kernel(total.py_func)
assert interrupted(lambda: again(np.arange(10.0))) and len(loaded) == 1
assert again(np.arange(10.0)) == 45 and len(loaded) == 1
caching.CompileResultCacheImpl.rebuild = load

came = []
signal.signal(signal.SIGINT, lambda *which: came.append(which))
with event.install_listener("numba:compile", Interrupt()):
    assert total(np.arange(10)) == 45
assert len(came) == 1 and came[0][0] == signal.SIGINT
signal.signal(signal.SIGINT, signal.SIG_IGN)
assert total(np.arange(10, dtype=np.float32)) == 45 and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
print("fine")
"""
    in_a_process(text, ARRAYVISION_CACHE=str(tmp_path))


@pytest.mark.alone
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_dataloader_workers(context, tmp_path):
    """Four workers, started after kernels ran in the parent; one thread in each."""
    script = tmp_path / "loader.py"
    script.write_text(
        COMMON
        + f"""
import torch
class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 12
    def __getitem__(self, i):
        return torch.from_numpy(run()[:1000].copy()), get_num_threads()
if __name__ == "__main__":
    set_num_threads(2)
    wanted = torch.from_numpy(run()[:1000].copy())
    loader = torch.utils.data.DataLoader(Data(), 1, num_workers=4, multiprocessing_context="{context}")
    for inds, count in loader:
        assert (inds[0] == wanted).all() and count.item() == 1
    print("fine")
"""
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "fine" in done.stdout, done.stderr[-3000:]


@pytest.mark.alone
def test_calls_during_shutdown():
    """From atexit and __del__, when no more threads can be started."""
    in_a_process("""
import atexit
set_num_threads(2)
class Last:
    def __del__(self):
        run()
        print("fine")
last = Last()
atexit.register(run)
""")
