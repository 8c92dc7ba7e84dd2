"""Ordinary induction in planted models: every cell of its signatures, by plain hooks (methods.md P1.3)."""

import pytest
import torch

SIZES = {"vocabulary": 26, "period": 12, "repeats": 3, "documents": 4}
SEEN = 0.5  # of a score whose largest value is 1; chance is below .1


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def looked(request, plant, probe):
    group = 2 if request.param == "llama" else 1
    return probe(plant("induction", family=request.param, noise=0.0, kv_group=group, **SIZES))


def pattern_score(looked, head, offset):
    """Mean over later copies of the attention to earlier copies of the current token, `offset` tokens on."""
    period, total, n = SIZES["period"], 0.0, 0
    for row, last in enumerate(looked.last.tolist()):
        A = looked.attention[head.layer][row, head.head]
        for i in range(1 + period, last + 1):
            total += sum(A[i, k + offset].item() for k in range(i - period, 0, -period))
            n += 1
    return total / n


def previous_token(looked, head):
    rows = [looked.attention[head.layer][b, head.head, 2 : last + 1] for b, last in enumerate(looked.last.tolist())]
    return torch.cat([A.diagonal(offset=1) for A in rows]).mean().item()


def copying(looked, head):
    """Share of the token itself in what the OV circuit does to its embedding; 0 where the circuit writes nothing."""
    tokens = looked.tokens(looked.truth.facts["words"])
    z = looked.W_E[tokens] @ looked.W_OV(head) @ looked.W_U[:, tokens]
    q = torch.relu(z - z.mean(1, keepdim=True))
    return (q.diagonal() / q.sum(1).clamp_min(1e-6)).mean().item()


def ablation_loss(looked, head):
    z = looked.z_of(head)
    change = [
        torch.nn.functional.cross_entropy(logits, looked.tokens(p.answer for p in looked.prompts))
        for logits in (looked.patched({(head.layer, head.head): z.mean(0)}), looked.logits)
    ]
    return (change[0] - change[1]).item()


def test_the_circuit_works(looked):
    assert looked.accuracy() == 1.0
    assert looked.margin(looked.logits).min() > 5


def test_signatures(looked):
    found = {
        "prefix_matching": lambda head: pattern_score(looked, head, 1),
        "duplicate_token": lambda head: pattern_score(looked, head, 0),
        "previous_token": lambda head: previous_token(looked, head),
        "copying": lambda head: copying(looked, head),
    }
    for head in looked.truth.heads:
        for measure, score in found.items():
            seen = head.signature.of(measure)
            assert (score(head) > SEEN) is seen, (head.kind, measure, score(head))


def test_what_the_loss_says(looked):
    loss = {head.kind: ablation_loss(looked, head) for head in looked.truth.heads}
    assert loss["induction"] > 1
    for kind, change in loss.items():
        if kind not in ("induction", "previous_token"):
            assert abs(change) < 0.2, kind


def test_the_previous_token_head_is_needed_earlier_than_the_last_position(looked):
    """Its effect goes through keys: replaced at the last position alone it changes nothing, everywhere it breaks the circuit."""
    (head,) = looked.truth.of_kind("previous_token")
    assert abs(ablation_loss(looked, head)) < 0.01

    def silence(_, args):
        z = args[0].clone()
        z[:, :, looked.slots(head.head)] = 0
        return (z,)

    handle = looked.projections[head.layer].register_forward_pre_hook(silence)
    with torch.no_grad():
        logits = looked.model(**looked.enc).logits[looked.rows, looked.last]
    handle.remove()
    assert looked.accuracy(logits) < 0.5
