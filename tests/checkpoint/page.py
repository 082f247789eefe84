"""docs/checkpoints.md: what becomes of every form and relative of Mixtral that people bring.

.venv/bin/python -m tests.checkpoint.page     # makes every checkpoint with tiny sizes, and the page anew
"""

import tempfile
from pathlib import Path

from models.mixtral8x7b.checkpoint.repack import repack
from models.mixtral8x7b.checkpoint.source import SourceCheckpoint
from models.mixtral8x7b.checkpoint.weights import CheckpointError
from tests.checkpoint.config_rows import CONFIGURATIONS, RELATIVES
from tests.checkpoint.form_rows import FORMS, Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "checkpoints.md"
HEAD = """# Which checkpoints are taken

Made by `.venv/bin/python -m tests.checkpoint.page`. `tests/checkpoint/test_forms.py` makes each of these checkpoints
with tiny sizes, repacks it, and compares the logits with those of `transformers` (1e-4), and what is said with this
page. What is repacked runs: the ttnn model equals the reference. DIR is the folder. A download refuses in the same
words, before it fetches weights.
"""
TABLES = {"Forms of weights": FORMS, "Configurations": CONFIGURATIONS, "Relatives": RELATIVES}
ROWS = [row for rows in TABLES.values() for row in rows]


def line(row: Row, folder: Path) -> str:
    """The row's line of the page: what became of the checkpoint, which is left in folder/source and folder/out."""
    source, out = folder / "source", folder / "out"
    source.mkdir()
    row.make(source)
    try:
        repack(source, out)
        said = "".join(f"; says: {note}" for note in SourceCheckpoint(source).notes)
        became = f"repacked, runs{said}"
    except CheckpointError as error:
        became = f"refused: {error}"
    return f"| {row.what} | {became.replace(str(source), 'DIR').replace('*', chr(92) + '*')} |"


def page() -> str:
    parts = [HEAD]
    for title, rows in TABLES.items():
        with tempfile.TemporaryDirectory() as folder:
            lines = [line(row, _made(Path(folder) / str(n))) for n, row in enumerate(rows)]
        parts.append("\n".join([f"## {title}", "", "| what | what becomes of it |", "|---|---|", *lines, ""]))
    return "\n".join(parts)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
