"""What the model card says of the first weights: a preference for the previous token, a weak comparison, no copying yet."""

import pytest
import torch
from transformers import LlamaForCausalLM

from mnemoscope.reference import train_config
from mnemoscope.reference.decoder import Decoder

VOCABULARY = 400


def looked(span):
    """Attention [layer][batch head query key], logits and ids of the untrained model on spans repeated once."""
    config = train_config.llama_config(train_config.TrainConfig(), VOCABULARY)
    model = LlamaForCausalLM(config).float().eval()
    model.load_state_dict(Decoder(config, torch.Generator().manual_seed(0)).state_dict())
    model.set_attn_implementation("eager")
    generator = torch.Generator().manual_seed(1)
    once = torch.stack([torch.randperm(VOCABULARY, generator=generator)[:span] for _ in range(16)])
    ids = torch.cat((once, once), dim=1)
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=torch.ones_like(ids), output_attentions=True)
    return out.attentions, out.logits, ids


def test_half_of_the_first_heads_prefer_the_previous_token() -> None:
    attention, _, _ = looked(32)
    paid = attention[0].diagonal(offset=-1, dim1=-2, dim2=-1).mean((0, 2))
    assert (paid[:2] > 0.35).all()
    assert (paid[:2] < 0.75).all()
    assert (paid[2:] < 0.15).all()


@pytest.mark.parametrize("span", [8, 32])
def test_the_comparison_is_weak_and_nothing_is_copied_yet(span) -> None:
    attention, logits, ids = looked(span)
    queries = torch.arange(span, 2 * span - 1)
    even = (1.0 / (queries + 1)).mean()
    for layer in (1, 2):
        paid = attention[layer][:, :, queries, queries - span + 1].mean((0, 2))
        assert (paid[:2] < even + 0.05).all(), (layer, paid, even)
    right = logits[:, span:-1].argmax(-1) == ids[:, span + 1 :]
    assert right.float().mean() < 0.05


def test_output_embeddings_are_turned_input_embeddings() -> None:
    config = train_config.llama_config(train_config.TrainConfig(), VOCABULARY)
    made = Decoder(config, torch.Generator().manual_seed(0))
    own = made.model.embed_tokens.weight - made.model.embed_tokens.weight.mean(0)
    out = made.lm_head.weight - made.lm_head.weight.mean(0)
    inner, outer = own @ own.T, out @ out.T
    assert torch.corrcoef(torch.stack((inner.flatten(), outer.flatten())))[0, 1] > 0.999
