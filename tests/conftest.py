"""What every test may use. Imports nothing of the package at module level, so that shape annotations are executed."""

import gc
import os
from pathlib import Path

import pytest

REQUIRE = os.environ.get("MNEMOSCOPE_REQUIRE", "")


def absent(what: str) -> None:
    """Skip, by name; where everything is required (CI), a missing thing is a failure."""
    if REQUIRE:
        pytest.fail(f"{what} is absent, and MNEMOSCOPE_REQUIRE is set")
    pytest.skip(f"{what} is absent")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: at the end no worker is left alone with a long one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """What collecting has imported stays; the collector need not search it again in every test (4 s of each worker)."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Whoever skips, and however: where everything is required, it is a failure."""
    report = yield
    if REQUIRE and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although MNEMOSCOPE_REQUIRE is set: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real inputs beside the checkout, if it is there."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        absent("../shared/data")
    return folder


@pytest.fixture(scope="session")
def stories(shared: Path) -> Path:
    """A real pretrained Llama with 260,032 parameters, as a local folder."""
    return shared / "models" / "stories260K"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tests run beside each other: one thread each, and the same sums on every machine."""
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
