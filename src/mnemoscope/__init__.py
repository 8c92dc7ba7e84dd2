"""mnemoscope: a microscope for memory and in-context learning inside causal language models.

    import mnemoscope as ms
    lm = ms.load("gpt2")                   # hub id, folder, "reference", or (model, tokenizer)
    ms.check(lm)                           # what can be measured on it, proven
    ms.trace(lm, prompts, sites=("z",))    # what the unmodified model computed
    ms.sweep(lm, prompts, site="z", op="zero", tokens=" Paris").effects
    ms.run("heads", lm).tables             # a study: tables, claims, a page

The public names are loaded when they are first used: `import mnemoscope` imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnemoscope import errors as errors
    from mnemoscope.data.prompt import Prompt as Prompt
    from mnemoscope.engine.check import check as check
    from mnemoscope.engine.record import Trace as Trace
    from mnemoscope.engine.record import trace as trace
    from mnemoscope.engine.sweep import Sweep as Sweep
    from mnemoscope.engine.sweep import sweep as sweep
    from mnemoscope.measures.mitigation import mitigate as mitigate
    from mnemoscope.model.batch import Batch as Batch
    from mnemoscope.model.lm import LM as LM
    from mnemoscope.model.load import load as load
    from mnemoscope.runner import Run as Run
    from mnemoscope.runner import run as run
    from mnemoscope.stats.estimate import Estimate as Estimate

__version__ = "0.1.0"

_HOME = {
    "Batch": "mnemoscope.model.batch",
    "Estimate": "mnemoscope.stats.estimate",
    "LM": "mnemoscope.model.lm",
    "Prompt": "mnemoscope.data.prompt",
    "Run": "mnemoscope.runner",
    "Sweep": "mnemoscope.engine.sweep",
    "Trace": "mnemoscope.engine.record",
    "check": "mnemoscope.engine.check",
    "load": "mnemoscope.model.load",
    "mitigate": "mnemoscope.measures.mitigation",
    "run": "mnemoscope.runner",
    "sweep": "mnemoscope.engine.sweep",
    "trace": "mnemoscope.engine.record",
}
__all__ = sorted(["__version__", "errors", *_HOME])  # noqa: PLE0605  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name == "errors":
        return import_module("mnemoscope.errors")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'mnemoscope' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
