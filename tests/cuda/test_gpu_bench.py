"""The script that measures on a GPU runs, here in the emulator at small sizes, whatever fails in it."""

import json

import numpy as np
import pytest

from arrayvision import array, ops
from arrayvision.bench import gpu
from arrayvision.cuda import emulator


@pytest.fixture
def place(monkeypatch):
    if emulator.sanitize:
        pytest.skip("times and races are no matter of the sanitizers")
    monkeypatch.setattr(array, "EMULATED", True)
    monkeypatch.setattr(emulator, "races", True)  # the build that other tests have
    return gpu.Place(emulated=True)


def test_all_of_it(place, tmp_path, capsys):
    out = tmp_path / "new" / "card.json"
    found = gpu.run(place, out, files=["tin_shift", "bbox_overlaps"])
    assert json.loads(out.read_text()) == json.loads(json.dumps(found))
    assert set(found["checks"].values()) == {"ok"} and found["left out"] == []
    assert {"nms of 257, spread", "soft_nms of many", "a second thread"} <= set(found["checks"])
    assert any(name.startswith("case tin_shift") for name in found["checks"])
    assert not [row for row in found["cases"] if "error" in row]
    names = [row["case"] for row in found["cases"]]
    assert len(names) == len(set(names)) > 45
    for row in found["cases"]:
        assert all(row[how]["arrayvision"] > 0 for how in ("warm", "cold", "lone"))
        assert ("share of copy" in row) == ("GB/s" in row)
    assert list(found["host microseconds"]) == ["bbox_overlaps", "roi_align"]
    printed = capsys.readouterr().out
    assert "checks passed, 0 failed" in printed and "nms of 50,000, clustered" in printed


def test_what_fails_is_told_and_the_rest_goes_on(place, monkeypatch, tmp_path, capsys):
    def broken(*args, **kwargs):
        raise ValueError("broken on purpose")

    monkeypatch.setattr(ops, "nms", broken)
    monkeypatch.setattr(gpu, "timed", lambda place: iter([gpu.Timed("bad", broken), gpu.Timed("good", lambda: None)]))
    found = gpu.run(place, tmp_path / "card.json", files=[])
    assert found["checks"]["nms of 1, spread"] == "ValueError: broken on purpose"
    assert found["checks"]["bbox_overlaps of 257"] == "ok"
    assert found["cases"][0] == {"case": "bad", "error": "ValueError: broken on purpose", "passed": False}
    assert found["cases"][1]["passed"] is None
    assert "FAIL nms of 1, spread" in capsys.readouterr().out


def test_time_is_kept(place, tmp_path):
    found = gpu.run(place, tmp_path / "card.json", minutes=0, files=[])
    assert not found["checks"] and not found["cases"]
    assert "nms of 1, spread" in found["left out"] and "voxelization, hard" in found["left out"]


def test_goals_decide(place):
    case = gpu.Timed("own", lambda: None, {"other": lambda: None}, 10**9)
    monkey = iter([1.0, 1.9] * 3)
    place.milliseconds = lambda call, how: next(monkey)
    row = gpu.measure(place, case, 1000.0)
    assert (
        row["ratios"] == row["lone ratios"] == {"other": 1.9}
        and row["GB/s"] == 1000
        and row["share of copy"] == 1
        and not row["passed"]
    )
    fast = iter([1.0, 2.1] * 3)
    place.milliseconds = lambda call, how: next(fast)
    assert gpu.measure(place, case, 1000.0)["passed"]
    slow = iter([1.0, 2.1] * 3)
    place.milliseconds = lambda call, how: next(slow)
    assert not gpu.measure(place, case, 2000.0)["passed"]  # half of the copy's bandwidth


def test_the_plain_loops_find_what_is_wrong(place):
    b, s = gpu.boxes(50, 100)
    kept = gpu.plain_nms(b, s, 0.5)
    assert 0 < len(kept) < 50 and (np.diff(s[kept]) <= 0).all()
    picked, scores = gpu.plain_soft_nms(b, s, 0.3, 1e-3)
    assert picked[0] == s.argmax() and scores[0] == s.max() and len(set(picked)) == len(picked)
