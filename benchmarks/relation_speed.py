"""The relation index of all heads, relations and variants against plain forward passes over the same tokens.

    python benchmarks/relation_speed.py [--quick] [--threads 2] [--documents 200] [--data AGENDA.tsv]

GPT-2-small shape with random weights; letter documents of AGENDA length (with --data the real abstracts, GPT-2's tokenizer being in
the folder given by --tokenizer), every opportunity, gates, all four variants, reverse, fake and 9 redrawn tails. Reach: <= 1.6, and
memory flat in the number of documents. Bootstrap and permutations apart. Turns alternate, so that a busy machine slows both sides.
"""

import argparse
import resource
import time
from itertools import pairwise
from statistics import median

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from mnemoscope.measures.relation_documents import BATCH, relation_statistics
from mnemoscope.measures.relation_pushes import Matrices
from mnemoscope.measures.relation_texts import RelationText, relation_text
from mnemoscope.model.batch import batch_of_ids, forward_inputs
from mnemoscope.model.lm import LM, view

WORDS, TRIPLES = (
    90,
    5,
)  # tokens and triples of an AGENDA abstract in letter mode without function words (methods.md P1.1)


def random_gpt2(folder: str | None) -> LM:
    """GPT-2 small with random weights, and a tokenizer of words or GPT-2's own."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config()).eval()
    if folder is not None:
        from transformers import PreTrainedTokenizerFast

        return view(model, PreTrainedTokenizerFast.from_pretrained(folder), name="gpt2-shape")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ["<unk>", *"BCDFGHJKLMOPQRTUVXYZ", *(f"w{i}" for i in range(5000))]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    return view(model, PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>"), name="gpt2-shape")


def invented(lm: LM, count: int) -> list[RelationText]:
    """Documents of AGENDA's length and number of entities and triples, each with words of its own: no redraws, the hardest case."""
    from mnemoscope.data.document import Document, Mention, Triple

    texts = []
    for number in range(count):
        rng = np.random.default_rng(number)
        letters = [str(x) for x in rng.permutation(list("BCDFGHJKLMOPQRTUVXYZ"))[:12]]
        words = [f"w{int(i)}" for i in rng.integers(0, 5000, WORDS)]
        for at, letter in zip(sorted(rng.choice(WORDS, 12, replace=False)), letters, strict=True):
            words[int(at)] = letter
        starts = np.cumsum([0, *(len(word) + 1 for word in words)])
        own = [i for i, word in enumerate(words) if word in letters]
        mentions = tuple(
            Mention(span=(int(starts[i]), int(starts[i]) + 1), entity=words[i], type="letter") for i in own
        )
        pairs = rng.choice(12, (TRIPLES, 2), replace=True)
        triples = tuple(Triple(head=int(h), relation=f"R{i}", tail=int(t)) for i, (h, t) in enumerate(pairs) if h != t)
        texts.append(
            relation_text(lm, Document(id=f"d{number}", text=" ".join(words), mentions=mentions, triples=triples))
        )
    return texts


def real(lm: LM, path: str, count: int) -> list[RelationText]:
    """Letter documents of real abstracts: letter redraws count as documents."""
    from mnemoscope.measures.relation_corpora import of_file

    return list(of_file(lm, path, documents=-(-count // 5)).texts(lm))[:count]


@torch.no_grad()
def forward(lm: LM, texts: list[RelationText]) -> None:
    """The model alone."""
    for start in range(0, len(texts), BATCH):
        batch = batch_of_ids(lm, [tuple(text.ids.tolist()) for text in texts[start : start + BATCH]])
        lm.model(**forward_inputs(lm, batch), use_cache=False)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="16 documents, 2 turns")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--data", help="an AGENDA file")
    parser.add_argument("--tokenizer", help="folder with GPT-2's tokenizer")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    lm = random_gpt2(asked.tokenizer)
    count = 16 if asked.quick else asked.documents
    texts = real(lm, asked.data, count) if asked.data else invented(lm, count)
    step = max(BATCH, len(texts) // (2 if asked.quick else 5) // BATCH * BATCH)
    forward(lm, texts[:BATCH])
    finding = finding_weights(lm)
    relation_statistics(lm, texts[:BATCH], draws=9)
    turns: list[list[float]] = []
    for start in range(0, len(texts), step):
        part = texts[start : start + step]
        times = [clocks()]
        forward(lm, part)
        times.append(clocks())
        relation_statistics(lm, part, draws=9)
        times.append(clocks())
        turns.append([b - a for x, y in pairwise(times) for a, b in zip(x, y, strict=True)])
        plain, plain_cpu, whole, whole_cpu = turns[-1]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        ratios = f"wall {whole / plain:.2f}, cpu {whole_cpu / plain_cpu:.2f}"
        print(f"{start + len(part):4d} documents: {ratios}, peak {peak:.2f} GiB", flush=True)
    wall, cpu = (median(turn[2 + i] / turn[i] for turn in turns) for i in (0, 1))
    once = finding / sum(turn[1] for turn in turns) * len(texts) / asked.documents
    tokens = sum(len(text.ids) for text in texts) / len(texts)
    print(f"median wall {wall:.2f}, cpu {cpu:.2f} over {len(turns)} turns, {tokens:.0f} tokens a document; reach 1.6")
    print(f"finding the weights, once for a model, adds {once:.2f} to {asked.documents} documents")


def clocks() -> tuple[float, float]:
    """Wall and processor time."""
    return time.perf_counter(), time.process_time()


def finding_weights(lm: LM) -> float:
    """Processor time of finding value and output weights, which is done once for a model and kept with it."""
    start = time.process_time()
    for layer in range(lm.n_layers):
        Matrices.of(lm, layer)
    return time.process_time() - start


if __name__ == "__main__":
    main()
