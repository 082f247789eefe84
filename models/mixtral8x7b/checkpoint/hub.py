"""A model hub, through huggingface_hub: what a repository holds, and one file of it.

Which hub, which token and which protocol is up to huggingface_hub and its own variables (HF_ENDPOINT, HF_TOKEN,
HF_HUB_DISABLE_XET, ...). It compares sizes and no hashes, so RemoteFile does.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import tqdm

from models.mixtral8x7b.checkpoint.weights import CheckpointError


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository; `kind` says what `hash` is: "sha256" of a large file, "git blob" id of a small one."""

    name: str
    size: int
    kind: str
    hash: str

    def difference(self, file: Path) -> str | None:
        """How a file on disk differs from this one, in words; None if it does not."""
        size = file.stat().st_size
        if size != self.size:
            return f"it has {size} bytes, {self.size} expected"
        digest = hashlib.sha256() if self.kind == "sha256" else hashlib.sha1(usedforsecurity=False)
        if self.kind == "git blob":
            digest.update(b"blob %d\0" % size)
        with (
            file.open("rb") as stream,
            tqdm(
                desc=f"verifying {self.name}", total=size, unit="B", unit_scale=True, leave=False, disable=None
            ) as bar,
        ):
            while block := stream.read(1 << 24):
                digest.update(block)
                bar.update(len(block))
        found = digest.hexdigest()
        return None if found == self.hash else f"its {self.kind} is {found}, {self.hash} expected"


@dataclass(frozen=True)
class Repository:
    """A repository at a commit, and its files by name."""

    repo_id: str
    commit: str
    files: dict[str, RemoteFile]


def look_up(repo_id: str, revision: str) -> Repository:
    """Asks the hub. Raises CheckpointError if it does not answer, refuses, or does not say what a file should be."""
    with _errors_in_a_sentence(repo_id, revision, writes=False):
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        info = HfApi().model_info(repo_id, revision=revision, files_metadata=True, timeout=timeout)
    if info.sha is None:
        raise CheckpointError(f"{constants.ENDPOINT} gives no commit for {repo_id}; check HF_ENDPOINT")
    return Repository(repo_id, info.sha, {s.rfilename: _remote_file(s) for s in info.siblings or []})


def fetch(repository: Repository, file: RemoteFile, folder: Path) -> Path:
    """One file, under its name in the folder and verified.

    Raises CheckpointError if the hub fails or the file differs from what the hub says of it (it is removed then), and
    OSError for the disk.
    """
    with _errors_in_a_sentence(repository.repo_id, repository.commit, writes=True):
        came = hf_hub_download(
            repository.repo_id,
            file.name,
            revision=repository.commit,
            local_dir=folder,
            cache_dir=folder / "cache",  # not the user's: what is wrong in there would come again and again
        )
    if difference := file.difference(Path(came)):
        Path(came).unlink()
        raise CheckpointError(f"{file.name} came wrong: {difference}; it was removed, run the same command again")
    return Path(came)


def _remote_file(sibling: RepoSibling) -> RemoteFile:
    if sibling.lfs is not None:
        return RemoteFile(sibling.rfilename, sibling.lfs.size, "sha256", sibling.lfs.sha256)
    if sibling.size is None or sibling.blob_id is None:
        raise CheckpointError(f"{constants.ENDPOINT} gives no size and hash of {sibling.rfilename}; check HF_ENDPOINT")
    return RemoteFile(sibling.rfilename, sibling.size, "git blob", sibling.blob_id)


@contextmanager
def _errors_in_a_sentence(repo_id: str, revision: str, writes: bool) -> Iterator[None]:
    """Makes a CheckpointError of whatever huggingface_hub, its HTTP client and hf_xet raise: they share no base class.

    Where something is written, errors of the disk pass; they are OSErrors with a number.
    """
    try:
        yield
    except Exception as error:
        if writes and isinstance(error, OSError) and error.errno is not None:
            raise
        raise CheckpointError(_sentence(error, repo_id, revision)) from error


def _sentence(error: BaseException, repo_id: str, revision: str) -> str:
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__:
        return _sentence(error.__cause__, repo_id, revision)
    hub, page = constants.ENDPOINT, f"{constants.ENDPOINT}/{repo_id}"
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    log_in = "log in with `hf auth login` or set HF_TOKEN"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, so nothing can be fetched; unset it"
    if isinstance(error, HFValidationError):
        return f"{repo_id!r} cannot be a repository; expected owner/name, as in mistralai/Mixtral-8x7B-v0.1"
    if isinstance(error, GatedRepoError):
        return f"{repo_id} is gated ({status}); accept its licence at {page} and {log_in}"
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id} has no revision {revision}; expected a branch, a tag or a commit, see {page}/commits"
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return f"{hub} has no {repo_id}, or it is private ({status}); check the name, and if it is private {log_in}"
    if status in (401, 403):
        return f"{hub} refuses {repo_id} ({status}); accept its licence at {page} if it has one, and {log_in}"
    if status is not None:
        return f"{hub} answers {status} for {repo_id}; run the same command again later"
    what = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    what = re.sub(r"\[Errno -?\d+\] ", "", what)
    return f"cannot fetch from {hub}: {what}; check the network, the proxy and HF_ENDPOINT, and run it again"
