"""The tiny checkpoints that come with the repository, repacked on first use into the user's cache directory."""

import hashlib
from pathlib import Path

from models.mixtral8x7b.checkpoint.repack import repack
from models.mixtral8x7b.checkpoint.repacked import FORMAT_VERSION, MANIFEST
from models.mixtral8x7b.checkpoint.weights import CheckpointError
from models.mixtral8x7b.durable import exclusive
from models.mixtral8x7b.mistake import reason

CHECKPOINTS = Path(__file__).resolve().parents[3] / "checkpoints"
TINY_NOTE = "A tiny model trained on these facts: it shows that the program is right, not what Mixtral or a T3000 does."
NAMES = {"base": "mixtral-tiny", "instruct": "mixtral-tiny-instruct"}


def tiny_checkpoint(flavour: str, user_cache: Path) -> Path:
    """The repacked directory of a flavour, "base" or "instruct".

    The folder's name carries a hash of the source and of the form's version, so nothing else is ever taken for it. Two
    processes may ask at once: one waits for the other.
    """
    source = CHECKPOINTS / NAMES[flavour]
    digest = hashlib.sha256(bytes([FORMAT_VERSION]))
    for file in sorted(source.iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    folder = user_cache / f"{source.name}-{digest.hexdigest()[:12]}"
    if (folder / MANIFEST).is_file():
        return folder
    try:
        with exclusive(user_cache, wait=True):
            repack(source, folder, flavour)
    except (CheckpointError, OSError) as error:
        why = reason(error) if isinstance(error, OSError) else error
        raise CheckpointError(
            f"cannot repack the tiny checkpoint: {why}; set XDG_CACHE_HOME to a folder that is writable"
        ) from error
    return folder
