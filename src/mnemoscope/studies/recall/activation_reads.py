"""Step 4, read: what the intercept of an MLP's fit says, and what the answer loses when the fit stands in the MLP's place."""

import numpy as np
import polars as pl
import torch

from mnemoscope.engine.plan import Patch
from mnemoscope.engine.sweep import sweep_cells
from mnemoscope.engine.vocabulary import exact_rank
from mnemoscope.measures.answer_rows import answer_rows
from mnemoscope.model.lm import LM
from mnemoscope.results.proof import proven
from mnemoscope.results.schema.recall_mlp import INTERCEPT_TOPICS, REPLACEMENT_PROMPTS
from mnemoscope.stats.regression import least_squares
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.question import HALVES
from mnemoscope.studies.recall.situation import Rows, Situation, Vectors, about, alive, arrays, framed, units


def tables(lm: LM, config: Config, here: Situation) -> dict[str, pl.DataFrame]:
    """The raw tables of one relation and layer, and how the replacements were checked."""
    rows, check = _replacements(lm, config, here)
    return {
        "intercept_topics": framed(_intercepts(lm, here), INTERCEPT_TOPICS),
        "replacement_prompts": framed(rows, REPLACEMENT_PROMPTS),
        "verification": check,
    }


@torch.no_grad()
def _intercepts(lm: LM, here: Situation) -> Rows:
    """Within-topic intercepts with weights from the other topics, plain means, and the relation's pooled intercept."""
    topics, _ = units(here)
    names = np.unique(topics)
    output, parts = arrays(here, "full")
    narrow, few = (about(x, topics) for x in arrays(here, "answers"))
    few = few * alive(here, "within", "answers")
    centre = {str(t): (output[topics == t].mean(axis=0), parts[:, topics == t].mean(axis=1)) for t in names}
    m, a = arrays(here, "answers")
    w, _ = least_squares(m, a * alive(here, "pooled", "answers"))
    pooled = output.mean(axis=0) - w @ parts.mean(axis=1)
    vectors: dict[str, dict[str, np.ndarray]] = {"within": {}, "mean": {}, "pooled": {}}
    for topic, (m, a) in centre.items():
        rest = topics != topic
        w, _ = least_squares(narrow[rest], few[:, rest])
        vectors["within"][topic], vectors["mean"][topic], vectors["pooled"][topic] = m - w @ a, m, pooled
    return [row for name, of in vectors.items() for row in _said(lm, here, name, of)]


def _said(lm: LM, here: Situation, name: str, vectors: dict[str, np.ndarray]) -> Rows:
    """What vectors push, read by the unembedding at the mean scale that the final norm has on the relation's prompts."""
    one = here.one
    every = answer_rows(lm, torch.arange(lm.d_vocab, device=lm.device))
    tokens = torch.tensor(sorted({one.answers[fact.answer] for fact in one.facts}), device=lm.device)
    pushes = torch.from_numpy(np.stack(list(vectors.values()))).to(every) @ every.T / here.scale
    rows: Rows = []
    for topic, push in zip(vectors, pushes, strict=True):
        own = one.answers[one.fact(topic).answer]
        place = int((tokens == own).nonzero()[0, 0])
        few = push[tokens]
        others = torch.cat([few[:place], few[place + 1 :]])
        rows.append(
            {
                "relation": one.name,
                "topic": topic,
                "layer": here.reading.layer,
                "intercept": name,
                "margin": float(push[own] - others.mean()),
                "group": float(few.mean()),
                "place": float(exact_rank(few[None], torch.tensor([[place]], device=few.device))),
                "rank": float(exact_rank(push[None], torch.tensor([[own]], device=push.device))),
            }
        )
    return rows


def _replacements(lm: LM, config: Config, here: Situation) -> tuple[Rows, pl.DataFrame]:
    """Replace the MLP's output at the last position by what a fit on the other half of the topics predicts."""
    topics, _ = units(here)
    vectors = _predictions(here, topics)
    layer, options = here.reading.layer, sorted({here.one.answers[fact.answer] for fact in here.one.facts})
    cells = [
        (Patch(site="mlp_out", layer=layer, position="last", value=torch.from_numpy(v).to(here.reading.output)),)
        for v in vectors.values()
    ]
    found = sweep_cells(
        lm,
        [ask.prompt for ask in here.asks],
        cells,
        tokens=[[*options, ask.topic_last] for ask in here.asks],
        metric="logit_minus_mean",
        budget=config.budget,
    )
    n = len(options)
    own = np.array([options.index(ask.answer) for ask in here.asks])
    each = np.arange(len(own))
    before = (found.base[:, :n].argmax(axis=1) == own).astype(float)
    rows: Rows = []
    for name, effect in zip(vectors, found.effects, strict=True):
        after = ((found.base + effect)[:, :n].argmax(axis=1) == own).astype(float)
        rows += [
            {
                "relation": ask.relation,
                "topic": ask.topic,
                "template": ask.template,
                "layer": layer,
                "replacement": name,
                "answer": float(effect[i, own[i]]),
                "asked_topic": float(effect[i, n]),
                "base": float(found.base[each[i], own[i]]),
                "right": float(after[i]),
                "right_before": float(before[i]),
            }
            for i, ask in enumerate(here.asks)
        ]
    where = f"activation {here.one.name} layer {layer} {here.copy}"
    return rows, proven(where, found.verification, what="replaced MLP outputs")


def _predictions(here: Situation, topics: np.ndarray) -> dict[str, Vectors]:
    """fit, intercept, no_movers, mean: per prompt, from the half of the topics that the prompt is not in."""
    output, parts = arrays(here, "full")
    narrow, few = arrays(here, "answers")
    few = few * alive(here, "pooled", "answers")
    half = np.array([here.one.half[t] for t in topics])
    found = {name: np.empty_like(output) for name in ("fit", "intercept", "no_movers", "mean")}
    for one in HALVES:
        mine, train = half == one, half != one
        train = train if train.any() else np.ones_like(train)
        w, _ = least_squares(narrow[train], few[:, train])
        mean = output[train].mean(axis=0)
        b = mean - w @ parts[:, train].mean(axis=1)
        stay = np.array([head not in here.movers[one] for head in here.reading.heads] + [True])
        found["fit"][mine] = b + np.einsum("c,cnd->nd", w, parts[:, mine])
        found["intercept"][mine] = b
        found["no_movers"][mine] = b + np.einsum("c,cnd->nd", w[stay], parts[stay][:, mine])
        found["mean"][mine] = mean
    return found
