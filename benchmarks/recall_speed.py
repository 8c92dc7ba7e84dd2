"""The head map of recall, step 2 (interchange at the last position), in units of the plain forward passes of its two runs.

    python -m benchmarks.recall_speed [--threads 1] [--prompts 225] [--quick]

GPT-2-small shape with random weights, all 144 heads, verification on. Reach: at most 3. The two take turns, so that a busy machine
slows both; processor time with one thread, wall time with more. Plain: `model(input_ids)` on the base and on the source prompts, as
anyone calls it. Lean: the same with the logits of the last token only, which no library does by itself; shown beside it.
"""

import argparse
import time
from statistics import median

import torch

from benchmarks.against import random_gpt2
from mnemoscope.engine.sweep import sweep
from mnemoscope.model.lm import LM

TOKENS = 16  # of a prompt: opener, template, topic
BATCH = 75  # prompts of one plain forward pass
REACH = 3.0


def plain(lm: LM, *runs: torch.Tensor, **lean: int) -> None:
    """The forward passes of all runs."""
    with torch.no_grad():
        for ids in runs:
            for some in ids.split(BATCH):
                lm.model(input_ids=some, use_cache=False, **lean)


def head_map(lm: LM, base: torch.Tensor, source: torch.Tensor, tokens: list[int]) -> int:
    """Effects of all heads on pi of the answer; the number of rows that were recomputed to check them."""
    found = sweep(lm, base, source, site="z", positions="last", tokens=tokens, metric="logit_minus_mean")
    return found.verification.rows


def run(threads: int, repeats: int, prompts: int = 225) -> list[dict]:
    """One row: seconds of both, and the median of the ratios of turns."""
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    lm = random_gpt2()
    generator = torch.Generator().manual_seed(1)
    base, source = (torch.randint(1000, 40000, (prompts, TOKENS), generator=generator) for _ in range(2))
    source[:, :4] = base[:, :4]  # the opener is the same
    tokens = base[:, -1].tolist()
    plain(lm, base[:4], source[:4])
    head_map(lm, base[:4], source[:4], tokens[:4])  # discoveries are made once per model
    seconds: list[tuple[float, float, float]] = []
    checked = 0
    for _ in range(repeats):
        times = [clock()]
        plain(lm, base, source)
        times.append(clock())
        plain(lm, base, source, logits_to_keep=1)
        times.append(clock())
        checked = head_map(lm, base, source, tokens)
        times.append(clock())
        seconds.append((times[1] - times[0], times[2] - times[1], times[3] - times[2]))
    return [
        {
            "prompts": prompts,
            "tokens": TOKENS,
            "sites": lm.n_layers * lm.n_heads,
            "threads": threads,
            "two plain runs (s)": round(median(one for one, _, _ in seconds), 2),
            "lean (s)": round(median(lean for _, lean, _ in seconds), 2),
            "head map (s)": round(median(ours for *_, ours in seconds), 2),
            "ratio": round(median(ours / one for one, _, ours in seconds), 2),
            "reach": REACH,
            "ratio to lean": round(median(ours / lean for _, lean, ours in seconds), 2),
            "rows recomputed": checked,
        }
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=225)
    parser.add_argument("--quick", action="store_true", help="45 prompts, once")
    asked = parser.parse_args()
    prompts, repeats = (45, 1) if asked.quick else (asked.prompts, asked.repeats)
    for row in run(asked.threads, repeats, prompts):
        print("; ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
