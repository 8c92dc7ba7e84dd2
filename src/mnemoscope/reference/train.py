"""Train the reference model: `python -m mnemoscope.reference.train FOLDER`, resumable, on a CPU in half an hour.

`--preset sibling --seed S` trains one of the smaller models whose figures stand in the model card. Every step draws the same
mixture (`world.BUCKETS`) from a generator seeded by (seed, step), so a run that was stopped goes on exactly where its last
state lies. With `--steps 0` the number of steps is fixed after a timing of 100 steps; it is stored beside the configuration,
and a folder that holds another configuration is refused.
Hidden matrices are trained with Muon, embeddings and gains with AdamW; the learning rate rises for `warmup` steps, stays, and
falls to zero over the last `cooldown` share of the run.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from transformers import LlamaConfig, PreTrainedTokenizerFast

from mnemoscope.errors import RunFolderError
from mnemoscope.reference import tokenizer as tokenization
from mnemoscope.reference import world
from mnemoscope.reference.decoder import Decoder, summed_loss

TIMED = 100  # steps that are timed before the schedule is fixed
SAVE_SECONDS = 300.0
SHIPPED = 4500  # steps of the bundled model: half an hour on one core that has nothing else to do
Loss = Callable[[Decoder, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What identifies a training run; every field is part of the folder's identity."""

    seed: int = 0
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    n_kv_heads: int = 4
    d_head: int = 32
    d_mlp: int = 320
    n_ctx: int = 768
    rate: float = 2e-3  # of embeddings
    gain_rate: float = 3e-3
    muon_rate: float = 4e-3
    warmup: int = 100
    cooldown: float = 0.65
    decay: float = 0.1
    rows: float = 0.75  # share of the rows of each bucket in one step
    minutes: float = 70.0  # what the schedule aims at


# A preset and its number of steps: what ships, and what is trained with the seeds 1, 2 and 3 to see how far seeds differ.
PRESETS: Final = {
    "bundled": (TrainConfig(), SHIPPED),
    "sibling": (TrainConfig(seed=1, d_model=64, d_head=16, d_mlp=160, rows=0.5), 3000),
}


def llama_config(config: TrainConfig, d_vocab: int) -> LlamaConfig:
    """The transformers configuration of the model that is trained."""
    return LlamaConfig(
        vocab_size=d_vocab,
        hidden_size=config.d_model,
        intermediate_size=config.d_mlp,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_kv_heads,
        head_dim=config.d_head,
        max_position_embeddings=config.n_ctx,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        dtype="bfloat16",
    )


def saved_steps(last: int) -> tuple[int, ...]:
    """Steps at which weights are kept: powers of two, then denser than logarithmic where abilities emerge, and the last."""
    early = {0, *(2**i for i in range(3, 7)), *range(100, 1001, 50), *range(1100, last, 100)}
    return tuple(sorted({s for s in early if s < last} | {last}))


def scale(step: int, steps: int, config: TrainConfig) -> float:
    """Learning-rate factor of a step: linear rise, plateau, linear fall to zero at `steps`."""
    fall = max(1.0, config.cooldown * steps)
    return min(1.0, (step + 1) / config.warmup, max(0.0, (steps - step) / fall))


def batch(step: int, config: TrainConfig, tokenizer: PreTrainedTokenizerFast) -> Iterator[tuple[Tensor, Tensor]]:
    """Ids and weights of one step, bucket after bucket; a function of (seed, step) alone."""
    rng = np.random.default_rng([config.seed, step])
    for bucket in world.BUCKETS:
        if step % bucket.every:
            continue
        ids, weight = world.rows(bucket, max(1, round(bucket.rows * config.rows)), tokenizer, rng)
        yield torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(weight)


def optimizers(model: Decoder, config: TrainConfig) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices of the blocks, AdamW for embeddings, and for gains; in the order of `rates`."""
    named = list(model.named_parameters())
    hidden = [p for name, p in named if p.ndim == 2 and ".layers." in name]
    embeddings = [p for name, p in named if p.ndim == 2 and ".layers." not in name]
    gains = [p for _, p in named if p.ndim == 1]
    muon = torch.optim.Muon(
        hidden, lr=config.rate, weight_decay=config.decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    tables = torch.optim.AdamW(
        embeddings, lr=config.rate, betas=(0.9, 0.98), weight_decay=config.decay / 10, fused=True
    )
    return muon, tables, torch.optim.AdamW(gains, lr=config.gain_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)


def probe(model: Decoder, tokenizer: PreTrainedTokenizerFast, rows: int = 12) -> dict[str, tuple[float, float]]:
    """Per document kind: mean loss and top-1 accuracy on the tokens that weigh at least a half, on fixed fresh documents."""
    found: dict[str, tuple[float, float]] = {}
    for bucket in world.BUCKETS:
        for kind, _ in bucket.shares:
            rng = np.random.default_rng([99, len(found)])
            docs = [world.document(kind, bucket.length, rng) for _ in range(rows if bucket.length < 640 else 4)]
            ids, weight = world.encoded(docs, bucket.length, tokenizer, rng)
            with torch.no_grad():
                logits = model(torch.from_numpy(ids.astype(np.int64))).float()[:, :-1]
            target = torch.from_numpy(ids.astype(np.int64))[:, 1:]
            heavy = torch.from_numpy(weight)[:, 1:] >= 0.5
            loss = torch.nn.functional.cross_entropy(logits[heavy], target[heavy]).item()
            found[f"{kind}{bucket.length}"] = (
                round(loss, 3),
                round((logits.argmax(-1) == target)[heavy].float().mean().item(), 3),
            )
    return found


def planned(folder: Path, config: TrainConfig, tokenizer: PreTrainedTokenizerFast, steps: int = 0) -> dict[str, object]:
    """The run's record: created in an empty folder, read in its own one; RunFolderError in any other.

    `steps` fixes the schedule instead of the timing; it may be changed as long as the learning rate has not begun to fall,
    because up to there the schedule does not depend on it.
    """
    asked = {**asdict(config), "tokenizer": tokenization.digest(tokenizer)}
    record = folder / "run.json"
    if not record.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise RunFolderError(
                f"{folder} is not a training folder", found="files, but no run.json", hint="take an empty one"
            )
        record.write_text(json.dumps({"config": asked, "steps": steps}, indent=1))
    held = json.loads(record.read_text())
    differing = [k for k in asked if held["config"].get(k) != asked[k]]
    if differing:
        raise RunFolderError(
            f"{folder} already holds another configuration",
            found=", ".join(f"{k}={held['config'].get(k)!r}" for k in differing),
            allowed=", ".join(f"{k}={asked[k]!r}" for k in differing),
            hint="take another folder, or the same settings",
        )
    if steps and steps != held["steps"]:
        reached = _reached(folder)
        first = min(n for n in (steps, held["steps"] or steps)) * (1 - config.cooldown)
        if reached > first:
            raise RunFolderError(
                f"{folder} cannot be given another number of steps",
                found=f"step {reached}, the learning rate falls from step {first:.0f} on",
                allowed=f"{held['steps']} steps",
            )
        record.write_text(json.dumps({"config": asked, "steps": steps}, indent=1))
    return json.loads(record.read_text())


def train(folder: Path, config: TrainConfig, *, workers: int = 2, steps: int = 0, compiled: bool = True) -> None:
    """Run or resume a training until its last step; see the module's paragraph.

    Each worker is a process with one thread that works off its share of every bucket; gradients are summed once per step. On a
    machine that others use too this is several times faster than two threads, which wait for each other in every product.
    """
    tokenizer = world.tokenizer()
    planned(folder, config, tokenizer, steps)
    if workers == 1:
        _work(0, 1, folder, config, compiled)
        return
    meeting = folder / "meeting"
    meeting.unlink(missing_ok=True)
    torch.multiprocessing.spawn(_work, args=(workers, folder, config, compiled), nprocs=workers)  # type: ignore[attr-defined]


def _work(rank: int, workers: int, folder: Path, config: TrainConfig, compiled: bool) -> None:
    torch.set_num_threads(1)
    if workers > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=workers)
    tokenizer = world.tokenizer()
    model = Decoder(llama_config(config, len(tokenizer)), torch.Generator().manual_seed(config.seed))
    solvers = optimizers(model, config)
    step, steps = _restored(folder, model, solvers), _steps(folder)
    forward = torch.compile(_loss, dynamic=False) if compiled else _loss
    began = saved = time.monotonic()
    while step < (steps or TIMED + 1):
        if rank == 0 and step in saved_steps(steps or 10**6):
            _keep(folder, step, model)
        parts = [(ids[rank::workers], weight[rank::workers]) for ids, weight in batch(step, config, tokenizer)]
        factor = scale(step, steps or 10**6, config)
        rates = (factor * config.muon_rate, factor * config.rate, factor * config.gain_rate)
        loss = _one_step(model, solvers, forward, parts, rates)
        step += 1
        if step == TIMED // 5:
            began = time.monotonic()  # compilation is not counted
        if step == TIMED and not steps:
            steps = _fixed(folder, config, (time.monotonic() - began) / (TIMED - TIMED // 5))
        if rank == 0 and (step % (100 if step <= 600 else 300) == 0 or step == steps):
            _logged(
                folder, {"step": step, "loss": round(loss, 4), "time": round(time.time()), **probe(model, tokenizer)}
            )
        if rank == 0 and (time.monotonic() - saved > SAVE_SECONDS or step == steps):
            _save_state(folder, step, model, solvers)
            saved = time.monotonic()
    if rank == 0:
        _keep(folder, step, model)


def _steps(folder: Path) -> int:
    return int(json.loads((folder / "run.json").read_text())["steps"])


def _fixed(folder: Path, config: TrainConfig, seconds: float) -> int:
    """The number of steps that fills the planned minutes at this many seconds a step; agreed on by all workers, and stored."""
    slowest = torch.tensor(seconds)
    if dist.is_initialized():
        dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
    steps = int(config.minutes * 60 / slowest.item())
    if not dist.is_initialized() or dist.get_rank() == 0:
        record = json.loads((folder / "run.json").read_text())
        record["steps"] = steps
        (folder / "run.json").write_text(json.dumps(record, indent=1))
    return steps


def _loss(model: Decoder, ids: Tensor, weight: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(ids)
    return summed_loss(logits, ids, weight)


def _one_step(
    model: Decoder,
    solvers: Sequence[torch.optim.Optimizer],
    forward: Loss,
    parts: Sequence[tuple[Tensor, Tensor]],
    rates: Sequence[float],
) -> float:
    totals = torch.zeros(2)  # weighted loss, weight
    for ids, weight in parts:
        loss = forward(model, ids, weight)
        loss.backward()
        totals += torch.stack((loss.detach(), weight[:, 1:].sum()))
    gradients = torch.cat([totals, *(p.grad.flatten() for p in model.parameters() if p.grad is not None)])
    if dist.is_initialized():
        dist.all_reduce(gradients)
    total, mass = gradients[:2].tolist()
    pieces = (gradients[2:] / mass).split([p.numel() for p in model.parameters()])
    for parameter, piece in zip(model.parameters(), pieces, strict=True):
        parameter.grad = piece.view_as(parameter)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for solver, rate in zip(solvers, rates, strict=True):
        for group in solver.param_groups:
            group["lr"] = rate
        solver.step()
        solver.zero_grad(set_to_none=True)
    return total / mass


def _keep(folder: Path, step: int, model: Decoder) -> None:
    """Write weights in bf16 as a folder that transformers can load."""
    from safetensors.torch import save_file

    target = folder / f"step{step}"
    target.mkdir(exist_ok=True)
    weights = {name: v.detach().to(torch.bfloat16).contiguous() for name, v in model.state_dict().items()}
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})


def _save_state(folder: Path, step: int, model: Decoder, solvers: Sequence[torch.optim.Optimizer]) -> None:
    state = {"step": step, "model": model.state_dict(), "solvers": [s.state_dict() for s in solvers]}
    torch.save(state, folder / "state.new")
    (folder / "state.new").replace(folder / "state.pt")


def _reached(folder: Path) -> int:
    """The step of the last state, 0 without one."""
    state = folder / "state.pt"
    return int(torch.load(state, weights_only=True)["step"]) if state.exists() else 0


def _restored(folder: Path, model: Decoder, solvers: Sequence[torch.optim.Optimizer]) -> int:
    if not (folder / "state.pt").exists():
        return 0
    state = torch.load(folder / "state.pt", weights_only=True)
    model.load_state_dict(state["model"])
    for solver, held in zip(solvers, state["solvers"], strict=True):
        solver.load_state_dict(held)
    return int(state["step"])


def _logged(folder: Path, row: dict[str, object]) -> None:
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def main() -> None:
    """Command line: every field of TrainConfig is an option, the preset gives what is not asked for."""
    parser = argparse.ArgumentParser(prog="python -m mnemoscope.reference.train", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", choices=tuple(PRESETS), default="bundled")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--steps", type=int, help="of the schedule; 0: what fills --minutes, timed")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    for name, value in asdict(TrainConfig()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    config, steps = PRESETS[parser.parse_known_args()[0].preset]
    parser.set_defaults(**asdict(config), steps=steps)
    asked = vars(parser.parse_args())
    folder, workers, steps, eager, _ = (asked.pop(k) for k in ("folder", "workers", "steps", "eager", "preset"))
    train(folder, TrainConfig(**asked), workers=workers, steps=steps, compiled=not eager)


if __name__ == "__main__":
    main()
