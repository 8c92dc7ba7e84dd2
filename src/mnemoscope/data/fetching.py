"""Getting an external data set from where its authors keep it, at a fixed version, checked, and written aside first."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import urlopen

from mnemoscope.errors import DataError


class Reply(Protocol):
    """What is used of the answer to a request."""

    def read(self) -> bytes:
        """All of it."""
        ...


Opener = Callable[[str], AbstractContextManager[Reply]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a data set lies.

    url      a file, or a zip archive
    folders  the folders of the archive that are kept, counted from below its top folder; () for a single file
    suffix   what the names of the files that are kept end with
    sha256   `digest` of what is kept; "" where the authors' file has no fixed version
    """

    url: str
    folders: tuple[str, ...] = ()
    suffix: str = ""
    sha256: str = ""


def digest(files: Mapping[str, bytes]) -> str:
    """One checksum of several files: sha256 over the lines "name NUL sha256 of the content", sorted by name."""
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name}\0{hashlib.sha256(files[name]).hexdigest()}\n".encode())
    return total.hexdigest()


def fetch(source: Source, folder: Path, *, opener: Opener = urlopen) -> tuple[Path, ...]:
    """Download a source into a folder; returns the files. What is there already with the right name is replaced.

    Raises DataError if it cannot be reached, holds nothing of what was expected, or differs from the pinned version;
    nothing is written then.
    """
    try:
        with opener(source.url) as reply:
            content = reply.read()
    except OSError as reason:
        raise DataError(
            f"{source.url} cannot be fetched", found=str(reason), hint="get it elsewhere and use --data"
        ) from reason
    files = _kept(source, content)
    found = digest(files)
    if not files or (source.sha256 and found != source.sha256):
        raise DataError(
            f"{source.url} is not what we know",
            found=f"{len(files)} files, sha256 {found[:16]}",
            allowed=f"sha256 {source.sha256[:16]}" if source.sha256 else "at least one file",
            hint="download it yourself and use --data if you trust it",
        )
    return tuple(_written(folder / name, data) for name, data in sorted(files.items()))


def _kept(source: Source, content: bytes) -> dict[str, bytes]:
    if not source.folders:
        return {Path(urlsplit(source.url).path).name: content}
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile as reason:
        raise DataError(f"{source.url} is not a zip archive", found=f"{len(content)} bytes") from reason
    files: dict[str, bytes] = {}
    with archive:
        for member in archive.namelist():
            name = member.partition("/")[2]
            wanted = name.startswith(source.folders) and name.endswith(source.suffix) and ".." not in name.split("/")
            if wanted and not member.endswith("/"):
                files[name] = archive.read(member)
    return files


def _written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_bytes(content)
    return aside.replace(path)
