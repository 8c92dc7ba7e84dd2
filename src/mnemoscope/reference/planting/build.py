"""`planted`: build a model whose truth is known, in an ordinary class of transformers, and optionally save it."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from mnemoscope.data.document import Corpus
from mnemoscope.data.prompt import Prompt
from mnemoscope.data.relation import Relation
from mnemoscope.errors import InputError, choose
from mnemoscope.reference.planting import asked, geometry, induction, recall, semantic
from mnemoscope.reference.planting.clock import LONGEST
from mnemoscope.reference.planting.host import hosted
from mnemoscope.reference.planting.layout import FAMILIES, Layout, Size, laid_out
from mnemoscope.reference.planting.noise import DEFAULT, spoiled
from mnemoscope.reference.planting.plan import Dice, Plan, Role, dice
from mnemoscope.reference.planting.space import space_of
from mnemoscope.reference.planting.truth import HeadTruth, MlpTruth, Signature, Truth
from mnemoscope.reference.planting.weights import compiled
from mnemoscope.reference.planting.words import tokenizer_of

KINDS: Mapping[str, tuple[type, Callable[[Any, Dice], Plan]]] = {
    "induction": (induction.Sizes, induction.plan),
    "semantic": (semantic.Sizes, semantic.plan),
    "recall": (recall.Sizes, recall.plan_recall),
    "attribute": (recall.Sizes, recall.plan_attribute),
    "geometry": (geometry.Sizes, partial(geometry.plan, twin=False)),
    "geometry_twin": (geometry.Sizes, partial(geometry.plan, twin=True)),
}
_OWN: Mapping[str, Any] = {
    "seed": int,
    "noise": float,
    "n_heads": int | None,
    "d_head": int | None,
    "kv_group": int,
    "n_ctx": int,
}


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A planted model, its tokenizer, what is true of it, and texts to read with it.

    corpus      documents with mentions and triples (kind "semantic"), else None
    relations   templates and facts (kinds "recall", "attribute"), else empty
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    truth: Truth
    prompts: tuple[Prompt, ...]
    corpus: Corpus | None = None
    relations: tuple[Relation, ...] = ()

    def save(self, folder: str | Path) -> Path:
        """Write weights, tokenizer, truth.json and prompts.jsonl; AutoModelForCausalLM.from_pretrained loads it."""
        path = _made(folder)
        self.model.save_pretrained(path)
        self.tokenizer.save_pretrained(path)
        self.truth.save(path)
        lines = [json.dumps(asdict(prompt)) for prompt in self.prompts]
        (path / "prompts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path


def _made(folder: str | Path) -> Path:
    try:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError("it may not be written to")
    except (OSError, TypeError) as error:
        raise InputError(
            f"no planted model can be saved in {folder!r}",
            found=str(error),
            allowed="a folder that exists, or can be made, and may be written to",
        ) from error
    return path


def planted(
    kind: str,
    *,
    family: str = "llama",
    seed: int = 0,
    noise: float = DEFAULT,
    n_heads: int | None = None,
    d_head: int | None = None,
    kv_group: int = 1,
    n_ctx: int = 256,
    folder: str | Path | None = None,
    **sizes: Any,
) -> Planted:
    """Build a planted model (methods.md B8): weights written by a program, truth known by construction.

    kind       "induction", "semantic", "recall", "attribute", "geometry", "geometry_twin"
    family     "llama" (RMSNorm, rotary positions, SwiGLU) or "gpt2" (LayerNorm, learned positions, GELU)
    seed       words, directions, places of the heads, texts and noise; the same seed gives the same model
    noise      |noise|_F / |planted block|_F; 0 is the circuit alone; everything else is the same at every noise
    n_heads, d_head   None: the smallest that host the circuit; kv_group: query heads per key/value head (llama)
    sizes      of the kind: the fields of its `Sizes`
    folder     save it there as well

    Raises OptionError for an unknown kind, family or size, InputError for values of another kind (a seed that is no whole
    number >= 0, say), for sizes that cannot host the circuit, and for a folder that cannot be written to.
    """
    choose("family of planted models", family, FAMILIES)
    chosen = _sizes(kind, sizes)
    host = {"n_heads": n_heads, "d_head": d_head, "kv_group": kv_group, "n_ctx": n_ctx}
    said = asked.plain("planted models", {"seed": seed, "noise": noise, **host}, _OWN)
    seed, noise, host = said["seed"], said["noise"], {name: said[name] for name in host}
    if seed < 0:
        raise InputError(f"seed {seed} of a planted model", allowed="a whole number >= 0")
    if folder is not None:
        _made(folder)
    rngs = dice(seed)
    plan = KINDS[kind][1](chosen, rngs)
    size = Size(**{**host, "n_heads": plan.n_heads if n_heads is None else host["n_heads"]})
    circuit = spoiled(plan.circuit, sigma=noise, rng=rngs.noise)
    tokenizer = _tokenizer(plan, size.n_ctx)
    layout = laid_out(circuit, size, family=family, rng=rngs.layout)
    space = space_of(circuit.features(), d_model=layout.d_model, rng=rngs.circuit)
    made = Planted(
        model=hosted(compiled(circuit, layout, space), family),
        tokenizer=tokenizer,
        truth=Truth(
            kind=kind,
            family=family,
            seed=seed,
            noise=noise,
            options={**host, **asdict(chosen)},
            heads=_heads(layout, plan),
            mlps=_mlps(plan),
            facts={**plan.facts, **plan.realised(circuit)},
        ),
        prompts=plan.prompts,
        corpus=plan.corpus,
        relations=plan.relations,
    )
    if folder is not None:
        made.save(folder)
    return made


def _sizes(kind: str, sizes: Mapping[str, Any]) -> Any:
    sizes_of, _ = KINDS[choose("planted model", kind, tuple(KINDS))]
    kinds = {field.name: field.type for field in fields(sizes_of)}
    for name in sizes:
        choose(f"size of a planted {kind!r} model", name, tuple(kinds))
    return sizes_of(**asked.plain(f"a planted {kind!r} model", sizes, kinds))


def _tokenizer(plan: Plan, n_ctx: int) -> PreTrainedTokenizerFast:
    tokenizer = tokenizer_of(tuple(plan.circuit.words), n_ctx=n_ctx)
    texts = [prompt.text for prompt in plan.prompts] + [
        doc.text for doc in (plan.corpus.documents if plan.corpus else ())
    ]
    longest = max(len(encoding.ids) for encoding in tokenizer.backend_tokenizer.encode_batch(texts))
    if longest > n_ctx:
        raise InputError(
            f"a context of {n_ctx} tokens",
            found=f"the longest text has {longest}",
            allowed=f"n_ctx >= {longest}, and at most {LONGEST}",
            hint="ask for a larger context, or for shorter texts",
        )
    return tokenizer


def _heads(layout: Layout, plan: Plan) -> tuple[HeadTruth, ...]:
    return tuple(
        HeadTruth(
            layer=layer,
            head=number,
            kv_head=number // layout.kv_group,
            kind=head.kind,
            relation=head.relation,
            signature=plan.roles[head.kind].signature,
            attends=plan.roles[head.kind].attends,
            writes=plan.roles[head.kind].writes,
        )
        for layer, heads in enumerate(layout.slots)
        for number, head in enumerate(heads)
    )


def _mlps(plan: Plan) -> tuple[MlpTruth, ...]:
    found: list[MlpTruth] = []
    for layer in range(plan.circuit.n_layers):
        kinds = tuple(dict.fromkeys(mlp.kind for mlp in plan.circuit.mlps if mlp.layer == layer))
        roles = [plan.roles[kind] for kind in kinds] or [plan.roles.get("", Role())]
        seen = tuple(dict.fromkeys(name for role in roles for name in role.signature.seen))
        unseen = tuple(dict.fromkeys(n for role in roles for n in role.signature.unseen if n not in seen))
        writes = "; ".join(role.writes for role in roles if role.writes)
        found.append(MlpTruth(layer=layer, kinds=kinds, signature=Signature(seen=seen, unseen=unseen), writes=writes))
    return tuple(found)
