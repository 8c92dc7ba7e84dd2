"""How long the first model takes: `ms.load("reference")` in a fresh process that has imported torch, all other imports included.

Beside it, in turns, transformers' own `from_pretrained` on the same folder, model and tokenizer: what it costs without us.
Wall time, medians; the ratio is the median of the turns'. Run: python -m benchmarks.load_speed [--turns 5] [--write]
"""

import statistics
import subprocess
import sys

from benchmarks.machine import options, report
from mnemoscope.model import bundled

PROMISED = 2.0
_CLOCK = "import torch, time; start = time.perf_counter()\n{code}\nprint(time.perf_counter() - start)"
_THEIRS = (
    "from transformers import AutoModelForCausalLM as M, AutoTokenizer as T\n"
    "M.from_pretrained({folder!r}); T.from_pretrained({folder!r})"
)


def seconds(code: str) -> float:
    """Wall time of some code behind `import torch`, in a process of its own."""
    line = [sys.executable, "-c", _CLOCK.format(code=code)]
    return float(subprocess.run(line, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> None:
    """Print one row; with --write add it to RESULTS.md."""
    parser = options(__doc__)
    parser.add_argument("--turns", type=int, default=5)
    asked = parser.parse_args()
    ours, theirs = "import mnemoscope as ms\nms.load('reference')", _THEIRS.format(folder=str(bundled.path()))
    seconds(ours)  # files are read once, and compiled
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(asked.turns)]
    mine = sorted(pair[0] for pair in pairs)
    row = (
        f"{statistics.median(mine):.2f}",
        f"{mine[0]:.2f} to {mine[-1]:.2f}",
        f"{statistics.median(pair[1] for pair in pairs):.2f}",
        f"{statistics.median(a / b for a, b in pairs):.2f}",
        f"{PROMISED:g}",
    )
    head = ("ms.load, s", "from, to", "transformers alone, s", "ratio", "promised, s")
    report(f"load_speed, {asked.turns} turns", head, [row], write=asked.write)


if __name__ == "__main__":
    main()
