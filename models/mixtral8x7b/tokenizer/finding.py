"""Which file holds the tokenizer, and whether it is one at all."""

from pathlib import Path

from models.mixtral8x7b.json_file import JsonError, is_lfs_pointer, read_object
from models.mixtral8x7b.mistake import reason
from models.mixtral8x7b.tokenizer.errors import TokenizerError

NAMES = ("tokenizer.model", "tokenizer.model.v3", "tokenizer.model.v2", "tokenizer.model.v1", "tokenizer.json")
TEKKEN = "tekken.json"
_BLANK = b"\xef\xbb\xbf \t\r\n"  # a byte order mark counts as white space


def find(path: Path) -> Path:
    """The file of a path that is one, or is the folder that holds it. Raises TokenizerError if there is none."""
    if not path.is_dir():
        if not path.is_file():
            raise TokenizerError(
                f"{path} is missing; put the tokenizer.model or tokenizer.json of the checkpoint there"
            )
        return path
    for name in (*NAMES, TEKKEN):
        if (path / name).is_file():
            return path / name
    raise TokenizerError(
        f"{path / NAMES[0]} is missing, and so is tokenizer.json; put the one of the weights there, or name it "
        "in MIXTRAL_TOKENIZER_PATH"
    )


def read(file: Path) -> bytes:
    """Raises TokenizerError for a file that is not what its owner thinks."""
    try:
        if is_lfs_pointer(file):
            raise TokenizerError(f"{file} is a Git LFS pointer, not the file; run git lfs pull where it was cloned")
        content = file.read_bytes()
    except OSError as error:
        raise TokenizerError(f"{file} cannot be read ({reason(error)}); expected a tokenizer: mend this") from error
    if content[:512].lstrip(_BLANK).lower().startswith((b"<!doctype", b"<html")):
        raise TokenizerError(
            f"{file} is an HTML page; expected a file of a tokenizer: fetch the file itself, not the page about it"
        )
    return content


def is_json(file: Path, content: bytes) -> bool:
    """Whatever the file is called."""
    return file.suffix == ".json" or content[:512].lstrip(_BLANK).startswith(b"{")


def values_of(file: Path) -> dict:
    """The object in a JSON file. Raises TokenizerError."""
    read(file)
    try:
        return read_object(file)
    except JsonError as error:
        raise TokenizerError(str(error)) from error
