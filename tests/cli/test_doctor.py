"""`doctor` says what is installed as the package metadata do, and what each declared extra would add."""

import json
import platform
import tomllib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_versions_devices_cache_and_extras(cli: Any) -> None:
    found = json.loads(cli("doctor", "--json").out)
    assert found["python"] == platform.python_version()
    assert {name: version(name) for name in found["versions"]} == found["versions"]
    assert {"torch", "transformers", "polars"} <= set(found["versions"])
    assert any(device.startswith("cpu (") for device in found["devices"])
    assert found["model cache"]
    assert set(found["extras"]) == set(PROJECT["optional-dependencies"])  # every extra that there is
    for name, extra in found["extras"].items():
        assert extra["present"] == (find_spec(name) is not None)


def test_an_absent_extra_says_how_to_get_it(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mnemoscope.cli import doctor

    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    out = cli("doctor").out
    for name in PROJECT["optional-dependencies"]:
        assert f"absent: pip install 'mnemoscope[{name}]'" in out
