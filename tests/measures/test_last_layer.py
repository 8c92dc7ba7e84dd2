"""What the last layer does, against the model's own logits and planted suppressors."""

import pytest
import torch

SIZES = {"topics": 5, "relations": 2, "templates": 2, "distractors": 3, "noise": 0.0}


def tokens_of(lm, prompts):
    from mnemoscope.model.answers import answers

    return torch.tensor([found.ids[0] for found in answers(lm, prompts)])


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "gpt_neox", "cohere"])
def test_the_split_adds_up_to_the_models_own_logits(name):
    """drop = centred logit by the lens before the layer - the model's own; also with post-norms and parallel blocks."""
    from mnemoscope.engine.record import trace
    from mnemoscope.measures.last_layer import last_layer, sink, standing_push, token_drop, top_rows
    from mnemoscope.model.batch import tokenize
    from mnemoscope.model.head import unembedding
    from mnemoscope.model.lm import view
    from mnemoscope.model.tiny import tiny

    lm = view(tiny(name), name=name)
    ids = torch.randint(1, lm.d_vocab, (3, 5), generator=torch.Generator().manual_seed(0))
    batch = tokenize(lm, ids)
    found = last_layer(lm, batch)
    tokens = torch.tensor([3, 1, 4])
    drops = token_drop(lm, found, tokens)
    head = unembedding(lm)
    seen = trace(lm, batch, ("resid_pre", "resid_post"), "last", (lm.n_layers - 1,))

    def centred(site):
        from mnemoscope.model.head import normed

        with torch.no_grad():
            raw = head.head.module(normed(lm, seen.at(site, lm.n_layers - 1)[:, 0]))[:, : lm.d_vocab] * head.scale
        return raw.gather(1, tokens[:, None])[:, 0] - raw.mean(1)

    torch.testing.assert_close(drops.drop.total, centred("resid_pre") - centred("resid_post"), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(drops.drop.dilution + drops.drop.write, drops.drop.total, rtol=1e-4, atol=1e-5)
    same = token_drop(lm, found, torch.full((3,), 3))
    torch.testing.assert_close(standing_push(lm, found)[:, 3], -same.drop.parts.mean(1), rtol=1e-4, atol=1e-5)
    assert (top_rows(lm, found).rank_before == 0).all()
    rest = sink(lm, batch, found, tokens)
    assert rest.reason if name == "gemma2" else torch.isfinite(rest.write).all()


@pytest.mark.parametrize("suppressor", ["mlp", "head"])
def test_the_planted_suppressor_is_recovered(suppressor):
    from mnemoscope.measures.last_layer import last_layer, sink, token_drop
    from mnemoscope.model.batch import tokenize
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted

    made = planted("recall", suppressor=suppressor, amount=3.0, **SIZES)
    lm = view(made.model, made.tokenizer, name="planted")
    batch, tokens = tokenize(lm, made.prompts), tokens_of(lm, made.prompts)
    found = last_layer(lm, batch)
    drops = token_drop(lm, found, tokens)
    said = made.truth.facts["suppression"]["centred_logits"]
    assert drops.drop.write.mean().item() == pytest.approx(said, rel=0.05)
    part = drops.drop.parts.mean(1)
    names = [str(c) for c in found.components]
    heads = {h.head for h in made.truth.of_kind("suppressor")}
    mine = "L3.mlp" if suppressor == "mlp" else f"L3H{heads.pop()}"
    assert names[int(part.argmax())] == mine
    assert part.max().item() == pytest.approx(said, rel=0.05)
    if suppressor == "head":  # it looks at the last position itself: nothing of its write comes from the first token
        rest = sink(lm, batch, found, tokens)
        heads = [i for i, c in enumerate(found.components) if c.kind == "head"]
        place = heads.index(names.index(mine))
        assert rest.mass[place].max() < 0.05
        assert rest.write[place].abs().max() < 0.05 * said
