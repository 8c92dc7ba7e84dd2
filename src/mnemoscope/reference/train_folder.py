"""What a training leaves on disk: its record, weights of kept steps, the last state, a log; and whose folder it is.

Record and state are written beside themselves and moved into place, so that a run that is killed at any moment goes on.
"""

import json
import pickle
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from mnemoscope.errors import RunFolderError
from mnemoscope.reference import tokenizer as tokenization
from mnemoscope.reference.decoder import Decoder
from mnemoscope.reference.train_config import TrainConfig

RECORD, STATE = "run.json", "state.pt"


def planned(folder: Path, config: TrainConfig, tokenizer: PreTrainedTokenizerFast, steps: int = 0) -> dict[str, Any]:
    """The run's record: created in an empty folder, read in its own one; RunFolderError in any other, or a damaged one.

    `steps` fixes the schedule instead of the timing; it may be changed as long as the learning rate has not begun to fall,
    because up to there the schedule does not depend on it.
    """
    asked = {**asdict(config), "tokenizer": tokenization.digest(tokenizer)}
    if not (folder / RECORD).exists():
        _begun(folder)
        write_record(folder, {"config": asked, "steps": steps})
    held = read_record(folder)
    differing = [k for k in asked if held["config"].get(k) != asked[k]]
    if differing:
        raise RunFolderError(
            f"{folder} already holds another configuration than {', '.join(f'{k}={asked[k]!r}' for k in differing)}",
            found=", ".join(f"{k}={held['config'].get(k)!r}" for k in differing),
            allowed="the settings that it holds",
            hint="take another folder, or its settings",
        )
    reached = int(read_state(folder).get("step", 0))
    if steps and steps != held["steps"]:
        first = min(n for n in (steps, held["steps"] or steps)) * (1 - config.cooldown)
        if reached > first:
            raise RunFolderError(
                f"{folder} cannot be given another number of steps",
                found=f"step {reached}, the learning rate falls from step {first:.0f} on",
                allowed=f"{held['steps']} steps",
            )
        write_record(folder, {"config": asked, "steps": steps})
    return read_record(folder)


def _begun(folder: Path) -> None:
    """Make the folder; RunFolderError if that cannot be, or if it holds anything."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"{folder} cannot be a training folder", found=str(error), allowed="a folder that exists or can be made"
        ) from error
    if any(p.name != f"{RECORD}.new" for p in folder.iterdir()):
        raise RunFolderError(
            f"{folder} is not a training folder", found=f"files, but no {RECORD}", hint="take an empty one"
        )


def read_record(folder: Path) -> dict[str, Any]:
    """Configuration and steps of a training folder; RunFolderError where they cannot be read."""
    try:
        held = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {"config": dict(held["config"]), "steps": int(held["steps"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"{folder} cannot be read as a training folder",
            found=f"{RECORD}: {type(error).__name__} {error}",
            allowed="a record with a configuration and steps",
            hint="take another folder",
        ) from error


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Put a record in the place of the last one."""
    new = folder / f"{RECORD}.new"
    new.write_text(json.dumps(record, indent=1), encoding="utf-8")
    new.replace(folder / RECORD)


def keep(folder: Path, step: int, model: Decoder) -> None:
    """Write weights in bf16 as a folder that transformers can load."""
    from safetensors.torch import save_file

    target = folder / f"step{step}"
    target.mkdir(exist_ok=True)
    weights = {name: v.detach().to(torch.bfloat16).contiguous() for name, v in model.state_dict().items()}
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})


def save_state(folder: Path, step: int, model: Decoder, solvers: Sequence[torch.optim.Optimizer]) -> None:
    """Put everything that the next step needs in the place of the last state."""
    state = {"step": step, "model": model.state_dict(), "solvers": [s.state_dict() for s in solvers]}
    torch.save(state, folder / f"{STATE}.new")
    (folder / f"{STATE}.new").replace(folder / STATE)


def read_state(folder: Path) -> dict[str, Any]:
    """The last state, {} where there is none; RunFolderError where it cannot be read."""
    if not (folder / STATE).exists():
        return {}
    try:
        return {**torch.load(folder / STATE, weights_only=True)}
    except (OSError, RuntimeError, EOFError, ValueError, TypeError, pickle.UnpicklingError) as error:
        raise RunFolderError(
            f"{folder} cannot go on",
            found=f"{STATE} cannot be read ({type(error).__name__})",
            allowed="the state that the last run wrote",
            hint=f"remove {STATE}: the run then begins again",
        ) from error


def restored(folder: Path, model: Decoder, solvers: Sequence[torch.optim.Optimizer]) -> int:
    """Put the last state into model and solvers and return its step; 0 where there is none."""
    state = read_state(folder)
    if not state:
        return 0
    model.load_state_dict(state["model"])
    for solver, held in zip(solvers, state["solvers"], strict=True):
        solver.load_state_dict(held)
    return int(state["step"])


def log(folder: Path, row: dict[str, object]) -> None:
    """Append a row to log.jsonl; after a resumption the steps behind the last state stand there twice."""
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
