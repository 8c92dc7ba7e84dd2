"""RSA of 1,000 prompts x 24 layers x 1,024 dimensions with 1,000 permutations, against rsatoolbox on the same cores.

rsatoolbox has no permutation of hypothesis units: its part is what a user writes, `calc_rdm` per layer and `compare` per permuted
hypothesis. A few permutations are timed and multiplied. Run: python benchmarks/rsa_speed.py [--small]
"""

import argparse
import time
import warnings

import numpy as np

from mnemoscope.stats.rdm import numeric, rdm
from mnemoscope.stats.rsa import align

PERMUTATIONS = 1000
TIMED = 3


def ours(layers: list[np.ndarray], value: np.ndarray, unit: np.ndarray) -> float:
    start = time.perf_counter()
    rdms = np.stack([rdm(x, metric="correlation") for x in layers])
    align(rdms, numeric(value[unit]), unit, rng=np.random.default_rng(0), n_perm=PERMUTATIONS)
    return time.perf_counter() - start


def theirs(layers: list[np.ndarray], value: np.ndarray, unit: np.ndarray) -> float:
    import rsatoolbox

    start = time.perf_counter()
    sets = [rsatoolbox.data.Dataset((x - x.mean(0)) / x.std(0)) for x in layers]
    rdms = rsatoolbox.rdm.concat([rsatoolbox.rdm.calc_rdm(s, method="correlation") for s in sets])
    made = time.perf_counter() - start
    rng, start = np.random.default_rng(0), time.perf_counter()
    for _ in range(TIMED):
        hypothesis = rsatoolbox.rdm.RDMs(numeric(rng.permutation(value)[unit])[None])
        rsatoolbox.rdm.compare(rdms, hypothesis, method="spearman")
    return made + (time.perf_counter() - start) / TIMED * PERMUTATIONS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="200 prompts x 4 layers x 128 dimensions")
    n, depth, d = (200, 4, 128) if parser.parse_args().small else (1000, 24, 1024)
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(n, d)) for _ in range(depth)]
    for n_units in (20, n):
        unit, value = np.arange(n) % n_units, rng.normal(size=n_units)
        mine, other = ours(layers, value, unit), theirs(layers, value, unit)
        print(
            f"{n} prompts, {depth} layers, {d} dims, {n_units} units: {mine:.1f} s, rsatoolbox {other:.0f} s, {other / mine:.0f}x"
        )


if __name__ == "__main__":
    main()
