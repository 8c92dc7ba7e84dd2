"""The toy study, as a module (the tests' folders are no packages)."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session", autouse=True)
def version() -> Iterator[None]:
    """Hold the version fixed: sources that are edited while the tests run would make it another run."""
    import mnemoscope.runner.one

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnemoscope.runner.one, "own_version", lambda: "the version under test")
        yield


@pytest.fixture(scope="session")
def toys() -> ModuleType:
    spec = importlib.util.spec_from_file_location("toy_study", Path(__file__).with_name("toy_study.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["toy_study"] = module
    spec.loader.exec_module(module)
    return module
