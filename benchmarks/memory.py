"""Peak memory of a head sweep with 64 prompts against 8, equal budget; each in a process of its own."""

import subprocess
import sys
from pathlib import Path


def peak(prompts: int) -> int:
    """Peak resident bytes of a process that sweeps."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", str(prompts)], check=True, capture_output=True, text=True
    )
    return int(done.stdout.strip().splitlines()[-1])


def run(threads: int, repeats: int) -> list[dict]:
    few, many = peak(8), peak(64)
    row = {
        "work": "z last, 64 x 64 against 8 x 64, budget 256MiB",
        "ratio": round(many / few, 3),
        "reach": 1.15,
        "MiB": [few >> 20, many >> 20],
    }
    print(row, flush=True)
    return [row]


def main(prompts: int) -> None:
    import torch

    from benchmarks.against import TOKEN, random_gpt2
    from mnemoscope.engine.sweep import sweep

    torch.set_num_threads(2)
    lm = random_gpt2()
    generator = torch.Generator().manual_seed(prompts)
    base, source = (torch.randint(0, lm.d_vocab, (prompts, 64), generator=generator) for _ in range(2))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making the model
    found = sweep(lm, base, source, site="z", tokens=TOKEN, budget="256MiB")
    assert found.verification.path == "fast"
    status = Path("/proc/self/status").read_text().splitlines()
    print(1024 * int(next(line.split()[1] for line in status if line.startswith("VmHWM"))))


if __name__ == "__main__":
    main(int(sys.argv[1]))
