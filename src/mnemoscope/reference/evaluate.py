"""Measure what a trained model of the world can do, with plain transformers: `python -m mnemoscope.reference.evaluate FOLDER`.

Our own engine has no part in it, so that the model card does not depend on what it is later used to test. Every row says the
ability, the condition, n, the estimate with a 95% interval (Wilson for shares, t for means), and chance or baselines.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mnemoscope.data import episodes, facts
from mnemoscope.data.prompt import Prompt
from mnemoscope.errors import InputError, LoadError
from mnemoscope.reference import world
from mnemoscope.reference.commands import told
from mnemoscope.reference.figures import Row, mean, recorded, share, written
from mnemoscope.reference.subject import Subject

SEED: Final = 4242


def known_facts(subject: Subject, limit: int) -> list[Row]:
    """Top-1 accuracy without demonstrations, on one trained template per fact, on both held-out ones, and on the plain form."""
    rng = np.random.default_rng(SEED)
    rows: list[Row] = []
    distinct = [r for r in facts.facts() if r.distinct]
    all_facts = [(r, f) for r in distinct for f in r.facts]
    chosen = [all_facts[i] for i in rng.permutation(len(all_facts))[:limit]]
    frequency = float(np.mean([max(Counter(f.answer for f in r.facts).values()) / len(r.facts) for r, _ in chosen]))
    forms: dict[str, Callable[[facts.Relation], Sequence[str]]] = {
        "trained templates": lambda r: (r.templates[rng.integers(len(r.templates))],),
        "held-out templates": lambda r: r.held_out_templates,
        "plain form": lambda r: (r.plain,),
    }
    for name, templates in forms.items():
        prompts = [facts.prompt(r, f, t) for r, f in chosen for t in templates(r)]
        top = subject.next_tokens(prompts)
        hits = [t == subject.first(p, p.answer) for t, p in zip(top, prompts, strict=True)]
        rows.append(share("facts", name, "top-1", hits, frequency, "most frequent answer"))
    return rows


def copying(subject: Subject, count: int, length: int = 64) -> list[Row]:
    """Loss on the first and the second copy of a random span, nats per token."""
    rng = np.random.default_rng(SEED + 1)
    texts = [subject.ids(episodes.span_prompt(world.span_words(), length, rng).text) for _ in range(count)]
    first, second = [], []
    for ids, logits in subject.logits(texts):
        loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="none")
        half = (len(ids) - 1) // 2
        first.append(float(loss[:half].mean()))
        second.append(float(loss[half:].mean()))
    uniform = float(np.log(len(world.span_words())))
    return [
        mean("copying", f"first copy of {length}", "nats", first, uniform, "uniform over the words"),
        mean("copying", f"second copy of {length}", "nats", second, uniform, "uniform over the words"),
    ]


def word_pairs(subject: Subject, count: int, shots: Sequence[int] = episodes.SHOTS) -> list[Row]:
    """Few-shot accuracy on unseen pairs, and the share of legal labels, per task and number of shots."""
    rng = np.random.default_rng(SEED + 2)
    rows: list[Row] = []
    for task, held in episodes.TASKS.items():
        for k in shots:
            prompts = episodes.pair_design(task, shots=k, count=count, rng=rng)
            top = subject.next_tokens(prompts)
            legal = [{subject.first(p, a) for a in (p.answer, *p.foils)} for p in prompts]
            gold = [subject.first(p, p.answer) for p in prompts]
            # without a demonstration any of the ten digits may be meant
            chance, guess = (1 / len(held.classes), "1/classes") if k else (0.1, "any digit")
            rows.append(
                share(
                    task,
                    f"{k} shots",
                    "accuracy",
                    [t == g for t, g in zip(top, gold, strict=True)],
                    chance,
                    guess,
                )
            )
            rows.append(
                share(
                    task,
                    f"{k} shots",
                    "format",
                    [t in s for t, s in zip(top, legal, strict=True)],
                    len(held.classes) / 10,
                    "any digit",
                )
            )
            if k == max(shots) and len(held.classes) > 2:
                rows += _sides(subject, task, k, prompts, top)
    return rows


def _sides(subject: Subject, task: str, shots: int, prompts: Sequence[Prompt], top: Sequence[int]) -> list[Row]:
    """How often the class that is named has the left category of the query, and how often the right one."""
    classes = episodes.TASKS[task].classes
    rows: list[Row] = []
    for side, name in enumerate(("left", "right")):
        hits = []
        for prompt, token in zip(prompts, top, strict=True):
            gold = int(prompt.labels["class"])
            said = list(prompt.foils)
            said.insert(gold, prompt.answer)  # the labels in the order of the classes
            same = [a for a, c in zip(said, classes, strict=True) if c[side] == classes[gold][side]]
            hits.append(token in {subject.first(prompt, a) for a in same})
        chance = 1 / len({c[side] for c in classes})
        rows.append(share(task, f"{shots} shots", f"{name} agrees", hits, chance, "1/categories"))
    return rows


def context_gain(subject: Subject, count: int) -> list[Row]:
    """Loss at tokens 490..510 minus loss at tokens 40..60 of held-out narratives, nats."""
    rng = np.random.default_rng(SEED + 3)
    texts = [subject.ids(episodes.narrative(rng, sentences=80, cast=8).prompt.text)[:520] for _ in range(count)]
    gains = []
    for ids, logits in subject.logits(texts):
        loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="none")
        gains.append(float(loss[489:510].mean() - loss[39:60].mean()))
    return [mean("narrative", "tokens 490-510 minus 40-60", "nats", gains, 0.0, "no gain from context")]


def comprehension(subject: Subject, count: int) -> list[Row]:
    """Composite passages, without and with one solved example, by number of distractors: right, wrong form, wrong content."""
    rng = np.random.default_rng(SEED + 4)
    rows: list[Row] = []
    for n in (1, 2, 3):
        for k in (0, 1):
            prompts = episodes.passage_design(distractors=n, shots=k, count=count, rng=rng)
            said = subject.continued(prompts, 10)
            verdicts = [episodes.judged(s, p) for s, p in zip(said, prompts, strict=True)]
            condition = f"{n} distractors, {k} examples"
            rows.append(
                share("comprehension", condition, "right", [v == "right" for v in verdicts], 1 / (n + 1), "1/sentences")
            )
            rows.append(
                share("comprehension", condition, "format error", [v == "format" for v in verdicts], float("nan"), "")
            )
            rows.append(
                share("comprehension", condition, "content error", [v == "content" for v in verdicts], float("nan"), "")
            )
    return rows


def lines(subject: Subject, count: int, shots: Sequence[int] = (2, 4, 8)) -> list[Row]:
    """Absolute error of the generated y by number of points, parse failures, and what trivial answers reach."""
    rng = np.random.default_rng(SEED + 5)
    rows: list[Row] = []
    for k in shots:
        prompts = episodes.line_design("small_integers", shots=k, count=count, rng=rng)
        said = [episodes.read(text) for text in subject.continued(prompts, 5)]
        errors = [abs(y - float(p.labels["y"])) for y, p in zip(said, prompts, strict=True)]
        rules = {
            name: float(np.mean([abs(rule(p) - float(p.labels["y"])) for p in prompts]))
            for name, rule in _RULES.items()
        }
        best = min(rules, key=lambda name: rules[name])
        rows.append(mean("line", f"{k} points", "absolute error", errors, rules["nearest x"], "nearest x"))
        rows.append(mean("line", f"{k} points", "absolute error", errors, rules["mean y"], "mean y"))
        rows.append(mean("line", f"{k} points", "absolute error", errors, rules["least squares"], "least squares"))
        rows.append(
            share(
                "line",
                f"{k} points",
                "parse failure",
                [not np.isfinite(y) for y in said],
                float("nan"),
                f"best: {best}",
            )
        )
    return rows


def _points(prompt: Prompt) -> tuple[np.ndarray, np.ndarray]:
    return np.array([float(x) for x in prompt.part("point_x")]), np.array([float(y) for y in prompt.part("point_y")])


def _nearest(prompt: Prompt) -> float:
    xs, ys = _points(prompt)
    return float(ys[np.abs(xs - float(prompt.labels["x"])).argmin()])


def _fitted(prompt: Prompt) -> float:
    slope, intercept = np.polyfit(*_points(prompt), 1)
    return float(slope * float(prompt.labels["x"]) + intercept)


_RULES: Final[dict[str, Callable[[Prompt], float]]] = {
    "nearest x": _nearest,
    "mean y": lambda p: float(_points(p)[1].mean()),
    "least squares": _fitted,
}


def personas(subject: Subject, count: int) -> list[Row]:
    """Truth of the answers under each persona, without and with a truthful example; two distractors."""
    rng = np.random.default_rng(SEED + 6)
    rows: list[Row] = []
    for persona in episodes.PERSONAS:
        for k in (0, 1):
            prompts = episodes.passage_design(distractors=2, shots=k, count=count, rng=rng, persona=persona)
            said = subject.continued(prompts, 10)
            true = [str(p.labels["activity"]) in s.split("\n")[0] for s, p in zip(said, prompts, strict=True)]
            rows.append(share("persona", f"{persona}, {k} examples", "true", true, 1 / 3, "1/sentences"))
    return rows


def evaluate(folder: Path, *, count: int = 200, quick: bool = False) -> list[Row]:
    """All abilities of one model folder; `quick` asks fewer shots and leaves the personas out (for curves)."""
    if count < 2:
        raise InputError(f"{count} prompts a cell", allowed="at least 2", hint="200 give intervals worth reading")
    if not (folder / "config.json").is_file():
        raise LoadError(
            f"{folder} is no model folder",
            found="no config.json",
            allowed="a folder that from_pretrained can load",
            hint="python -m mnemoscope.reference.bundle makes such folders from a training folder",
        )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    subject = Subject(model, AutoTokenizer.from_pretrained(folder))
    shots = (0, 20) if quick else episodes.SHOTS
    rows = known_facts(subject, count if quick else 10**6) + copying(subject, count) + word_pairs(subject, count, shots)
    rows += (
        context_gain(subject, count)
        + comprehension(subject, count)
        + lines(subject, count, (2, 8) if quick else (2, 4, 8))
    )
    return rows if quick else rows + personas(subject, count)


def main() -> None:
    """Command line: print the rows, and write them as JSON."""
    parser = argparse.ArgumentParser(prog="python -m mnemoscope.reference.evaluate", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    rows = evaluate(asked.folder, count=asked.count, quick=asked.quick)
    for row in rows:
        line = f"{row.ability:28} {row.condition:28} {row.measure:16} n={row.n:<5}"
        print(f"{line} {written(row.estimate, row.low, row.high):24} {row.versus}: {row.baseline:.3f}")  # noqa: T201
    if asked.out:
        asked.out.write_text(json.dumps([recorded(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    told(main)
