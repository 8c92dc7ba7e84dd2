"""Numbers in words: how estimates, intervals, p values and counts are written on the page, once for all."""

import math
import re
from collections.abc import Iterable

MISSING = "–"
NAMES = {  # of columns, where underscores turned into spaces would not do
    "p": "p",
    "n": "n",
    "p_maxt": "p (max-T)",
    "p_sets": "p over sets",
    "n_units": "Units",
    "n_sets": "Sets",
    "ri": "RI",
}


def number(value: float | int | None, digits: int = 3) -> str:
    """Significant digits without an exponent where that is short; a dash where there is no number.

    >>> number(0.04567), number(-1234.5), number(3.1e-7), number(float("nan"))
    ('0.0457', '−1,234', '3.1e−7', '–')
    """
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -3 or exponent > 6:
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        text = f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(power)}"
    else:
        text = f"{value:,.{max(0, digits - 1 - exponent)}f}"
    return text.replace("-", "−")


def short(value: float | int) -> str:
    """A number that somebody chose, as short as it is; a dash where there is none.

    >>> short(0.05), short(-2.0), short(float("nan"))
    ('0.05', '−2', '–')
    """
    return MISSING if math.isnan(value) else f"{value:g}".replace("-", "−")


def fixed(value: float | int | None, places: int) -> str:
    """A fixed number of decimals, for columns; a number too small for them keeps its sign, only 0 is written 0.

    >>> fixed(0.94321, 3), fixed(-0.00004, 3), fixed(0.0, 3)
    ('0.943', '−0.000', '0')
    """
    if value is None or not math.isfinite(value) or value == 0:
        return number(value)
    return f"{value:,.{places}f}".replace("-", "−")


def places(values: Iterable[float | int | None]) -> int:
    """Decimals with which the largest of the values has three significant digits; at most 8.

    >>> places([0.943, 0.0566, float("nan")]), places([120.0]), places([])
    (3, 0, 0)
    """
    sizes = [abs(value) for value in values if value is not None and math.isfinite(value) and value]
    return min(8, max(0, 2 - math.floor(math.log10(max(sizes))))) if sizes else 0


def estimate(value: float | int, low: float | int, high: float | int) -> tuple[str, str]:
    """Estimate and interval with the decimals that the interval's width justifies.

    >>> estimate(0.0812, -0.0331, 0.2012)
    ('0.08', '[−0.03, 0.20]')
    """
    half = (high - low) / 2
    if not math.isfinite(half) or half <= 0:
        return number(value), interval(low, high)
    decimals = min(8, max(0, math.ceil(-math.log10(half / 5))))
    first, *ends = (f"{x:,.{decimals}f}".replace("-", "−") for x in (value, low, high))
    return first, f"[{ends[0]}, {ends[1]}]"


def interval(low: float | int | None, high: float | int | None) -> str:
    """`[0.12, 0.34]`, or a dash if either end is missing."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return MISSING
    return f"[{number(low)}, {number(high)}]"


def p_value(value: float | int | None) -> str:
    """Two significant digits above .001, then a bound.

    >>> p_value(0.0421), p_value(0.0004), p_value(1.0)
    ('.042', '< .001', '1.0')
    """
    if value is None or math.isnan(value):
        return MISSING
    if value < 0.001:
        return "< .001"
    return f"{value:.2g}".removeprefix("0") if value < 0.995 else "1.0"


def count(value: int | None) -> str:
    """Thousands separated."""
    return MISSING if value is None else f"{value:,}"


def label(name: str) -> str:
    """A column or score name as words: `prefix_matching` is `Prefix matching`, `p_maxt` what everybody calls it."""
    if name in NAMES:
        return NAMES[name]
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def counted(text: str) -> tuple[tuple[bool, int, str], ...]:
    """Sorts as people count: C3.2 before C3.10.

    >>> sorted(("C3.10b", "C3.2", "C3.10a"), key=counted)
    ['C3.2', 'C3.10a', 'C3.10b']
    """
    parts = re.split(r"(\d+)", text)
    return tuple((part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts)
