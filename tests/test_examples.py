"""Every example runs as it is, offline, in an empty folder, and prints what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
NUMBER = r"[-+−]?\d+\.\d+"
PROMISED = {  # patterns that must be found in what is printed, in this order
    "heads": [
        rf"prefix matching: L\d+H\d+ {NUMBER}, chance {NUMBER}",
        "excess",
        "Strongest prefix matching",
        "verdict",
    ],
    "emergence": ["step +loss", rf"\n\d+ +{NUMBER} +{NUMBER} +{NUMBER} +{NUMBER} +L\d+H\d+ {NUMBER}"],
    "recall": [r"- Asked \d+ topics of \d+ relations", r"report\.html"],
    "icl": [
        r"none: \d+% right",
        rf"alignment .*L1 {NUMBER} \(p {NUMBER}\)",
        r"example: \d+% right",
        "log attention ratio",
    ],
    "mitigate": [rf"as it is +{NUMBER}", rf"skip +{NUMBER}", rf"temperature +{NUMBER}", rf"as it is, again +{NUMBER}"],
}


def printed(name: str, folder: Path) -> str:
    """What the example prints; it must end without an error."""
    settings = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, str(FOLDER / f"{name}.py")]
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return done.stdout


def test_every_example_is_tested() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == sorted(PROMISED)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PROMISED))
def test_an_example_prints_what_it_promises(name: str, tmp_path: Path) -> None:
    out, at = printed(name, tmp_path), 0
    for pattern in PROMISED[name]:
        found = re.compile(pattern).search(out, at)
        assert found, f"{pattern!r} is not in what is left of:\n{out}"
        at = found.end()
    if name == "mitigate":  # what was changed inside the context is undone behind it
        before, after = re.findall(rf"as it is(?:, again)? +({NUMBER})", out)
        assert before == after
    if name == "emergence":  # a row per checkpoint, in the order of their steps
        steps = [int(step) for step in re.findall(r"(?m)^(\d+) ", out)]
        assert steps == sorted(set(steps))
