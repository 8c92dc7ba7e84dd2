"""From a hub id to a local folder: only the files that are needed, at one commit, from the cache where there is no network."""

import re
from pathlib import Path
from typing import Final

from huggingface_hub import list_repo_refs, scan_cache_dir, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from mnemoscope.errors import LoadError

# Top-level files only: repositories keep copies of their weights in other formats below.
_SMALL: Final = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
_SAFE: Final = ("model.safetensors", "model-*.safetensors")
_PICKLED: Final = ("pytorch_model.bin", "pytorch_model-*.bin")
_ELSEWHERE: Final = ("*/*",)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def is_hub_id(name: str) -> bool:
    """Whether a name could be a repository: `name` or `owner/name`."""
    return _HUB_ID.fullmatch(name) is not None


def fetched(name: str, revision: str | None, *, allow_pickle: bool, trust_remote_code: bool) -> Path:
    """The local folder of a repository at a revision; its name is the commit."""
    wanted = (*_SMALL, *_SAFE, *(("*.py",) if trust_remote_code else ()))
    folder = _snapshot(name, revision, wanted)
    if allow_pickle and not any(folder.glob("*.safetensors")):
        folder = _snapshot(name, revision, (*wanted, *_PICKLED))
    return folder


def _snapshot(name: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    asked = f"hub model {name!r}" + (f" at revision {revision!r}" if revision else "")
    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=[*patterns], ignore_patterns=[*_ELSEWHERE])
        )
    except GatedRepoError as error:
        raise LoadError(
            f"{asked} cannot be read",
            found="a gated repository, and no access with the present login",
            hint="accept its terms on the hub, log in (hf auth login), and load again",
        ) from error
    except RevisionNotFoundError as error:
        raise LoadError(f"{asked} cannot be read", found="no such revision", hint="check the revision") from error
    except RepositoryNotFoundError as error:
        raise LoadError(
            f"{asked} cannot be read",
            found="no such repository, or a private one without login",
            allowed="hub id, local folder, 'reference'",
            hint="check the spelling, or log in (hf auth login)",
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError) as error:
        raise LoadError(
            f"{asked} cannot be read",
            found="the hub cannot be reached and the model is not in the local cache; no local folder has this name",
            allowed="hub id, local folder, 'reference'",
            hint="give a local folder, or load it once with a network",
        ) from error
    except (EntryNotFoundError, HFValidationError, OSError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise LoadError(f"{asked} cannot be read", found=f"{type(error).__name__}: {first}") from error


def branches(name: str) -> tuple[str, ...]:
    """The branches of a repository; none where the hub cannot be asked."""
    try:
        return tuple(sorted(branch.name for branch in list_repo_refs(name).branches))
    except Exception:  # no network, no repository, no permission: whatever it is, nothing can be listed
        return ()


def is_cached(name: str, revision: str) -> bool:
    """Whether a repository at a revision was downloaded before."""
    return isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str)


def discard(name: str, commit: str, *, cache: Path | None = None) -> int:
    """Remove one downloaded commit from the cache, with the files that no other commit uses. Returns bytes freed."""
    held = scan_cache_dir(cache)
    there = {found.commit_hash for repo in held.repos if repo.repo_id == name for found in repo.revisions}
    if commit not in there:
        return 0
    plan = held.delete_revisions(commit)
    plan.execute()
    return int(plan.expected_freed_size)
