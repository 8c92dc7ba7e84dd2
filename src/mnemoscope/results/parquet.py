"""Files that are either whole or absent: written aside, flushed to the disk, then renamed.

Parquet files carry no statistics and fixed row groups, so that the same rows are the same bytes. Anything the
operating system refuses (full disk, no permission, a path below a regular file) is one RunFolderError.
"""

import hashlib
import io
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from mnemoscope.errors import RunFolderError

ROWS_PER_GROUP = 65_536


def parquet_bytes(frame: pl.DataFrame) -> bytes:
    """The parquet file of a table: a function of its rows and columns alone."""
    buffer = io.BytesIO()
    frame.rechunk().write_parquet(buffer, compression="zstd", statistics=False, row_group_size=ROWS_PER_GROUP)
    return buffer.getvalue()


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that no reader, and no kill or power cut, ever sees half of it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make renames inside a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Turn what the operating system says about `path` into a RunFolderError."""
    try:
        yield
    except OSError as error:
        raise RunFolderError(
            f"cannot write {path}",
            found=error.strerror or str(error),
            hint="free space or choose another folder with --out; the same command goes on where it stopped",
        ) from error


def read_table(path: Path) -> pl.DataFrame:
    """Read one parquet file; RunFolderError if it is absent, truncated or something else."""
    try:
        return pl.read_parquet(path, glob=False, hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        first = str(error).partition("\n")[0]
        raise RunFolderError(
            f"cannot read the table {path}", found=first, hint="run the study again: only what is damaged is redone"
        ) from error


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()
