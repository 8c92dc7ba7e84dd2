"""What looking inside costs: pooled vectors of every layer and the last token's attention in every head, against a plain forward.

GPT-2-small shape (12 layers x 12 heads x 768, random weights). Both sides read the same batches, unembedding left out on both;
turns alternate, the median of the ratios of processor time counts. Two kinds of prompts: passages alone, and behind a solved
example. Run: python -m benchmarks.icl_speed [--quick] [--turns 5] [--write]
"""

import statistics
import time

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.machine import options, report
from mnemoscope.engine.record import record
from mnemoscope.model.batch import Batch, batch_of_ids, tokenize
from mnemoscope.model.lm import LM, view
from mnemoscope.studies.icl import tasks
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.inside import inside

PROMISED = 1.3


def subject(quick: bool) -> LM:
    """Random weights; a tokenizer of the words that occur, one token each."""
    from mnemoscope.reference.planting.words import tokenizer_of

    texts = [p.text for p in tasks.asked(Config(), "passages", lambda text: len(text.split()))]
    words = sorted(
        {piece for text in texts for piece in text.replace(".", " . ").replace(":", " : ").replace("?", " ? ").split()}
    )
    sizes = {"n_layer": 4, "n_embd": 256, "n_head": 4} if quick else {}
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50257, **sizes)).eval()
    return view(model, tokenizer_of(tuple(words), n_ctx=1024), name="gpt2-shape")


def batches(lm: LM, size: int, count: int, condition: str) -> list[Batch]:
    """Passages under a condition, by length."""
    every = tasks.asked(Config(), "passages", lambda text: len(text.split()))
    prompts = sorted((p for p in every if p.labels["condition"] == condition), key=lambda p: len(p.text.split()))
    return [tokenize(lm, prompts[i : i + size]) for i in range(0, size * count, size)]


def plain(lm: LM, every: list[Batch]) -> None:
    """The decoder alone, nothing looked at."""
    for batch in every:
        bare = batch_of_ids(lm, [row[mask].tolist() for row, mask in zip(batch.ids, batch.mask, strict=True)])
        record(lm, bare, {}, bare.last[:, None], lambda layer, found: None)


def looking(lm: LM, every: list[Batch]) -> None:
    """What a job of kind "inside" does to a batch."""
    for batch in every:
        inside(lm, batch, Config().stored("passages"))


def compared(lm: LM, every: list[Batch], turns: int) -> tuple[float, float, float]:
    """Milliseconds of processor time per prompt of both ways, and the median of their ratios."""
    n = sum(len(batch) for batch in every)
    spent: dict[str, list[float]] = {"plain": [], "inside": []}
    for run in (plain, looking):
        run(lm, every)
    for _ in range(turns):
        for name, run in (("plain", plain), ("inside", looking)):
            start = time.process_time()
            run(lm, every)
            spent[name].append((time.process_time() - start) / n * 1000)
    ratio = statistics.median(b / a for a, b in zip(spent["plain"], spent["inside"], strict=True))
    return statistics.median(spent["plain"]), statistics.median(spent["inside"]), ratio


def main() -> None:
    """Print one row for each kind of prompt; with --write add them to RESULTS.md."""
    parser = options(__doc__)
    parser.add_argument("--quick", action="store_true", help="a small model, few prompts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    lm = subject(asked.quick)
    rows: list[tuple[str, ...]] = []
    for condition in ("none", "example"):
        every = batches(lm, 16, 1 if asked.quick else 2, condition)
        n = sum(len(batch) for batch in every)
        tokens = sum(int(batch.mask.sum()) for batch in every) / n
        without, with_, ratio = compared(lm, every, asked.turns)
        rows.append(
            (condition, str(n), f"{tokens:.0f}", f"{without:.1f}", f"{with_:.1f}", f"{ratio:.3f}", str(PROMISED))
        )
    head = ("condition", "prompts", "tokens", "plain, ms cpu", "inside, ms cpu", "ratio", "promised")
    size = f"{lm.n_layers} layers x {lm.n_heads} heads x {lm.d_model}, {asked.threads} thread(s), {asked.turns} turns"
    report(f"icl_speed, {size}", head, rows, write=asked.write)


if __name__ == "__main__":
    main()
