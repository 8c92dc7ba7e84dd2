"""Turn checkpoints of a training folder into model folders, for evaluation or to ship: weights, configuration, tokenizer, sums."""

import argparse
import json
import shutil
from hashlib import sha256
from pathlib import Path

from mnemoscope.errors import RunFolderError, listed
from mnemoscope.reference import tokenizer as tokenization
from mnemoscope.reference import world
from mnemoscope.reference.commands import told
from mnemoscope.reference.train_config import TrainConfig, llama_config
from mnemoscope.reference.train_folder import read_record


def checkpoints(run: Path) -> tuple[int, ...]:
    """The steps whose weights a training folder holds, in order."""
    return tuple(sorted(int(p.parent.name.removeprefix("step")) for p in run.glob("step*/model.safetensors")))


def publish(run: Path, target: Path, steps: tuple[int, ...]) -> None:
    """Write one loadable folder per step into `target`, in place of what lies there, and the checksums of all files."""
    if run.resolve() == target.resolve():
        raise RunFolderError(
            f"{run} cannot be published into itself",
            allowed="another folder",
            hint="its checkpoints would be removed first",
        )
    missing = [f"step{s}" for s in steps if s not in checkpoints(run)]
    if missing:
        raise RunFolderError(
            f"{run} lacks checkpoints", found=listed(missing), allowed=listed(map(str, checkpoints(run)))
        )
    fields = read_record(run)["config"]
    tokenizer = world.tokenizer()
    if (trained := fields.pop("tokenizer")) != tokenization.digest(tokenizer):
        raise RunFolderError(
            f"{run} was trained with another tokenizer",
            found=trained,
            allowed=tokenization.digest(tokenizer),
            hint="train again",
        )
    for old in target.glob("step*"):
        shutil.rmtree(old)
    for step in steps:
        folder = target / f"step{step}"
        folder.mkdir(parents=True)
        shutil.copyfile(run / f"step{step}" / "model.safetensors", folder / "model.safetensors")
        config = llama_config(TrainConfig(**fields), len(tokenizer))
        config.architectures = ["LlamaForCausalLM"]
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    written = sorted(p for p in target.glob("step*/*") if p.is_file())
    sums = {p.relative_to(target).as_posix(): sha256(p.read_bytes()).hexdigest() for p in written}
    (target / "checksums.json").write_text(json.dumps(sums, indent=0, sort_keys=True) + "\n")


def main() -> None:
    """Command line: `python -m mnemoscope.reference.bundle RUN TARGET [STEP ...]`, all checkpoints by default."""
    parser = argparse.ArgumentParser(prog="python -m mnemoscope.reference.bundle", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("steps", type=int, nargs="*")
    asked = parser.parse_args()
    publish(asked.run, asked.target, tuple(asked.steps) or checkpoints(asked.run))


if __name__ == "__main__":
    told(main)
