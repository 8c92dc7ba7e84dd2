"""Train the reference model: `python -m mnemoscope.reference.train FOLDER`, resumable, on a CPU in half an hour.

`--preset sibling --seed S` trains one of the smaller models whose figures stand in the model card. Every step draws the same
mixture (`world.BUCKETS`) from a generator seeded by (seed, step), so a run that was stopped goes on exactly where its last
state lies. With `--steps 0` the number of steps is fixed after a timing of 100 steps; it is stored beside the configuration,
and a folder that holds another configuration is refused.
Hidden matrices are trained with Muon, embeddings and gains with AdamW; the learning rate rises for `warmup` steps, stays, and
falls to zero over the last `cooldown` share of the run.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from mnemoscope.reference import train_folder, world
from mnemoscope.reference.commands import told
from mnemoscope.reference.decoder import Decoder, summed_loss
from mnemoscope.reference.train_config import PRESETS, TrainConfig, checked, llama_config, saved_steps, scale

TIMED = 100  # steps that are timed before the schedule is fixed
SAVE_SECONDS = 300.0
Loss = Callable[[Decoder, Tensor, Tensor], Tensor]


def batch(step: int, config: TrainConfig, tokenizer: PreTrainedTokenizerFast) -> Iterator[tuple[Tensor, Tensor]]:
    """Ids and weights of one step, bucket after bucket; a function of (seed, step) alone."""
    rng = np.random.default_rng([config.seed, step])
    for bucket in world.BUCKETS:
        if step % bucket.every:
            continue
        ids, weight = world.rows(bucket, bucket.taken(config.rows), tokenizer, rng)
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


def train(folder: Path, config: TrainConfig, *, workers: int = 1, steps: int = 0, compiled: bool = True) -> None:
    """Run or resume a training until its last step; see the module's paragraph.

    Each worker is a process with one thread that works off its share of every bucket; gradients are summed once per step. On a
    machine that others use too this is several times faster than two threads, which wait for each other in every product.
    """
    checked(config, steps=steps, workers=workers)
    train_folder.planned(folder, config, world.tokenizer(), steps)
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
    step, steps = train_folder.restored(folder, model, solvers), train_folder.read_record(folder)["steps"]
    forward = torch.compile(_loss, dynamic=False) if compiled else _loss
    if rank == 0:
        print(f"{folder}: from step {step}{', compiling first' if compiled else ''}", flush=True)  # noqa: T201
    began = saved = time.monotonic()
    while step < (steps or TIMED + 1):
        if rank == 0 and step in saved_steps(steps or 10**6):
            train_folder.keep(folder, step, model)
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
            row = {"step": step, "loss": round(loss, 4), "time": round(time.time()), **probe(model, tokenizer)}
            train_folder.log(folder, row)
            print(f"step {step} of {steps or '?'}: loss {loss:.3f}", flush=True)  # noqa: T201
        if rank == 0 and (time.monotonic() - saved > SAVE_SECONDS or step == steps):
            train_folder.save_state(folder, step, model, solvers)
            saved = time.monotonic()
    if rank == 0:
        train_folder.keep(folder, step, model)


def _fixed(folder: Path, config: TrainConfig, seconds: float) -> int:
    """The number of steps, TIMED at least, that fills the planned minutes at this many seconds a step; the same for all
    workers, and stored."""
    slowest = torch.tensor(seconds)
    if dist.is_initialized():
        dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
    steps = max(TIMED, int(config.minutes * 60 / slowest.item()))
    if not dist.is_initialized() or dist.get_rank() == 0:
        train_folder.write_record(folder, {**train_folder.read_record(folder), "steps": steps})
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
    told(main)
