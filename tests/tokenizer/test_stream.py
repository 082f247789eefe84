"""Any ids at all, as they come: joined, the pieces are the whole, and no piece ends inside a character."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from models.mixtral8x7b.tokenizer import Tokenizer
from models.mixtral8x7b.tokenizer.stream import LONGEST_RUN, StreamDecoder
from tests.tokenizer.makers import TINY, V1, V3, beside_tiny, hugging_face

ADDED = {"<|im_end|>": 1024, "wörd": 1025, " two words ": 1026, "🙂": 1040}
LETTERS = " ab\n\t▁é東🙂🙃\u200d\ufffd\x00"


def byte_level(folder: Path) -> Path:
    """A tokenizer.json of the other kind of BPE, whose pieces are bytes."""
    from tokenizers import Tokenizer as Library
    from tokenizers import decoders, models, pre_tokenizers

    vocab = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    library = Library(models.BPE(vocab, []))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens(["<s>", "</s>"])
    folder.mkdir()
    library.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module", params=["v1", "v3", "tiny", "added", "tokenizer.json", "byte level"])
def tokenizer(request, tmp_path_factory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer") / "folder"
    makers = {
        "v1": lambda: V1,
        "v3": lambda: V3,
        "tiny": lambda: TINY,
        "added": lambda: beside_tiny(folder, added_tokens=ADDED),
        "tokenizer.json": lambda: hugging_face(folder, special=("<|im_end|>",), plain=list(ADDED)[1:]),
        "byte level": lambda: byte_level(folder),
    }
    return Tokenizer(makers[request.param]())


def check(tokenizer: Tokenizer, ids: list[int]) -> None:
    stream, whole, told = tokenizer.stream(), tokenizer.decode(ids), ""
    for number, token in enumerate(ids, start=1):
        piece = stream.push(token)
        told += piece
        assert whole.startswith(told)
        assert not piece.endswith("\ufffd") or number >= LONGEST_RUN
    assert told + stream.flush() == whole
    assert tokenizer.stream().flush() == ""


def test_random_ids(tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    n = tokenizer.vocab_size
    special = [0, 1, 2, n - 1, n - 2, n, n + 7]
    for _ in range(300):
        few = [rng.randrange(n) for _ in range(3)] + special
        ids = [rng.choice(few) if rng.random() < 0.3 else rng.randrange(min(n, 400)) for _ in range(rng.randrange(30))]
        check(tokenizer, ids)


def test_ids_of_random_texts(tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    for _ in range(300):
        text = "".join(rng.choice([*LETTERS, *ADDED, "<s>"]) for _ in range(rng.randrange(12)))
        ids = tokenizer.encode(text)
        if "▁" not in text and not text.startswith(" "):
            assert tokenizer.decode(ids) == text
        check(tokenizer, ids)
        check(tokenizer, ids[: rng.randrange(len(ids) + 1)])
        rng.shuffle(ids)
        check(tokenizer, ids)


def test_bytes_that_are_no_characters(tokenizer: Tokenizer) -> None:
    """Runs that end in the beginning of a character, and go on as one."""
    rng = random.Random(0)
    byte = [id for id in range(min(tokenizer.vocab_size, 1100)) if tokenizer.decode([id]) == "\ufffd"]
    assert len(byte) >= 128
    for _ in range(100):
        some = rng.sample(byte, rng.choice([1, 2, 3, 100]))
        run = [rng.choice(some) for _ in range(rng.randrange(60))]
        check(tokenizer, [*run, *tokenizer.encode("🙂é", bos=False), *run])


def test_what_is_decoded_again_does_not_grow(tokenizer: Tokenizer) -> None:
    """However long the answer is, also where nothing in it is text."""
    lengths = []

    def decode(ids: Sequence[int]) -> str:
        lengths.append(len(ids))
        return tokenizer.decode(ids)

    byte = next(id for id in range(tokenizer.vocab_size) if tokenizer.decode([id]) == "\ufffd")
    for id in (byte, tokenizer.eos_id, tokenizer.encode("a", bos=False)[-1]):
        stream = StreamDecoder(decode, skipped={tokenizer.eos_id})
        for _ in range(500):
            stream.push(id)
    assert max(lengths) <= LONGEST_RUN
    assert len(lengths) < 1500
