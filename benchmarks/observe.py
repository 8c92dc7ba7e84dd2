"""What looking costs: a trace against the model's body, a decomposition with attribution against the plain model."""

import time
from collections.abc import Callable
from statistics import median

import torch

from benchmarks.against import TOKEN, random_gpt2
from mnemoscope.engine.decompose import decompose
from mnemoscope.engine.readout import attribute
from mnemoscope.engine.record import trace


def ratio(mine: Callable[[], object], plain: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Medians of (wall, processor) time of one over the other, in turns."""
    found: list[tuple[float, float]] = []
    for _ in range(repeats + 1):  # the first turn warms both
        clocks = []
        for call in (plain, mine):
            began = time.perf_counter(), time.process_time()
            call()
            clocks.append((time.perf_counter() - began[0], time.process_time() - began[1]))
        found.append((clocks[1][0] / clocks[0][0], clocks[1][1] / clocks[0][1]))
    return median(wall for wall, _ in found[1:]), median(cpu for _, cpu in found[1:])


def run(threads: int, repeats: int) -> list[dict]:
    """Rows of the table."""
    torch.set_num_threads(threads)
    lm = random_gpt2()
    ids = torch.randint(0, lm.d_vocab, (64, 64), generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def body() -> object:
        return lm.model.get_decoder()(input_ids=ids, use_cache=False)

    @torch.no_grad()
    def model() -> object:
        return lm.model(input_ids=ids, use_cache=False)

    works = (
        ("trace of z and resid_post at the last position, 64 x 64, against the body", 1.15, body,
         lambda: trace(lm, ids, sites=("z", "resid_post"), positions="last")),
        ("decomposition and attribution to one token, 64 x 64, against model(ids)", 1.3, model,
         lambda: attribute(decompose(lm, ids), [TOKEN] * 64)),
    )  # fmt: skip
    rows = []
    for work, reach, plain, mine in works:
        wall, cpu = ratio(mine, plain, repeats)
        rows.append({"work": work, "ratio wall": round(wall, 3), "ratio cpu": round(cpu, 3), "reach": reach})
        print(rows[-1], flush=True)
    return rows
