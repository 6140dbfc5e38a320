"""What type checkers see: files of right and of wrong uses, by mypy and by pyright (as basedpyright packs it)."""

import json
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent / "typing"
ROOT = HERE.parents[1]


def mypy(path, tmp_path):
    """The lines that it complains of."""
    command = [sys.executable, "-m", "mypy", "--config-file=", "--follow-imports=silent", "--ignore-missing-imports"]
    done = subprocess.run(
        [*command, f"--cache-dir={tmp_path}", "--output=json", path], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {
        row["line"]: row["message"]
        for row in found
        if pathlib.Path(row["file"]).name == path.name and row["severity"] == "error"
    }


def pyright(path, tmp_path):
    settings = tmp_path / "pyrightconfig.json"
    settings.write_text(json.dumps({"typeCheckingMode": "standard", "include": [str(path)], "extraPaths": [str(ROOT)]}))
    command = [
        sys.executable,
        "-m",
        "basedpyright",
        "--outputjson",
        "--project",
        settings,
        "--pythonpath",
        sys.executable,
    ]
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {row["range"]["start"]["line"] + 1: row["message"] for row in found if row["severity"] == "error"}


@pytest.mark.parametrize("checker", [mypy, pyright], ids=lambda checker: checker.__name__)
class TestCheckers:
    def test_right_uses_are_accepted(self, checker, tmp_path):
        assert checker(HERE / "right.py", tmp_path) == {}

    def test_wrong_uses_are_refused(self, checker, tmp_path):
        lines = (HERE / "wrong.py").read_text().splitlines()
        wrong = {i for i, line in enumerate(lines, 1) if line.endswith("# wrong")}
        assert set(checker(HERE / "wrong.py", tmp_path)) == wrong and len(wrong) >= 15
