"""The streaming pass against a slow, literal computation with plain hooks on a tiny model: every variant, every head."""

import pytest
import torch
from transformers import PreTrainedTokenizerFast


def letter_tokenizer(size):
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {"<s>": 0, **{f"w{i}": i for i in range(1, size)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def document(seed, length=16, triples=((2, 5), (9, 4))):
    from mnemoscope.data.document import Document, Mention, Triple

    generator = torch.Generator().manual_seed(seed)
    words = [f"w{int(i)}" for i in torch.randperm(40, generator=generator)[:length] + 1]
    starts = [sum(len(w) + 1 for w in words[:i]) for i in range(length)]
    mentions = tuple(
        Mention(span=(s, s + len(w)), entity=w, type="even" if i % 2 else "odd")
        for i, (s, w) in enumerate(zip(starts, words, strict=True))
    )
    return Document(
        id=f"d{seed}",
        text=" ".join(words),
        mentions=mentions,
        triples=tuple(Triple(head=h, relation="r", tail=t) for h, t in triples),
    )


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def lm(request):
    from mnemoscope.model.lm import view
    from mnemoscope.model.tiny import tiny

    return view(tiny(request.param), letter_tokenizer(60))


def slow(lm, ids, event, e, layer, head, variant):
    """Share of the tail by the definition: whole vectors, whole vocabulary, float64, plain hooks."""
    from mnemoscope.model import weights
    from mnemoscope.model.head import final_norm

    seen = {}
    block = lm.blocks[layer]
    attention = lm.attentions[layer]
    output = attention.c_proj if hasattr(attention, "c_proj") else attention.o_proj

    def keep_z(module, args):
        seen["z"] = args[0][0]

    hook = output.register_forward_pre_hook(keep_z)
    stream = {}
    last = lm.blocks[-1].register_forward_hook(
        lambda m, a, out: stream.update(r=(out[0] if isinstance(out, tuple) else out)[0])
    )
    lm.model(ids[None], use_cache=False, output_attentions=False)
    hook.remove()
    last.remove()
    assert block is not None
    j, s = int(event.query[e]), int(event.source[e])
    kv = lm.kv_head_of[head]
    W_V, W_O = weights.W_V(lm, layer)[kv].double(), weights.W_O(lm, layer)[head].double()
    W_U, norm = weights.W_U(lm).double(), final_norm(lm)
    fold = norm.gain.double()[:, None] * W_U
    fold = fold - fold.mean(0) if norm.centres else fold
    scale = float(norm.scale(stream["r"][j].double()))
    d = lm.d_head
    if variant in ("lit", "src"):
        token = ids[j] if variant == "lit" else ids[s]
        logits = weights.W_E(lm)[token].double() @ W_V @ W_O @ W_U
    elif variant == "out":
        logits = seen["z"][j, head * d : (head + 1) * d].double() @ W_O @ fold / scale
    else:
        from mnemoscope.engine.record import trace

        value = trace(lm, ids[None], sites=("v",), positions="all").at("v", layer)[0, s, kv]
        logits = value.double() @ W_O @ fold / scale
    p = torch.softmax(logits, -1)
    visible = sorted(set(ids[: j + 1].tolist()))
    mean = sum(float(p[u]) for u in visible) / len(visible)
    q = {u: max(0.0, float(p[u]) - mean) for u in visible}
    return q[int(ids[int(event.target[e])])] / sum(q.values())


def test_every_variant_equals_the_slow_way_in_every_layer(lm):
    from mnemoscope.measures.relation_pass import VARIANTS, measure_texts
    from mnemoscope.measures.relation_texts import relation_text

    texts = [relation_text(lm, document(0)), relation_text(lm, document(1, length=12))]  # padded beside each other
    with torch.no_grad():
        found = measure_texts(lm, texts, [None, None])
        for one in found:
            for layer, done in one.layers.items():
                assert set(done.shares) == set(VARIANTS)
                head = (2 * layer + 1) % lm.n_heads  # another head in every layer: whole forward passes are slow
                for e, (variant, shares) in enumerate(done.shares.items()):
                    expected = slow(lm, one.text.ids, one.events, e, layer, head, variant)
                    assert abs(float(shares.index[head, e]) - expected) < 1e-5, (variant, layer, head)


def test_gate_reads_the_models_own_attention(lm):
    from mnemoscope.engine.record import trace
    from mnemoscope.measures.relation_pass import measure_texts
    from mnemoscope.measures.relation_texts import relation_text

    text = relation_text(lm, document(2))
    with torch.no_grad():
        (found,) = measure_texts(lm, [text], [None])
        pattern = trace(lm, text.ids[None], sites=("pattern",), positions="all")
    for layer, done in found.layers.items():
        rows = pattern.at("pattern", layer)[0]
        for e in range(len(found.events.query)):
            j, s = int(found.events.query[e]), int(found.events.source[e])
            for head in range(lm.n_heads):
                row = rows[j, head, : j + 1]
                rival = max(float(x) for k, x in enumerate(row) if k != s)
                assert abs(float(done.gate.ratio[head, e]) - float(row[s]) / rival) < 1e-3 * float(
                    done.gate.ratio[head, e]
                )


def test_what_cannot_be_aligned_is_listed(lm):
    from mnemoscope.data.document import Document, Mention, Triple
    from mnemoscope.measures.relation_texts import relation_text

    bad = Document(
        id="x",
        text="w1 w22 w3",
        mentions=(Mention(span=(0, 2), entity="a"), Mention(span=(3, 5), entity="b"), Mention(span=(7, 9), entity="c")),
        triples=(Triple(head=0, relation="r", tail=1), Triple(head=0, relation="r", tail=2)),
    )
    text = relation_text(lm, bad)
    assert len(text.pairs) == 1
    assert [one.id for one in text.left_out] == ["x r"]
