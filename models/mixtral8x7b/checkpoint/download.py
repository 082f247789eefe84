"""Completes a folder to a published Mixtral: weights in one form, configuration and tokenizer, each file verified.

Files come one by one into a folder beside their place and get their name when they are verified. So a file under its
name is whole, and after a failure of any kind the next run fetches the others.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from models.mixtral8x7b.checkpoint.forms import Candidate, candidates, resolve
from models.mixtral8x7b.checkpoint.hub import RemoteFile, Repository, fetch, look_up
from models.mixtral8x7b.checkpoint.keys import understood
from models.mixtral8x7b.checkpoint.repacked import TOKENIZER, TOKENIZER_FILES
from models.mixtral8x7b.checkpoint.tensor_files import check_path
from models.mixtral8x7b.checkpoint.weights import CheckpointError
from models.mixtral8x7b.config import CONFIG_FILES, ConfigError, MixtralConfig
from models.mixtral8x7b.durable import (
    NO_LOCKS,
    BusyError,
    DiskFullError,
    check_free_space,
    exclusive,
    sync,
    write_text_durably,
)
from models.mixtral8x7b.json_file import JsonError, read_object
from models.mixtral8x7b.mistake import reason
from models.mixtral8x7b.sizes import size_text

RECORD = "download.json"  # what the folder holds: the repository, the commit, size and hash of every file
STAGING = ".partial"  # folder in it where files arrive, and huggingface_hub's own bookkeeping


def download(repo_id: str, directory: Path, revision: str, say: Callable[[str], None]) -> Repository:
    """Fetches what `directory` misses of a repository at a revision, and verifies what is there already.

    Configuration and index come first, and the same checks as before a repack: a model that cannot be repacked is
    refused before its weights are fetched. `say` is told what happens, line by line. The result carries the commit, by
    which the download can be repeated. Raises CheckpointError if the hub, the repository, the folder or what comes is
    not as expected.
    """
    check_path(directory)
    repository = look_up(repo_id, revision)
    possible = candidates(repository.files, repo_id)
    try:
        if directory.exists() and not directory.is_dir():
            raise CheckpointError(f"{directory} is a file; expected a folder for the weights")
        with exclusive(directory):
            _check_holds_nothing_else(directory, repository)
            try:
                _Run(repository, directory, say).complete(possible)
            finally:
                shutil.rmtree(directory / STAGING, ignore_errors=True)
    except (BusyError, DiskFullError) as error:
        raise CheckpointError(str(error)) from error
    except OSError as error:
        if error.errno in NO_LOCKS and error.filename is None:
            raise CheckpointError(
                f"the file system of {directory} has no locks, which huggingface_hub needs; fetch into a folder on "
                "another one and copy it"
            ) from error
        raise CheckpointError(
            f"cannot read or write {directory}: {reason(error)}; run again when this is mended"
        ) from error
    return repository


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


class _Run:
    """One download into a folder that is held alone."""

    def __init__(self, repository: Repository, directory: Path, say: Callable[[str], None]) -> None:
        self._repository, self._directory, self._say = repository, directory, say
        self._staging = directory / STAGING
        shutil.rmtree(self._staging, ignore_errors=True)  # of a download that was killed

    def complete(self, possible: list[Candidate]) -> None:
        repository, say = self._repository, self._say
        files = self._chosen(possible)
        say(f"{repository.repo_id} at commit {repository.commit}: {len(files)} files, {_size(files)}")
        for file in files:
            say(f"{_size([file]):>9}  {file.name}")
        if not any(name.startswith(TOKENIZER) or name == "tokenizer.json" for name in repository.files):
            say(f"{repository.repo_id} has no {TOKENIZER}; the demo will need one from elsewhere")
        missing = [file for file in files if not self._is_here(file)]
        if len(missing) < len(files):
            say(f"{len(files) - len(missing)} files are here and right, {_size(missing)} to fetch")
        if missing:
            check_free_space(self._directory, sum(file.size for file in missing))
        self._record(files)
        for n, file in enumerate(missing, start=1):
            say(f"fetching {n} of {len(missing)}: {file.name}")
            self._fetch(file)

    def _chosen(self, possible: list[Candidate]) -> list[RemoteFile]:
        """All files that the repack needs of the first candidate that it would take; its configuration is here then."""
        problems = []
        for candidate in possible:
            try:
                return self._files_of(candidate)
            except (CheckpointError, ConfigError, JsonError) as error:
                problems.append(str(error))
        raise CheckpointError(
            f"{self._repository.repo_id} cannot be repacked: {'; and '.join(dict.fromkeys(problems))}; "
            "its weights were not fetched"
        )

    def _files_of(self, candidate: Candidate) -> list[RemoteFile]:
        names, repo_id = self._repository.files.keys(), self._repository.repo_id
        configs = [name for name in candidate.kind.configs if name in names]
        if not configs:
            raise CheckpointError(f"{repo_id} has neither config.json nor params.json; one of them must describe it")
        config = MixtralConfig.from_file(self._brought(configs[0]))
        candidate = resolve(candidate, names, lambda index: read_object(self._brought(index)), repo_id)
        if candidate.where is not None:
            understood(candidate.where, config, f"{repo_id} ({candidate.shown})")
        index = [candidate.index] if candidate.index else []
        tokenizers = [name for name in TOKENIZER_FILES if name in names]
        # Mistral's configuration does not say for how long a text the model was made, the other one does
        needed = [*(configs if configs[0] == CONFIG_FILES[0] else configs[:1]), *tokenizers, *index, *candidate.files]
        return [self._repository.files[name] for name in needed]

    def _brought(self, name: str) -> Path:
        """A small file, fetched unless it is here."""
        file = self._repository.files[name]
        if not self._is_here(file):
            self._record([])
            self._fetch(file)
        return self._directory / name

    def _is_here(self, file: RemoteFile) -> bool:
        """Whether the file is here and right; one that is wrong is named and removed."""
        there = self._directory / file.name
        if there.exists() and (difference := file.difference(there)):
            self._say(f"{there} is wrong: {difference}; it was removed and will be fetched again")
            there.unlink()
        return there.exists()

    def _fetch(self, file: RemoteFile) -> None:
        fetched = fetch(self._repository, file, self._staging)
        sync(fetched)
        fetched.replace(self._directory / file.name)

    def _record(self, files: list[RemoteFile]) -> None:
        """What the folder will hold, before the first file is here."""
        values = {"repo_id": self._repository.repo_id, "commit": self._repository.commit}
        text = json.dumps(values | {"files": [asdict(file) for file in files]}, indent=1)
        write_text_durably(self._directory / RECORD, f"{text}\n")


def _size(files: list[RemoteFile]) -> str:
    return size_text(sum(file.size for file in files))
