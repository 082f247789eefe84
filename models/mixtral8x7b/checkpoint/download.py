"""Completes a folder to a published Mixtral: weights in one form, configuration and tokenizer, each file verified.

Files come one by one into a folder beside their place and get their name when they are verified. So a file under its
name is whole, and after a failure of any kind the next run fetches the others.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from models.mixtral8x7b.checkpoint.hub import RemoteFile, Repository, fetch, look_up
from models.mixtral8x7b.checkpoint.repacked import TOKENIZER
from models.mixtral8x7b.checkpoint.weights import CheckpointError
from models.mixtral8x7b.config import ConfigError, MixtralConfig
from models.mixtral8x7b.durable import (
    BusyError,
    DiskFullError,
    check_free_space,
    exclusive,
    sync,
    write_text_durably,
)

RECORD = "download.json"  # what the folder holds: the repository, the commit, size and hash of every file
STAGING = ".partial"  # folder in it where files arrive, and huggingface_hub's own bookkeeping


def download(repo_id: str, directory: Path, revision: str, say: Callable[[str], None]) -> Repository:
    """Fetches what `directory` misses of a repository at a revision, and verifies what is there already.

    `say` is told what happens, line by line. The result carries the commit, by which the download can be repeated.
    Raises CheckpointError if the hub, the repository, the folder or what comes is not as expected.
    """
    wanted = look_up(repo_id, revision)
    try:
        if directory.exists() and not directory.is_dir():
            raise CheckpointError(f"{directory} is a file; expected a folder for the weights")
        say(f"{repo_id} at commit {wanted.commit}: {len(wanted.files)} files, {_size(wanted.files)}")
        for file in wanted.files:
            say(f"{_size([file]):>9}  {file.name}")
        if all(file.name != TOKENIZER for file in wanted.files):
            say(f"{repo_id} has no {TOKENIZER}; the demo will need one from elsewhere")
        with exclusive(directory):
            _check_holds_nothing_else(directory, wanted)
            try:
                _complete(directory, wanted, say)
            finally:
                shutil.rmtree(directory / STAGING, ignore_errors=True)
    except (BusyError, DiskFullError) as error:
        raise CheckpointError(str(error)) from error
    except OSError as error:
        raise CheckpointError(f"cannot read or write {directory}: {error}") from error
    return wanted


def _check_holds_nothing_else(directory: Path, wanted: Repository) -> None:
    """Raises CheckpointError if the folder holds anything but a beginning of this very download."""
    record = directory / RECORD
    if not record.is_file():
        others = sorted(file.name for file in directory.iterdir() if file.name not in (STAGING, f"{RECORD}.tmp"))
        if others:
            raise CheckpointError(f"{directory} holds something else ({others[0]}, ...); choose an empty folder")
        return
    try:
        there = json.loads(record.read_text(encoding="utf-8"))
        repo_id, commit = there["repo_id"], there["commit"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{record} is damaged; choose another folder or delete this one") from error
    if (repo_id, commit) != (wanted.repo_id, wanted.commit):
        go_on = f", or go on with --revision {commit}" if repo_id == wanted.repo_id else ""
        raise CheckpointError(
            f"{directory} holds {repo_id} at commit {commit}, not {wanted.repo_id} at commit {wanted.commit}; "
            f"choose another folder{go_on}"
        )


def _complete(directory: Path, wanted: Repository, say: Callable[[str], None]) -> None:
    staging = directory / STAGING
    shutil.rmtree(staging, ignore_errors=True)  # of a download that was killed
    missing = _missing(directory, wanted, say)
    if missing:
        check_free_space(directory, sum(file.size for file in missing))
    write_text_durably(directory / RECORD, json.dumps(asdict(wanted), indent=1) + "\n")
    for n, file in enumerate(missing, start=1):
        if file != wanted.files[0]:
            _check_config(directory, wanted)
        say(f"fetching {n} of {len(missing)}: {file.name}")
        fetched = fetch(wanted, file, staging)
        sync(fetched)
        fetched.replace(directory / file.name)


def _missing(directory: Path, wanted: Repository, say: Callable[[str], None]) -> list[RemoteFile]:
    """The files that are not there; one that is wrong is named and removed."""
    missing = []
    for file in wanted.files:
        there = directory / file.name
        if there.exists() and (difference := file.difference(there)):
            say(f"{there} is wrong: {difference}; it was removed and will be fetched again")
            there.unlink()
        if not there.exists():
            missing.append(file)
    if len(missing) < len(wanted.files):
        say(f"{len(wanted.files) - len(missing)} files are here and right, {_size(missing)} to fetch")
    return missing


def _check_config(directory: Path, wanted: Repository) -> None:
    try:
        MixtralConfig.from_dir(directory)
    except ConfigError as error:
        raise CheckpointError(f"{wanted.repo_id} is not a Mixtral: {error}; its weights were not fetched") from error


def _size(files: list[RemoteFile]) -> str:
    size = sum(file.size for file in files)
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 1e3:.1f} kB"
