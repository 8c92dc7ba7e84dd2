"""TransformerLens, in its own environment: answers one job per line of standard input with one line of JSON.

Run by `benchmarks.against`; knows nothing of mnemoscope. A job names a sweep, a file with prompts, the sites to run (an
even sample of the grid: the loop costs the same for every site), and where to put the patched logits.
"""

import json
import sys
import time
import warnings

import numpy as np
import pandas as pd
import torch
from transformer_lens import patching
from transformer_lens.model_bridge import TransformerBridge


def setter(site):
    def z_last(activation, index, clean):
        _, head = index
        activation[:, -1, head] = clean[:, -1, head]
        return activation

    def z_each(activation, index, clean):
        _, head, position = index
        activation[:, position, head] = clean[:, position, head]
        return activation

    def resid_each(activation, index, clean):
        _, position = index
        activation[:, position] = clean[:, position]
        return activation

    return {"z last": z_last, "z each": z_each, "resid_post each": resid_each}[site]


@torch.no_grad()
def job(model, asked):
    data = np.load(asked["prompts"])
    base, source = torch.from_numpy(data["base"]), torch.from_numpy(data["source"])
    sites = pd.DataFrame(asked["sites"], columns=["layer", "head", "pos"][: len(asked["sites"][0])])
    token = asked["token"]
    clocks = time.perf_counter(), time.process_time()
    _, cache = model.run_with_cache(source)
    recorded = time.perf_counter(), time.process_time()
    result = patching.generic_activation_patch(
        model,
        base,
        cache,
        lambda logits: logits[:, -1, token],
        setter(asked["work"]),
        asked["work"].split()[0],
        index_df=sites,
        reduce="none",
    )
    done = time.perf_counter(), time.process_time()
    np.save(asked["out"], result.values.numpy())
    names = ("wall", "cpu")
    return {
        "record": {name: b - a for name, a, b in zip(names, clocks, recorded, strict=True)},
        "sites": {name: b - a for name, a, b in zip(names, recorded, done, strict=True)},
        "n": len(sites),
    }


def main():
    warnings.simplefilter("ignore")
    folder, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    out, sys.stdout = sys.stdout, sys.stderr
    model = TransformerBridge.boot_transformers(folder, device="cpu")
    print(json.dumps({"ready": True}), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(job(model, json.loads(line))), file=out, flush=True)


main()
