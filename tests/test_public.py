"""The public surface is an asserted list; importing it is light; every room stands alone."""

import json
import subprocess
import sys
from importlib.resources import files

import pytest

PUBLIC = [
    "Batch",
    "Estimate",
    "LM",
    "Prompt",
    "Run",
    "Sweep",
    "Trace",
    "__version__",
    "check",
    "errors",
    "load",
    "mitigate",
    "run",
    "sweep",
    "trace",
]
HEAVY = ("torch", "transformers", "polars", "numpy", "scipy", "sklearn", "altair", "ray")
WITHOUT_TORCH = ("data", "stats", "results", "report", "cli", "errors", "axes", "runner")
ROOMS = (*WITHOUT_TORCH, "model", "engine", "measures", "studies", "reference")


def loaded(code: str) -> set[str]:
    """Heavy packages that a fresh interpreter has loaded after running this."""
    line = f"{code}\nimport json, sys\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", line], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def every_module_of(room: str) -> str:
    """Code that imports a room with all its modules."""
    return (
        "import importlib, pkgutil\n"
        f"room = importlib.import_module('mnemoscope.{room}')\n"
        "for module in pkgutil.walk_packages(getattr(room, '__path__', ()), room.__name__ + '.'):\n"
        "    importlib.import_module(module.name)"
    )


def test_the_public_names() -> None:
    import mnemoscope

    assert mnemoscope.__all__ == PUBLIC == sorted(PUBLIC) == dir(mnemoscope)
    for name in PUBLIC:
        assert getattr(mnemoscope, name).__doc__ or name == "__version__", name
    with pytest.raises(AttributeError, match=r"no attribute 'lood'; it has Batch"):
        mnemoscope.lood  # noqa: B018


def test_importing_is_light() -> None:
    assert loaded("import mnemoscope, mnemoscope.errors\nmnemoscope.Prompt(text='a')") == set()
    assert "torch" not in loaded("from mnemoscope.cli.main import execute\nexecute(['--help'])")


def test_the_package_is_the_command_line_too() -> None:
    import mnemoscope

    for asked, code, out in (
        ("--version", 0, f"{mnemoscope.__version__}\n"),
        ("lok", 2, ""),
    ):
        done = subprocess.run([sys.executable, "-m", "mnemoscope", asked], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (code, out)
    assert "did you mean 'look'" in done.stderr


def test_rooms_without_torch() -> None:
    from mnemoscope.axes import STUDIES
    from mnemoscope.cli.run import absent

    studies = [f"import mnemoscope.studies.{name}.summarise" for name in STUDIES if name not in absent()]
    assert studies
    code = "\n".join([*(every_module_of(room) for room in ("stats", "results", "report", "data")), *studies])
    assert loaded(code) & {"torch", "transformers"} == set()


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_every_room_alone(room: str) -> None:
    found = loaded(every_module_of(room) if room not in ("cli", "runner") else f"import mnemoscope.{room}")
    assert not (room in WITHOUT_TORCH and "torch" in found)


def test_it_is_typed() -> None:
    assert files("mnemoscope").joinpath("py.typed").is_file()
