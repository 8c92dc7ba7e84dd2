"""The glossary: names of axes, sites, operations and metrics, each said once. Strings only, no imports."""

from typing import Final

# Axes of arrays and tensors that cross a function boundary.
AXES: Final = (
    "batch",  # prompts of one forward pass
    "prompt",  # prompts of a whole question
    "pos",  # token positions
    "query",  # positions that attend
    "key",  # positions attended to
    "layer",
    "head",  # query heads
    "kv_head",  # key/value heads; a head reads one of them
    "d_model",
    "d_head",
    "d_mlp",
    "d_vocab",
    "component",  # embedding, every head, every MLP, biases: what sums to the residual stream
    "token",  # vocabulary entries asked for
    "row",  # one patched run inside a descent
    "example",
    "cond",
    "feature",
)

# Places in a block whose value can be recorded and replaced. Definitions: `mnemoscope.engine`.
SITES: Final = (
    "resid_pre",  # residual stream into the block
    "resid_mid",  # between attention and MLP (sequential blocks only)
    "resid_post",  # residual stream out of the block
    "attn_out",  # what attention adds to the stream: after post-norm, gate and multiplier
    "mlp_out",  # what the MLP adds to the stream, likewise
    "z",  # per query head: attention-weighted values, before any gate and before W_O
    "q",  # per query head, after norm and rotary
    "k",  # per kv head, after norm and rotary
    "v",  # per kv head
    "pattern",  # attention rows after softmax; may sum to < 1 where the model has sinks
)
RESIDUAL_SITES: Final = ("resid_pre", "resid_mid", "resid_post")
STREAM_SITES: Final = (*RESIDUAL_SITES, "attn_out", "mlp_out")  # [d_model]-shaped, no head axis
HEAD_SITES: Final = ("z", "q", "pattern")  # one per query head
KV_SITES: Final = ("k", "v")  # one per kv head

OPS: Final = ("replace", "zero", "mean", "add", "scale")
METRICS: Final = ("logit", "logit_diff", "logit_minus_mean", "logprob", "loss")
POSITION_MODES: Final = ("last", "all", "each")  # or the name of a role
CAPABILITIES: Final = ("record", "patch-fast", "patch-slow", "decompose", "weights", "padding")
STUDIES: Final = ("heads", "emergence", "recall", "icl")
