"""Head sweeps against our own floor: the FLOPs of two recordings and a descent at the matrix rate of this machine.

The rate is measured on the model's own matrix shapes with the rows that a descent has, in turns with the sweep.
"""

import time
from statistics import median

import torch

from benchmarks.against import BODY, TOKEN, random_gpt2
from mnemoscope.engine.sweep import sweep


def matrix_rate(rows: int = 640, seconds: float = 0.5) -> float:
    """FLOP per second of processor time on one block's four products."""
    widths = ((768, 2304), (768, 768), (768, 3072), (3072, 768))
    pairs = [(torch.randn(rows, a), torch.randn(a, b)) for a, b in widths]
    for x, w in pairs:
        x @ w
    began, flops = time.process_time(), 0.0
    while time.process_time() - began < seconds:
        for x, w in pairs:
            x @ w
            flops += 2 * x.shape[0] * w.numel()
    return flops / (time.process_time() - began)


def run(threads: int, repeats: int) -> list[dict]:
    """Rows of the table: processor time over floor."""
    torch.set_num_threads(threads)
    rows = []
    lm = random_gpt2()
    for tokens in (16, 64):
        generator = torch.Generator().manual_seed(tokens)
        base, source = (torch.randint(0, lm.d_vocab, (8, tokens), generator=generator) for _ in range(2))
        flops = 2 * BODY * (2 * 8 * tokens + 8 * 12 * sum(range(1, 13)) / 12)
        sweep(lm, base, source, site="z", tokens=TOKEN)
        ratios = []
        for _ in range(repeats):
            before = matrix_rate()
            began = time.process_time()
            sweep(lm, base, source, site="z", tokens=TOKEN)
            took = time.process_time() - began
            ratios.append(took / (flops / ((before + matrix_rate()) / 2)))
        rows.append({"work": f"z last, 8 x {tokens}", "over floor (cpu)": round(median(ratios), 2), "reach": 1.5})
        print(rows[-1], flush=True)
    return rows
