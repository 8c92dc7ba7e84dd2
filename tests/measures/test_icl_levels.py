"""The three levels against plain transformers, one prompt at a time and nothing reused; algebra of reuse and windows."""

import numpy as np
import pytest
import torch

from mnemoscope.data import pairs, prompt_sets
from mnemoscope.data.function_vectors import Task
from mnemoscope.data.prompt import Prompt
from mnemoscope.errors import DataError, InputError, PromptError
from mnemoscope.measures import prefixes
from mnemoscope.measures.icl_levels import chance, fitting, label_sets, narratives, text_losses
from mnemoscope.measures.label_tasks import label_scores, tokenised
from mnemoscope.measures.loss_reduction import loss_reduction, token_losses, windows
from mnemoscope.model.answers import answers
from mnemoscope.model.lm import view
from mnemoscope.model.tiny import TWELVE, tiny

TASK = pairs.TASKS["binary_fruit_month"]
ANTONYMS = Task(
    name="antonyms",
    pairs=(
        ("up", "down there"),
        ("left", "right side"),
        ("hot", "cold side"),
        ("big", "little"),
        ("old", "new"),
        ("new", "old"),
    ),
)


def word_tokenizer(prompts, *, space=False):
    """Words and signs as tokens, behind a BOS token; `space`: a space is a token of its own, as for digits in Llama 2."""
    import re

    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    texts = [p.text + label for p in prompts for label in (p.answer, *p.foils)]
    pattern = r"\w+|[^\w\s]|\n| " if space else r"\w+|[^\w\s]|\n"
    words = sorted({w for text in texts for w in re.findall(pattern, text)})
    vocabulary = {w: i for i, w in enumerate(["<s>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
    cut = [pre_tokenizers.Split(Regex(r"\w+|[^\w\s]|\n| "), "isolated")]
    if not space:
        cut.insert(0, pre_tokenizers.Split(Regex(" "), "removed"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cut)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="<s>")


def made(kind, prompts, *, space=False):
    """A random model that likes to say labels, so that legal and right answers occur by chance."""
    tokenizer = word_tokenizer(prompts, space=space)
    model = tiny(kind, vocab_size=len(tokenizer), max_position_embeddings=512)
    lm = view(model, tokenizer, name=kind)
    said = {i for labels in tokenised(lm, prompts).labels for label in labels for i in label}
    with torch.no_grad():
        model.get_output_embeddings().weight[sorted(said)] *= 4
    return lm


def slowly(lm, prompt):
    """Format, pattern, restricted, legal, right of one prompt whose labels are no beginnings of each other."""
    own = answers(lm, [prompt])[0]
    labels = [own.ids, *own.foils]
    forced = 0
    while len({label[: forced + 1] for label in labels}) == 1:
        forced += 1
    ids = [*lm.tokenizer(own.prompt.text)["input_ids"], *labels[0][:forced]]
    rest = [label[forced:] for label in labels]
    said = lm.model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=max(map(len, rest)),
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )[0, len(ids) :].tolist()
    free = [tuple(said[: len(label)]) == label for label in rest]

    def logits(row):
        with torch.no_grad():
            return lm.model(torch.tensor([row])).logits[0, -1].double()

    path = ()
    while path not in rest:
        legal = sorted({label[len(path)] for label in rest if label[: len(path)] == path})
        z = logits([*ids, *path])
        path = (*path, max(legal, key=lambda u, z=z: float(z[u])))
    p = logits(ids).softmax(-1)
    legal = float(sum(p[u] for u in {label[0] for label in rest}))
    shared = sum(label[0] == rest[0][0] for label in rest) > 1
    right = np.nan if shared else float(p[rest[0][0]]) / legal
    return any(free), free[0], path == rest[0], legal, right


def agree(lm, prompts, **options):
    found = label_scores(lm, prompts, **options)
    slow = np.array([slowly(lm, prompt) for prompt in prompts], float).T
    for name, values in zip(("format", "pattern", "restricted", "legal", "right"), slow, strict=True):
        assert np.allclose(getattr(found, name), values, atol=1e-5, equal_nan=True), name
    return found


@pytest.mark.parametrize("space", [False, True])
@pytest.mark.parametrize("reuse", [False, True])
def test_word_pairs_against_generate_and_forward(reuse, space):
    prompts = label_sets("four_fruit_month", 4, 7, shots=(0, 1, 3, 5), queries=3)
    lm = made("llama", prompts, space=space)
    found = agree(lm, prompts, reuse=reuse)
    assert 0 < found.pattern.mean() < found.format.mean() <= 1
    assert (found.route, set(found.forced)) == ("extended", {int(space)})


def test_labels_of_several_tokens_against_generate_and_forward():
    prompts = label_sets(ANTONYMS, 6, 3, shots=(0, 1, 3), queries=2)
    found = agree(made("llama", prompts), prompts)
    assert 0 < found.format.mean() < 1
    assert np.isfinite(found.right).all()
    shared = (Prompt(text="up :", answer=" right side", foils=(" right there", " old")),)
    assert np.isnan(agree(made("llama", [*prompts, *shared]), shared).right).all()


def test_a_label_that_begins_another_ends_where_the_model_leaves():
    prompt = Prompt(text="up :", answer=" new", foils=(" new old", " down"))
    lm = made("llama", [prompt, *label_sets(ANTONYMS, 2, 0, shots=(0, 3), queries=2)])
    (row,), (labels,) = tokenised(lm, [prompt]).rows, tokenised(lm, [prompt]).labels
    z = [lm.model(torch.tensor([r])).logits[0, -1] for r in (row, (*row, labels[0][0]))]
    found = label_scores(lm, [prompt])
    if int(z[0][[labels[0][0], labels[2][0]]].argmax()) == 0:
        longer = int(z[1].argmax()) == labels[1][1]
        assert int(found.chosen[0]) == (1 if longer else 0)
    else:
        assert int(found.chosen[0]) == 2


@pytest.mark.parametrize("kind", TWELVE)
def test_common_beginnings_change_nothing(kind):
    lm = view(tiny(kind), name=kind)
    rng = np.random.default_rng(3)
    rows = []
    for length in (12, 12, 9):  # trunks of unequal length, and rows that leave them at different places
        trunk = tuple(rng.integers(1, lm.d_vocab, length).tolist())
        for keep in (0, 4, 6, 6, length - 1):
            rows.append((*trunk[:keep], *rng.integers(1, lm.d_vocab, 3 + keep % 2).tolist()))
    groups = prefixes.grouped(rows)
    assert len(groups) == 3
    found, plain = ({}, {})
    for into, reuse in ((found, True), (plain, False)):
        for numbers, logits in prefixes.last_logits(lm, rows, reuse=reuse):
            into.update(zip(numbers.tolist(), logits, strict=True))
    assert sorted(found) == sorted(plain) == list(range(len(rows)))
    assert max(float((found[i] - plain[i]).abs().max()) for i in plain) < 2e-4
    used = prefixes._shared_chunks(lm, rows, groups) is not None
    assert used == (kind not in ("gemma2", "gemma3_text", "gpt_oss", "mixtral"))  # windows: the plain way


def test_a_wrong_cache_is_seen_and_not_used(monkeypatch):
    lm = view(tiny("llama"), name="llama")
    rng = np.random.default_rng(0)
    trunk = tuple(rng.integers(1, lm.d_vocab, 12).tolist())
    rows = [(*trunk, *rng.integers(1, lm.d_vocab, 3).tolist()) for _ in range(4)]
    honest = prefixes._trunks
    monkeypatch.setattr(prefixes, "_trunks", lambda *args: [(k * 1.01, v) for k, v in honest(*args)])
    assert prefixes._shared_chunks(lm, rows, prefixes.grouped(rows)) is None


def test_ablated_models_are_measured_by_the_same_call():
    from mnemoscope.engine.intervene import intervene
    from mnemoscope.engine.plan import Patch

    prompts = label_sets("binary_fruit_month", 4, 1, shots=(2, 4), queries=4)
    lm = made("llama", prompts)
    patch = [Patch(site="z", layer=1, head=0, position="all", op="zero")]
    with intervene(lm, patch):
        found, plain = (label_scores(lm, prompts, reuse=reuse) for reuse in (True, False))
        losses = token_losses(lm, tokenised(lm, prompts[:1]).rows)
    assert np.allclose(found.legal, plain.legal, atol=1e-5)
    assert not np.allclose(found.legal, label_scores(lm, prompts).legal, atol=1e-5)
    assert not np.allclose(losses, token_losses(lm, tokenised(lm, prompts[:1]).rows), equal_nan=True)


def test_tokens_are_those_of_answers():
    prompts = label_sets("nine_fruit_animal_month", 2, 0, shots=(0, 10))
    lm = made("llama", prompts, space=True)
    read = tokenised(lm, prompts)
    for row, labels, own in zip(read.rows, read.labels, answers(lm, prompts), strict=True):
        assert row == tuple(lm.tokenizer(own.prompt.text)["input_ids"])
        assert labels == (own.ids, *own.foils)
    ending = Prompt(
        text=prompts[0].text + " ", answer=prompts[0].answer[1:], foils=tuple(f[1:] for f in prompts[0].foils)
    )
    assert tokenised(lm, [ending]).labels[0][0] == read.labels[0][0][1:]
    with pytest.raises(PromptError, match="at least one foil"):
        label_scores(lm, [Prompt(text="up :", answer=" down")])


def test_sets_are_balanced_nested_and_fair():
    for name, task in pairs.TASKS.items():
        prompts = label_sets(name, 9, 5, queries=4)
        assert len(prompts) == 9 * 4 * len(pairs.SHOTS)
        n_classes = len(task.classes)
        asked = [p.labels["class"] for p in prompts if p.labels["shots"] == 0]
        assert max(map(asked.count, range(n_classes))) - min(map(asked.count, range(n_classes))) <= 0
        for p in prompts:
            left, right = str(p.labels["item"]).split(">")
            assert pairs.held_out(left, right)
            assert f"{left}, {right}:" not in p.part("demonstration")
            if int(p.labels["shots"]) >= n_classes:
                assert set(p.part("demonstration_label")) == {p.answer[1:], *(f[1:] for f in p.foils)}
        longest = next(p for p in prompts if p.labels["set"] == f"{name}:0003" and p.labels["shots"] == 20)
        shorter = next(p for p in prompts if p.labels["set"] == f"{name}:0003" and p.labels["shots"] == 5)
        assert longest.text.startswith(shorter.text[: shorter.text.rindex("\n")])
        assert {p.answer for p in prompts if p.labels["class"] == 0} != {prompts[0].answer}  # redrawn
    assert label_sets("binary_fruit_month", 2, 5) == label_sets("binary_fruit_month", 9, 5)[: 2 * 32]
    assert chance(prompts[0]) == {"format": 0.9, "pattern": 1 / 9, "restricted": 1 / 9}
    with pytest.raises(DataError, match="6 different inputs"):
        prompt_sets.task_set(ANTONYMS, 0, np.random.default_rng(0))


def test_numbers_of_shots_that_do_not_fit_are_left_out_for_all():
    prompts = label_sets("binary_fruit_month", 3, 0)
    lm = made("llama", prompts)
    lm.model.config.max_position_embeddings = 40
    kept, left = fitting(lm, prompts)
    assert left == (10, 20)
    assert {p.labels["shots"] for p in kept} == {0, 1, 2, 3, 4, 5}
    with pytest.raises(PromptError, match="longer than the context"):
        label_scores(lm, prompts)


def test_losses_are_those_of_the_model():
    lm = view(tiny("llama"), name="llama")
    rows = np.random.default_rng(0).integers(1, lm.d_vocab, (3, 20)).tolist()
    found = token_losses(lm, rows)
    for row, losses in zip(rows, found, strict=True):
        ids = torch.tensor([row])
        with torch.no_grad():
            assert float(lm.model(ids, labels=ids).loss) == pytest.approx(losses[1:].mean(), abs=1e-5)
            last = lm.model(ids[:, :-1]).logits[0, -1].log_softmax(-1)[row[-1]]
        assert losses[-1] == pytest.approx(-float(last), abs=1e-5)
        assert np.isnan(losses[0])
    with pytest.raises(InputError, match="equally long"):
        token_losses(lm, [rows[0], rows[1][:4]])


def test_windows_and_loss_reduction():
    assert windows(None) == windows(2048)
    assert (windows(512).late, windows(512).length, windows(512).reason) == ((490, 510), 511, "")
    assert windows(128).late == (107, 127)
    assert "107 to 127" in windows(128).reason
    assert windows(100).late is None
    assert "100 tokens" in windows(100).reason
    losses = np.tile(10.0 - np.arange(511) / 100, (2, 1))
    assert np.allclose(loss_reduction(losses, windows(None)), -4.5)
    assert np.isnan(loss_reduction(losses[:, :100], windows(100))).all()


def test_texts_are_drawn_one_by_one():
    assert narratives(3, 1)[:2] == narratives(2, 1)
    prompts = label_sets("binary_fruit_month", 1, 0)
    lm = made("llama", prompts)
    lm.model.config.max_position_embeddings = 130
    found = text_losses(lm, ["apple, " * 100, "too short"])
    assert found.loss.shape == found.reduction.shape == (1,)
    assert found.within.late == (109, 129)
