"""One writer per run folder: a lock of the operating system, so that it ends with the process, however that dies."""

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mnemoscope.errors import RunFolderError
from mnemoscope.results.parquet import writing

LOCK = "lock"


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold the folder's lock; RunFolderError names the process that has it already."""
    import fcntl  # POSIX only; reading a run folder needs no lock and works everywhere

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunFolderError(
                f"another process is writing to {folder}",
                found=os.read(handle, 200).decode(errors="replace") or "an unknown process",
                hint="wait until it has finished, or choose another folder with --out",
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(handle)
