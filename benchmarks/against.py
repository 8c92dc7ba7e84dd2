"""Head sweeps and grids against TransformerLens: same weights, same prompts, same numbers, in turns.

Their loop runs one forward pass per site, so it is timed on an even sample of the sites and its time per site is what
counts; ours is timed whole, verification on. The two take turns, and what is reported is the median of the ratios.
Beside wall time, processor time: on a machine that is shared with others only the latter is worth anything.
"""

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from mnemoscope.engine.sweep import sweep
from mnemoscope.model.lm import LM, view

HOME = Path(__file__).resolve().parent.parent
THEIRS = HOME / ".venv-tl"
TOKEN = 1000
BODY = 85e6  # weights of the blocks of the GPT-2-small shape


@dataclass(frozen=True, kw_only=True)
class Work:
    """One sweep. sample: how many sites TransformerLens is timed on. reach: the ratio that is asked for."""

    name: str
    prompts: int
    tokens: int
    sample: int
    reach: float


WORKS = (
    Work(name="z last", prompts=8, tokens=16, sample=12, reach=35),
    Work(name="z last", prompts=8, tokens=64, sample=8, reach=60),
    Work(name="z each", prompts=4, tokens=16, sample=16, reach=6),
    Work(name="resid_post each", prompts=4, tokens=32, sample=12, reach=5),
)


def random_gpt2(folder: Path | None = None) -> LM:
    """The GPT-2-small shape with random weights, large enough for effects far above rounding; saved if asked to."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config()).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "wte" not in name and "wpe" not in name:
                parameter.mul_(4.0)
    if folder is not None:
        model.save_pretrained(folder)
    return view(model, name="GPT-2-small shape, random")


def sites(work: Work) -> list[tuple[int, ...]]:
    """Every site of a grid, in the order of our axes."""
    heads, places = range(12), range(work.tokens)
    if work.name == "z last":
        return [(layer, head) for layer in range(12) for head in heads]
    if work.name == "z each":
        return [(layer, head, place) for layer in range(12) for head in heads for place in places]
    return [(layer, place) for layer in range(12) for place in places]


def ours(lm: LM, work: Work, base: torch.Tensor, source: torch.Tensor):
    site, positions = work.name.split()
    return sweep(lm, base, source, site=site, positions=positions, tokens=TOKEN)


def prepare() -> Path:
    """Their environment; made on first use."""
    python = THEIRS / "bin" / "python"
    if not python.exists():
        subprocess.run(["python3", "-m", "venv", str(THEIRS)], check=True)
        for wanted in ("torch==2.13.0", "transformer_lens==4.3.0"):
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", wanted], check=True)
    return python


def run(threads: int, repeats: int, works: tuple[Work, ...] = WORKS) -> list[dict]:
    """Rows of the table."""
    torch.set_num_threads(threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        lm = random_gpt2(Path(folder) / "model")
        command = [str(prepare()), str(HOME / "benchmarks" / "theirs.py"), f"{folder}/model", str(threads)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert json.loads(other.stdout.readline())["ready"]
            for work in works:
                rows.append(compare(lm, work, other, Path(folder), repeats))
                print(json.dumps(rows[-1]), flush=True)
            other.stdin.close()
    return rows


def compare(lm: LM, work: Work, other: subprocess.Popen, folder: Path, repeats: int) -> dict:
    generator = torch.Generator().manual_seed(work.tokens)
    shape = (work.prompts, work.tokens)
    base, source = (torch.randint(0, lm.d_vocab, shape, generator=generator) for _ in range(2))
    np.savez(folder / "prompts.npz", base=base.numpy(), source=source.numpy())
    everything = sites(work)
    chosen = np.linspace(0, len(everything) - 1, work.sample).round().astype(int)
    asked = {
        "work": work.name,
        "prompts": str(folder / "prompts.npz"),
        "sites": [everything[i] for i in chosen],
        "token": TOKEN,
        "out": str(folder / "theirs.npy"),
    }
    ours(lm, work, base, source)  # both warm: discoveries, caches, pages
    turn(other, {**asked, "sites": asked["sites"][:2]})
    taken: dict[str, list] = {"wall": [], "cpu": [], "ours wall": [], "ours cpu": [], "share": []}
    for _ in range(repeats):
        clocks = time.perf_counter(), time.process_time()
        found = ours(lm, work, base, source)
        mine = {"wall": time.perf_counter() - clocks[0], "cpu": time.process_time() - clocks[1]}
        theirs = turn(other, asked)
        for clock in ("wall", "cpu"):
            whole = theirs["record"][clock] + theirs["sites"][clock] / theirs["n"] * len(everything)
            taken[clock].append(whole / mine[clock])
            taken[f"ours {clock}"].append(mine[clock])
    values = np.load(folder / "theirs.npy")
    flat = (found.effects + found.base).reshape(-1, work.prompts)[chosen]
    difference = float(np.abs(flat - values).max())
    assert difference < 1e-4, difference
    assert found.verification.path == "fast"
    return {
        "work": f"{work.name}, {work.prompts} x {work.tokens}",
        "sites": len(everything),
        "reach": work.reach,
        "ratio wall": round(median(taken["wall"]), 1),
        "ratio cpu": round(median(taken["cpu"]), 1),
        "ours wall": round(median(taken["ours wall"]), 2),
        "ours cpu": round(median(taken["ours cpu"]), 2),
        "difference": difference,
        "largest effect": float(np.abs(found.effects).max()),
        "verified rows": found.verification.rows,
        "threads": torch.get_num_threads(),
        "repeats": repeats,
    }


def turn(other: subprocess.Popen, asked: dict) -> dict:
    assert other.stdin is not None
    assert other.stdout is not None
    other.stdin.write(json.dumps(asked) + "\n")
    other.stdin.flush()
    return json.loads(other.stdout.readline())
