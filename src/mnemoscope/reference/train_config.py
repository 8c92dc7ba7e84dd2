"""What identifies a training run: sizes, rates and schedule, the two presets, and which values make no model."""

from dataclasses import dataclass
from math import isfinite
from typing import Final

from transformers import LlamaConfig

from mnemoscope.errors import InputError, listed
from mnemoscope.reference import world

SHIPPED = 4500  # steps of the bundled model: half an hour on one core that has nothing else to do


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What identifies a training run; every field is part of the folder's identity."""

    seed: int = 0
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    n_kv_heads: int = 4
    d_head: int = 32
    d_mlp: int = 320
    n_ctx: int = 768
    rate: float = 2e-3  # of embeddings
    gain_rate: float = 3e-3
    muon_rate: float = 4e-3
    warmup: int = 100
    cooldown: float = 0.65
    decay: float = 0.1
    rows: float = 0.75  # share of the rows of each bucket in one step
    minutes: float = 70.0  # what the schedule aims at


# A preset and its number of steps: what ships, and what is trained with the seeds 1, 2 and 3 to see how far seeds differ.
PRESETS: Final = {
    "bundled": (TrainConfig(), SHIPPED),
    "sibling": (TrainConfig(seed=1, d_model=64, d_head=16, d_mlp=160, rows=0.5), 3000),
}


def llama_config(config: TrainConfig, d_vocab: int) -> LlamaConfig:
    """The transformers configuration of the model that is trained."""
    return LlamaConfig(
        vocab_size=d_vocab,
        hidden_size=config.d_model,
        intermediate_size=config.d_mlp,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_kv_heads,
        head_dim=config.d_head,
        max_position_embeddings=config.n_ctx,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        dtype="bfloat16",
    )


def saved_steps(last: int) -> tuple[int, ...]:
    """Steps at which weights are kept: powers of two, then denser than logarithmic where abilities emerge, and the last."""
    early = {0, *(2**i for i in range(3, 7)), *range(100, 1001, 50), *range(1100, last, 100)}
    return tuple(sorted({s for s in early if s < last} | {last}))


def scale(step: int, steps: int, config: TrainConfig) -> float:
    """Learning-rate factor of a step: linear rise, plateau, linear fall to zero at `steps`."""
    fall = max(1.0, config.cooldown * steps)
    return min(1.0, (step + 1) / config.warmup, max(0.0, (steps - step) / fall))


def checked(config: TrainConfig, *, steps: int = 0, workers: int = 1) -> None:
    """Raise InputError listing every value with which there is nothing to train."""
    longest = max(bucket.length for bucket in world.BUCKETS)
    sizes = {
        name: getattr(config, name) for name in ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_head", "d_mlp")
    }
    rates = {name: getattr(config, name) for name in ("rate", "gain_rate", "muon_rate", "rows", "minutes")}
    rules = [(f"{name} {n}", n >= 1, f"{name} >= 1") for name, n in {**sizes, "workers": workers}.items()]
    rules += [(f"{name} {x}", isfinite(x) and x > 0, f"{name} > 0") for name, x in rates.items()]
    rules += [
        (f"seed {config.seed}", config.seed >= 0, "seed >= 0"),
        (f"steps {steps}", steps >= 0, "steps >= 0"),
        (f"n_ctx {config.n_ctx}", config.n_ctx >= longest, f"n_ctx >= {longest}, the longest row"),
        (f"warmup {config.warmup}", config.warmup >= 1, "warmup >= 1"),
        (f"cooldown {config.cooldown}", 0 <= config.cooldown <= 1, "cooldown 0 to 1"),
        (f"decay {config.decay}", isfinite(config.decay) and config.decay >= 0, "decay >= 0"),
        (f"d_head {config.d_head}", config.d_head % 2 == 0, "d_head even (rotary)"),
        (
            f"n_heads {config.n_heads} with n_kv_heads {config.n_kv_heads}",
            config.n_kv_heads < 1 or config.n_heads % config.n_kv_heads == 0,
            "n_heads a multiple of n_kv_heads",
        ),
    ]
    broken = [(found, allowed) for found, holds, allowed in rules if not holds]
    if broken:
        raise InputError(
            "a model that cannot be trained",
            found=listed(found for found, _ in broken),
            allowed=listed(allowed for _, allowed in broken),
            hint="leave an option out, then the preset's value is taken",
        )
