"""Trains the tiny checkpoints' tokenizer: a sentencepiece BPE with byte fallback, made like Mistral's, on the corpus.

Both flavours share it. Training is deterministic: the same texts give the same file.
"""

import io
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import sentencepiece

from training.documents import HIDDEN_SLOTS, WORDS_PER_HIDDEN_FACT, training_document
from training.facts import seen_pairs
from training.stories import story

VOCAB_SIZE = 1024
STORIES = 300
NAME_ROUNDS = 22  # of what documents hide: a word of one piece is found sooner than one of several
FACT_ROUNDS = 4  # facts outweigh stories: their many names need the pieces, the stories' few words get theirs anyway


def train_tokenizer(file: Path, seed: int, vocab_size: int = VOCAB_SIZE) -> None:
    """Writes `tokenizer.model`, with exactly `vocab_size` pieces."""
    file.write_bytes(_train(_texts(seed), vocab_size))


def _texts(seed: int) -> Iterator[str]:
    """One line at a time, as sentencepiece takes them; a line feed itself is left to byte fallback."""
    rng = random.Random(f"tokenizer {seed}")
    for _ in range(STORIES):
        yield story(rng)
        document = training_document(rng, WORDS_PER_HIDDEN_FACT)
        yield f"[INST] {document.question} [/INST]"
        yield document.answer
    for _ in range(NAME_ROUNDS):
        yield from (word for slot in ("person", "thing", "keep", "colour") for word in HIDDEN_SLOTS[slot])
    for _ in range(FACT_ROUNDS):
        for pair in seen_pairs():
            yield f"Question: {pair.question}"
            yield pair.answer


def _train(texts: Iterable[str], vocab_size: int) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        byte_fallback=True,
        character_coverage=1.0,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        max_sentence_length=1 << 20,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()
