"""What is known: planted models, the small world, and the trained reference model."""

from importlib import import_module

_HOME = {"planted": "mnemoscope.reference.planting.build", "Planted": "mnemoscope.reference.planting.build"}
__all__ = ["Planted", "planted"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'mnemoscope.reference' has no attribute {name!r}; it has {', '.join(__all__)}")
