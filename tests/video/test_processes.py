"""One reader in several threads and processes."""

import copy
import gc
import multiprocessing
import os
import pickle
import threading
import time

import numpy as np
import pytest

from arrayvision import video
from tests.video.clips import COUNT, ENCODED, encode, number


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return encode(tmp_path_factory.mktemp("clips") / "clip.mp4", *ENCODED["h264.mp4"])


class Frames:
    """A dataset whose reader was made, and used, in __init__."""

    def __init__(self, path):
        self.reader = video.VideoReader(path)
        assert number(self.reader[30]) == 30

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return number(self.reader[index])


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers(path, context):
    if context not in multiprocessing.get_all_start_methods():
        pytest.skip("this system can't fork")
    data = pytest.importorskip("torch.utils.data")
    dataset = Frames(path)
    loader = data.DataLoader(dataset, batch_size=8, num_workers=2, multiprocessing_context=context, timeout=60)
    for _ in range(1 if context == "spawn" else 2):
        assert [n for batch in loader for n in batch.tolist()] == list(range(COUNT))
    assert number(dataset.reader.read()) == 31  # what children read moves nothing here


def waited(process):
    """The exit status of a child, which is killed if it takes long."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return status
        time.sleep(0.01)
    os.kill(process, 9)
    os.waitpid(process, 0)
    return "hangs"


def in_child(call):
    """Whether a call, in a forked process, is true."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            status = 0 if call() else 2
        finally:
            os._exit(status)
    return waited(process) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
def test_fork(path):
    reader = video.VideoReader(path)
    assert number(reader[5]) == 5 and number(reader[40]) == 40
    reader.vcap.read()
    ahead = reader.frames()
    assert number(next(ahead)) == 0

    def child():
        nonlocal ahead, reader
        right = number(reader.read()) == 41 and [number(reader[i]) for i in (3, 47, 5)] == [3, 47, 5]
        right &= [number(img) for img in ahead] == list(range(1, COUNT)) and len(reader) == COUNT
        del ahead, reader
        gc.collect()
        return right

    assert in_child(child)
    assert number(reader.read()) == 41 and [number(img) for img in ahead] == list(range(1, COUNT))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
def test_fork_while_threads_read(path):
    reader, going = video.VideoReader(path, 1), True

    def read():
        while going:
            reader[7], reader[40]

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            assert in_child(lambda: [number(reader[i]) for i in (3, 47)] == [3, 47])
    finally:
        going = False
        for thread in threads:
            thread.join()


def test_threads(path):
    """Each gets the frame that it asked for."""
    reader, wrong = video.VideoReader(path, 2), []

    def read(seed):
        wrong.extend(i for i in np.random.default_rng(seed).integers(0, COUNT, 40).tolist() if number(reader[i]) != i)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("twin", [lambda reader: pickle.loads(pickle.dumps(reader)), copy.deepcopy, copy.copy])
def test_pickle(path, twin, tmp_path, monkeypatch):
    monkeypatch.chdir(os.path.dirname(path))
    reader = video.VideoReader(os.path.basename(path), cache_capacity=3)
    reader[20]
    monkeypatch.chdir(tmp_path)
    other = twin(reader)
    assert other.position == 21 and number(other.read()) == 21 and reader.position == 21
    assert other.fps == 25 and other.resolution == reader.resolution and len(other) == COUNT
    with reader:
        pass
    closed = twin(reader)
    assert not closed.opened
    with pytest.raises(ValueError, match="is closed"):
        closed.read()
    assert number(other[4]) == 4
