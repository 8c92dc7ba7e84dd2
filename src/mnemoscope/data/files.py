"""Reading JSON and JSON-lines files so that what is wrong is said with path and line, and the fields of their objects."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mnemoscope.errors import DataError

if TYPE_CHECKING:
    JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]
else:
    JSON = object  # annotations are executed in tests, and a recursive one cannot be


def read_text(path: Path) -> str:
    """The characters of a file. Raises DataError if it is absent or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as reason:
        raise DataError(f"{path} cannot be read", found=str(reason.strerror or reason)) from reason
    except UnicodeDecodeError as reason:
        raise DataError(
            f"{path} is not a text file", found=f"byte {reason.start} is not UTF-8", allowed="UTF-8"
        ) from reason


def read_json(path: Path) -> JSON:
    """What a JSON file holds. Raises DataError with line and column if it is not JSON."""
    try:
        return cast("JSON", json.loads(read_text(path)))
    except json.JSONDecodeError as reason:
        raise DataError(
            f"{path} is not JSON",
            found=f"line {reason.lineno} column {reason.colno}: {reason.msg}",
            allowed="one whole JSON value",
            hint="see whether the file was cut off, or a comma or quotation mark is missing there",
        ) from reason


def json_lines(path: Path, bad: list[str]) -> Iterator[tuple[int, Mapping[str, JSON]]]:
    """The objects of a JSON-lines file with their line numbers; a line that holds none goes to `bad`."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = cast("JSON", json.loads(line))
        except json.JSONDecodeError as reason:
            bad.append(f"line {number}: not JSON, {reason.msg} at column {reason.colno}")
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            bad.append(f"line {number}: a {type(value).__name__}, not an object")


def objects(value: JSON) -> list[dict[str, JSON]]:
    """The objects of a list; [] if it is not a list, or holds anything else."""
    found = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    return found if isinstance(value, list) and len(found) == len(value) else []


def words(record: Mapping[str, JSON], *names: str) -> str:
    """The string under a path of names, stripped; "" if there is none."""
    value: JSON = dict(record)
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value.strip() if isinstance(value, str) else ""


def several(record: Mapping[str, JSON], name: str) -> list[str]:
    """The non-empty strings of a list, or the one string that stands in its place."""
    value = record.get(name)
    found = value if isinstance(value, list) else [value]
    return [text.strip() for text in found if isinstance(text, str) and text.strip()]
