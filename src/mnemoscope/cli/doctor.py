"""`mnemoscope doctor`: what this machine has, and what each extra would add."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.table import Table

from mnemoscope.cli import options

CORE = ("torch", "transformers", "numpy", "scipy", "scikit-learn", "polars", "altair", "vl-convert-python")
EXTRAS = {
    "ray": "works a run's jobs off on a Ray cluster (--ray)",
    "spacy": "reads free text through your own spaCy pipeline (run heads --data text)",
    "datasets": "reads Hugging Face data sets (--data)",
}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def facts() -> dict[str, Any]:
    """Versions, devices, cache and extras as one record."""
    import torch
    from huggingface_hub.constants import HF_HUB_CACHE

    devices = [f"cpu ({torch.get_num_threads()} threads)"]
    devices += [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    return {
        "mnemoscope": _version("mnemoscope"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {package: _version(package) for package in CORE},
        "devices": devices,
        "model cache": str(HF_HUB_CACHE),
        "extras": {name: {"present": find_spec(name) is not None, "adds": adds} for name, adds in EXTRAS.items()},
    }


def doctor(as_json: options.Json = False) -> None:
    """Versions, devices, cache, and what each extra would add.

    Example: [cyan]mnemoscope doctor --json[/cyan]
    """
    found = facts()
    if as_json:
        print(json.dumps(found))  # noqa: T201
        return
    table = Table(box=None, show_header=False)
    for name in ("mnemoscope", "python", "platform", "model cache"):
        table.add_row(name, str(found[name]))
    for package, number in found["versions"].items():
        table.add_row(package, number)
    table.add_row("devices", ", ".join(found["devices"]))
    for name, extra in found["extras"].items():
        state = "present" if extra["present"] else f"absent: pip install 'mnemoscope\\[{name}]'"
        table.add_row(f"extra {name}", f"{state}; {extra['adds']}")
    Console().print(table)
