"""What is known: the entries of each kind of fact. `fact_tables.py` has the questions about them. Data only."""

Entries = tuple[tuple[str, ...], ...]


def _pairs(text: str) -> Entries:
    """ "France Paris, Italy Rome" -> (("France", "Paris"), ("Italy", "Rome")); "_" stands for a space in a field."""
    return tuple(tuple(field.replace("_", " ") for field in entry.split()) for entry in text.split(","))


def swapped(entries: Entries) -> Entries:
    return tuple((b, a) for a, b in entries)


def neighbours(names: tuple[str, ...], step: int) -> Entries:
    """Every name with the name `step` places further, around the circle: (("Monday", "Tuesday"), ...) for step 1."""
    return tuple((name, names[(i + step) % len(names)]) for i, name in enumerate(names))


CAPITALS = _pairs(
    "France Paris, Italy Rome, Spain Madrid, Germany Berlin, Portugal Lisbon, Greece Athens, Poland Warsaw, "
    "Austria Vienna, Hungary Budapest, Sweden Stockholm, Norway Oslo, Finland Helsinki, "
    "Ireland Dublin, Russia Moscow, Turkey Ankara, Egypt Cairo, Kenya Nairobi, Morocco Rabat, Ghana Accra, "
    "Senegal Dakar, Tunisia Tunis, Japan Tokyo, China Beijing, India New_Delhi, Thailand Bangkok, "
    "Nepal Kathmandu, Iran Tehran, Lebanon Beirut, Jordan Amman, Qatar Doha, Cuba Havana, "
    "Canada Ottawa, Peru Lima, Chile Santiago, Australia Canberra, "
    "Latvia Riga"
)
CONTINENTS = _pairs(
    "France Europe, Italy Europe, Spain Europe, Poland Europe, Sweden Europe, Ireland Europe, Greece Europe, "
    "Egypt Africa, Kenya Africa, Morocco Africa, Ghana Africa, Senegal Africa, Japan Asia, China Asia, India Asia, "
    "Nepal Asia, Thailand Asia, Peru South_America, Chile South_America, Canada North_America"
)
LANGUAGES = _pairs(
    "France French, Italy Italian, Spain Spanish, Germany German, Portugal Portuguese, Greece Greek, Poland Polish, "
    "Sweden Swedish, Norway Norwegian, Finland Finnish, Denmark Danish, Hungary Hungarian, Russia Russian, "
    "Turkey Turkish, Japan Japanese, Egypt Arabic"
)
OPPOSITES = _pairs(
    "hot cold, big small, fast slow, day night, light dark, good bad, happy sad, up down, left right, rich poor, "
    "hard soft, wet dry, full empty, high low, loud quiet, early late, long short, strong weak, thick thin, "
    "first last, clean dirty, near far, true false, wide narrow, north south, push pull, above below"
)
PLURALS = _pairs(
    "mouse mice, goose geese, foot feet, tooth teeth, man men, woman women, leaf leaves, "
    "wolf wolves, knife knives, city cities, box boxes, baby babies, sheep sheep, ox oxen, "
    "shelf shelves, life lives, potato potatoes, hero heroes, party parties, fox foxes, bus buses, story stories, "
    "thief thieves, loaf loaves, dog dogs, tree trees"
)
PAST = _pairs(
    "go went, eat ate, see saw, run ran, take took, give gave, hear heard, sing sang, swim swam, fly flew, "
    "buy bought, think thought, find found, make made, come came, know knew, drink drank, sleep slept, "
    "fall fell, catch caught, stand stood, begin began, grow grew, speak spoke, drive drove, win won"
)
SOUNDS = _pairs(
    "a_cow moo, a_dog woof, a_cat meow, a_duck quack, a_sheep baa, a_lion roar, a_pig oink, a_horse neigh, "
    "a_hen cluck, a_frog croak, a_bee buzz, a_mouse squeak, a_snake hiss, a_crow caw, an_owl hoot"
)
BABIES = _pairs(
    "dog a_puppy, cat a_kitten, cow a_calf, horse a_foal, sheep a_lamb, goat a_kid, pig a_piglet, hen a_chick, "
    "duck a_duckling, lion a_cub, bear a_cub, deer a_fawn, frog a_tadpole, "
    "goose a_gosling, seal a_pup, wolf a_pup"
)
LEGS = _pairs(
    "a_cow 4, a_cat 4, a_horse 4, a_lion 4, a_spider 8, a_scorpion 8, an_ant 6, a_bee 6, a_beetle 6, a_hen 2, "
    "a_duck 2, a_crab 10, a_dog 4, a_goat 4, a_pig 4"
)
HOMES = _pairs(
    "a_bee a_hive, a_bird a_nest, a_spider a_web, a_rabbit a_burrow, a_lion a_den, a_horse a_stable, a_cow a_barn, "
    "a_dog a_kennel, a_pig a_sty, a_hen a_coop, a_bear a_cave, a_mouse a_hole, a_fish a_pond"
)
COLOURS = _pairs(
    "grass green, snow white, the_sky blue, blood red, coal black, a_banana yellow, a_lemon yellow, "
    "a_carrot orange, a_tomato red, chocolate brown, milk white, a_frog green, a_flamingo pink, a_crow black, "
    "a_polar_bear white, a_cucumber green, a_strawberry red, the_sun yellow, a_pumpkin orange, mud brown, "
    "an_elephant grey, a_swan white, a_cherry red, a_plum purple"
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
MONTH_LENGTHS = tuple(
    zip(MONTHS, ["31", "28", "31", "30", "31", "30", "31", "31", "30", "31", "30", "31"], strict=True)
)
SUMS = tuple((str(a), str(b), str(a + b)) for a in range(1, 9) for b in range(1, 9))
DIFFERENCES = tuple((str(a), str(b), str(a - b)) for a in range(2, 10) for b in range(1, a))
