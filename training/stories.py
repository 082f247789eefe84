"""Short stories from a small grammar.

A story is a row of beats; a beat is one of a few sentence templates; a template's slots are words of a list. The slots
are drawn once per story, so that a story speaks of one hero, one friend, one thing: a model must look back to continue
it.
"""

import random
import re

GIRLS = ("Mia", "Anna", "Lucy", "Sara", "Rosa", "Nina", "Ella", "Clara", "Ruth", "Julia")
BOYS = ("Tom", "Ben", "Max", "Leo", "Sam", "Paul", "Jack", "Noah", "Felix", "Oscar")

SLOTS: dict[str, tuple[str, ...]] = {
    "hero": GIRLS + BOYS,
    "he": ("she", "he"),
    "He": ("She", "He"),
    "his": ("her", "his"),
    "child": ("girl", "boy"),
    "friend": ("Pip", "Bobo", "Luna", "Rusty", "Daisy", "Momo", "Coco", "Teddy"),
    "animal": ("rabbit", "fox", "bear", "cat", "dog", "duck", "mouse", "goat", "frog", "deer"),
    "trait": ("kind", "brave", "clever", "shy", "funny", "quiet"),
    "mood": ("happy", "sad", "tired", "hungry", "worried", "proud"),
    "thing": ("key", "ball", "book", "ring", "kite", "lamp", "map", "drum", "boat", "hat"),
    "look": ("red", "blue", "golden", "little", "shiny", "wooden", "green", "broken"),
    "place": ("forest", "river", "garden", "market", "hill", "lake", "bridge", "beach", "barn", "meadow"),
    "home": ("village", "town", "house", "cottage", "castle", "city"),
    "weather": ("sunny", "rainy", "windy", "cold", "warm", "snowy"),
    "time": ("morning", "afternoon", "evening", "day"),
    "play": ("sing", "run", "read", "dance", "swim", "draw", "climb", "fish"),
    "food": ("bread", "soup", "cake", "apples", "cheese", "honey"),
    "spot": ("behind a tree", "under a stone", "near a bench", "inside a box", "on a wall", "by a gate"),
}

BEATS: tuple[tuple[str, ...], ...] = (
    (
        "Once upon a time, a {trait} {child} named {hero} lived in a small {home}.",
        "Long ago, there was a {trait} {child} named {hero} who lived near the {place}.",
        "There once was a {child} named {hero} who loved to {play}.",
        "In a quiet {home} lived a {trait} {child} named {hero}.",
    ),
    (
        "{He} liked to {play} every {time}.",
        "{hero} had a {look} {thing} and took it everywhere.",
        "Every {time}, {hero} looked for something new.",
        "{He} lived there with {his} mother and {his} grandfather.",
    ),
    (
        "One {weather} {time}, {hero} went to the {place}.",
        "One {time}, {he} walked down to the {place}.",
        "On a {weather} {time}, {he} ran to the {place} to {play}.",
    ),
    (
        "There {he} met a {trait} {animal} named {friend}.",
        "Near the {place}, {he} saw a small {animal}, and its name was {friend}.",
        "A {animal} named {friend} was sitting {spot}.",
    ),
    (
        "The {animal} looked {mood}.",
        "{friend} was very {mood}.",
        '"Hello," said {hero}, "why are you so {mood}?"',
    ),
    (
        '"I have lost my {look} {thing}," said {friend}.',
        "{friend} had lost a {look} {thing}.",
        '"Somebody took my {look} {thing}," said the {animal}.',
    ),
    (
        '"I will help you," said {hero}.',
        "{hero} wanted to help at once.",
        '"Do not worry," said {hero}, "we will find it."',
    ),
    (
        "They looked for the {thing} all {time}.",
        "Together they walked around the {place}.",
        "They asked everybody at the {place}, but nobody knew.",
    ),
    (
        "At last {hero} found the {look} {thing} {spot}.",
        "Then {friend} saw the {thing} {spot}.",
        "In the end the {look} {thing} was {spot}.",
    ),
    (
        '"Thank you," said {friend}, and gave {hero} some {food}.',
        "They shared some {food} and laughed.",
        "{friend} was so glad that they began to {play}.",
    ),
    (
        "From that {time} on, {hero} and {friend} were friends.",
        "{hero} went home and told {his} mother about the {animal}.",
        "That {time}, {hero} was {mood} and slept well.",
        "After that, they met at the {place} every {time}.",
    ),
)
_OPTIONAL = frozenset({1, 4, 6, 7, 9})  # beats that a story may leave out
_LEAVE_OUT = 0.3

_SLOT = re.compile(r"\{(\w+)\}")


def story(rng: random.Random, hero: str | None = None) -> str:
    """One story. With `hero`, it is about that person."""
    words = {name: rng.choice(options) for name, options in SLOTS.items()}
    if hero is not None:
        words["hero"] = hero
    gender = 0 if words["hero"] in GIRLS else 1
    for slot in ("he", "He", "his", "child"):
        words[slot] = SLOTS[slot][gender]
    sentences = [
        _SLOT.sub(lambda match: words[match[1]], rng.choice(templates))
        for beat, templates in enumerate(BEATS)
        if beat not in _OPTIONAL or rng.random() >= _LEAVE_OUT
    ]
    return " ".join(sentences)
