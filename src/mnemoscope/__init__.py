"""mnemoscope: a microscope for memory and in-context learning inside causal language models.

The public names below are loaded when they are first used: `import mnemoscope` imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnemoscope.data.prompt import Prompt as Prompt

__version__ = "0.1.0"

_HOME = {
    "Prompt": "mnemoscope.data.prompt",
}
__all__ = sorted(["__version__", *_HOME])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'mnemoscope' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
