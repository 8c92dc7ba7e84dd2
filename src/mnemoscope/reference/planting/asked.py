"""What a caller of `planted` may ask for: every value of its kind and within its bounds, before anything is built from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real
from typing import Any, Final

from mnemoscope.errors import InputError, listed

DEFAULTS: Final = "leave a size out, then it has its default"


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """A sort of value: how it is called, what belongs to it, and the plain Python value that stands for it (and in JSON)."""

    name: str
    holds: Callable[[Any], bool]
    plain: Callable[[Any], Any]


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _finite(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)


def _two(value: object) -> bool:
    return (
        isinstance(value, list | tuple) and len(value) == 2 and all(map(_finite, value))
    )  # a list, where JSON was read


_INT: Final = _Kind(name="a whole number", holds=_whole, plain=int)
_KINDS: Final[Mapping[Any, _Kind]] = {
    int: _INT,
    int | None: _Kind(
        name="a whole number, or None",
        holds=lambda v: v is None or _whole(v),
        plain=lambda v: None if v is None else int(v),
    ),
    float: _Kind(name="a finite number", holds=_finite, plain=float),
    bool: _Kind(name="True or False", holds=lambda v: isinstance(v, bool), plain=bool),
    str: _Kind(name="a name", holds=lambda v: isinstance(v, str), plain=str),
    tuple[float, float]: _Kind(name="two finite numbers", holds=_two, plain=lambda v: (float(v[0]), float(v[1]))),
}


def plain(what: str, values: Mapping[str, object], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The values as plain Python ones; `kinds` names the type of each. Raises InputError listing all that are of another."""
    wrong = [name for name, value in values.items() if not _KINDS[kinds[name]].holds(value)]
    if wrong:
        raise InputError(
            f"values that {what} cannot have",
            found=listed(f"{name} {values[name]!r}" for name in wrong),
            allowed=listed(f"{name}: {_KINDS[kinds[name]].name}" for name in wrong),
            hint=DEFAULTS,
        )
    return {name: _KINDS[kinds[name]].plain(value) for name, value in values.items()}


def hostable(kind: str, sizes: object, least: Mapping[str, int], most: Mapping[str, int] | None = None) -> None:
    """Raise InputError listing every size that is too small, or too large, for the circuit."""
    small = [name for name, bound in least.items() if getattr(sizes, name) < bound]
    large = [name for name, bound in (most or {}).items() if getattr(sizes, name) > bound]
    if small or large:
        bounds = [f"{name} >= {least[name]}" for name in small] + [f"{name} <= {(most or {})[name]}" for name in large]
        raise InputError(
            f"sizes that cannot host a planted {kind!r} circuit",
            found=listed(f"{name} {getattr(sizes, name)}" for name in (*small, *large)),
            allowed=listed(bounds),
            hint=DEFAULTS,
        )
