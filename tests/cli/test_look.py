"""A look says what independent computations say, shows hostile text, and goes on where a model lacks something."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PROMPT = "Once upon a time , there was a little girl named Lily . She"
FOIL = "Once upon a time , there was a little dog named Paris . She"


@pytest.fixture(scope="module")
def made(save: Callable[[str], Path]) -> Any:
    """Model, a look with a foil prompt, and a look without."""
    import torch

    from mnemoscope.measures.one_prompt import look
    from mnemoscope.model.load import load

    torch.set_num_threads(1)
    lm = load(str(save("llama")), device="cpu")
    return lm, look(lm, PROMPT, foil=" cat", foil_prompt=FOIL), look(lm, PROMPT, token=" big")


def logits(lm: Any, text: str, hook: Any = None) -> Any:
    """The model's own last logits, with a forward hook of our own on a module."""
    import torch

    ids = torch.tensor([lm.tokenizer(text)["input_ids"]])
    handles = [] if hook is None else [hook[0].register_forward_pre_hook(hook[1])]
    with torch.no_grad():
        out = lm.model(input_ids=ids).logits[0, -1]
    for handle in handles:
        handle.remove()
    return out.double()


def test_predictions_are_the_models_own(made: Any) -> None:
    lm, found, _ = made
    own = logits(lm, PROMPT)
    probabilities = own.softmax(0)
    assert [c.token for c in found.predictions] == own.topk(8).indices.tolist()
    for candidate in found.predictions:
        assert candidate.probability == pytest.approx(float(probabilities[candidate.token]), rel=1e-5)
    cat = lm.tokenizer.convert_tokens_to_ids("▁cat")
    assert (found.foil.token, found.foil.text) == (cat, " cat")
    assert found.value == pytest.approx(float(own[found.token.token] - own[cat]), abs=1e-4)
    other = logits(lm, FOIL)
    assert found.foil_value == pytest.approx(float(other[found.token.token] - other[cat]), abs=1e-4)
    assert "".join(found.tokens).strip() == PROMPT


def test_effects_are_those_of_a_plain_hook(made: Any) -> None:
    lm, found, alone = made
    assert (found.missing, alone.missing) == ((), ())
    own, names = logits(lm, PROMPT), ("q", "zero")
    width = lm.d_head
    big = alone.token.token
    for line in [alone.heads[i] for i in (0, 5, 11)]:
        where = slice(line.head * width, (line.head + 1) * width)

        def zeroed(module: Any, args: Any, where: slice = where) -> Any:
            z = args[0].clone()
            z[:, -1, where] = 0
            return (z,)

        patched = logits(lm, PROMPT, (lm.model.model.layers[line.layer].self_attn.o_proj, zeroed))
        change = (patched[big] - patched[: len(lm.tokenizer)].mean()) - (own[big] - own[: len(lm.tokenizer)].mean())
        assert line.effect == pytest.approx(float(change), abs=2e-4), names


def test_the_map_ends_where_the_prompts_do(made: Any) -> None:
    """Into layer 0 every position is a token exchanged; all of them together are the foil prompt."""
    import torch

    lm, found, _ = made
    cat = found.foil.token
    assert {e.position for e in found.entries} == set(range(9, len(found.tokens)))
    words = PROMPT.split()
    words[9] = "dog"
    changed = logits(lm, " ".join(words))
    entry = next(e for e in found.entries if (e.layer, e.position) == (0, 9))
    expected = float(changed[found.token.token] - changed[cat]) - found.value
    assert entry.effect == pytest.approx(expected, abs=2e-4)
    same = [
        e.effect for e in found.entries if e.layer == 0 and found.tokens[e.position] == found.foil_tokens[e.position]
    ]
    assert np.allclose(same, 0, atol=2e-4)
    assert torch.is_tensor(changed)


def test_pushes_sum_to_the_quantity_up_to_biases(made: Any) -> None:
    _, found, alone = made
    for one in (found, alone):
        assert all(proof.ok for proof in one.proofs), one.proofs
        assert {proof.identity for proof in one.proofs} >= {"parts = stream", "pushes + biases = quantity"}
        layers = {line.layer: line.attention for line in one.layers}
        for layer, attention in layers.items():
            assert sum(h.direct for h in one.heads if h.layer == layer) == pytest.approx(attention, abs=1e-4)
        assert one.layers[-1].probability == pytest.approx(one.token.probability, rel=1e-4)
        assert one.layers[-1].rank == one.token.rank


def test_attention_rows_are_distributions(made: Any) -> None:
    _, found, _ = made
    assert {len(row.weights) for row in found.attention} == set(range(1, len(found.tokens) + 1))
    for row in found.attention:
        assert sum(row.weights) == pytest.approx(1, abs=1e-5)
        assert len(row.weights) == row.query + 1


def test_the_terminal_and_json(cli: Any, save: Callable[[str], Path], tmp_path: Path) -> None:
    page = tmp_path / "look.html"
    said = cli("look", save("llama"), PROMPT, "--foil-prompt", FOIL, "--html", page, "--top", "4", "--device", "cpu")
    assert (said.code, said.err) == (0, "")
    for words in (
        "next token",
        "logit lens",
        "heads at the last position",
        "attention from",
        "verified",
        "foil prompt",
    ):
        assert words in said.out
    text = page.read_text()
    assert "https://" not in text.split("<main>")[1].split("<script")[0]
    assert 'id="heads-attention"' in text
    record = json.loads(cli("look", save("llama"), PROMPT, "--json", "--device", "cpu").out)
    assert record["quantity"] == "logit_minus_mean"
    assert len(record["heads"]) == 12
    assert all(proof["error"] <= proof["allowed"] for proof in record["proofs"])


def test_what_a_model_lacks_is_said_and_the_rest_is_shown(cli: Any, save: Callable[[str], Path]) -> None:
    said = cli("look", save("opt"), PROMPT, "--device", "cpu", "--json")
    record = json.loads(said.out)
    assert record["predictions"]
    said = cli("look", save("mamba"), PROMPT, "--device", "cpu")
    assert said.code == 0
    assert "not available" in said.out
    assert "next token" in said.out


def test_hostile_tokens_are_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path, made: Any) -> None:
    from dataclasses import replace

    from mnemoscope.cli.look_screen import screen
    from mnemoscope.report.look import write

    _, found, _ = made
    hostile = ("</script><script>x", "[bold]", "\x1b[2J", "\u202egnp", "\n", "x" * 500, *found.tokens[6:])
    worst = replace(found, tokens=hostile, prompt="[/]\x1b]0;owned\x07")
    screen(worst, top=8, page=None)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "⟨U+001B⟩" in out
    assert "[/]" in out
    text = write(worst, tmp_path / "page.html").read_text()
    assert "<script>x" not in text
    assert "\u202e" not in text.split("<main>")[1].split("vega")[0]


def test_help_shows_the_line_that_the_reader_reads(cli: Any) -> None:
    from mnemoscope.data.jsonl import EXAMPLE

    said = cli("run", "--help")
    assert said.code == 0
    assert "".join(EXAMPLE.split()) in "".join(said.out.split())


def test_look_opens_from_a_config_file(cli: Any, save: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "look.toml"
    path.write_text('top = 3\nfoil = " cat"\ndevice = "cpu"\njson = true\n')
    record = json.loads(cli("look", save("llama"), PROMPT, "--config", path).out)
    assert (len(record["predictions"]), record["foil"]["text"]) == (3, " cat")
    again = json.loads(cli("look", save("llama"), PROMPT, "--config", path, "--top", "2").out)
    assert len(again["predictions"]) == 2  # the command line wins
