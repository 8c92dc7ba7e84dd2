"""The words of the small world, by category. Lists, and the one way of drawing from them."""

from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np

T = TypeVar("T")


def shuffled(members: Sequence[T], rng: np.random.Generator, count: int | None = None) -> list[T]:
    """`count` members (all, if None) in random order, none twice."""
    order: list[int] = rng.permutation(len(members)).tolist()
    return [members[i] for i in order[:count]]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Categories of the few-shot word-pair tasks (methods P1.4): 12 to 20 one-word members each, no word in two of them.
FRUITS: Final = _words(
    "apple banana cherry grape lemon mango melon orange peach pear plum apricot fig kiwi lime papaya"
)
MONTHS: Final = _words("January February March April May June July August September October November December")
FURNITURE: Final = _words(
    "chair table sofa desk bed shelf stool bench cabinet wardrobe dresser couch bookcase cupboard"
)
PROFESSIONS: Final = _words(
    "doctor teacher lawyer baker nurse farmer pilot chef judge plumber painter writer carpenter dentist soldier tailor"
)
ANIMALS: Final = _words("dog cat horse cow pig sheep goat lion tiger bear wolf fox rabbit mouse elephant monkey")
COLOURS: Final = _words("red blue green yellow purple brown black white pink grey silver golden")
TOOLS: Final = _words("hammer saw drill wrench shovel rake axe knife scissors pliers screwdriver chisel ladder needle")
VEGETABLES: Final = _words(
    "carrot potato onion cabbage spinach celery turnip pumpkin radish lettuce broccoli bean leek garlic"
)

CATEGORIES: Final = {
    "fruit": FRUITS,
    "month": MONTHS,
    "furniture": FURNITURE,
    "profession": PROFESSIONS,
    "animal": ANIMALS,
    "colour": COLOURS,
    "tool": TOOLS,
    "vegetable": VEGETABLES,
}

# People who do something in the passages of the comprehension task (methods P3.6). One token each.
FIRST_NAMES: Final = _words(
    "Hannah Peter Maria Tom Alice David Julia Oscar Emma Lucas Nina Victor Clara Simon Laura Felix "
    "Sophie Martin Eva Daniel Rosa Henry Greta Paul Irene Max Olga Leo Ruth Hugo"
)
ACTIVITIES: Final = (
    "reading a book",
    "baking some bread",
    "painting the fence",
    "washing the car",
    "playing the piano",
    "writing a letter",
    "feeding the ducks",
    "riding a bicycle",
    "drinking hot tea",
    "cleaning the kitchen",
    "climbing a tree",
    "fixing the roof",
    "watching a film",
    "cooking the soup",
    "flying a kite",
    "drawing a map",
    "planting some flowers",
    "singing a song",
    "folding the laundry",
    "counting the coins",
    "building a boat",
    "cutting the grass",
    "catching a fish",
    "knitting a scarf",
)

# The narrative world: things, qualities, deeds and places.
THINGS: Final = _words(
    "lamp basket wheel mirror bottle candle blanket clock drum flute ring rope box bag coin cup plate spoon key lock door "
    "window carpet kettle pan pot jar brush comb hat coat boot glove scarf belt button pillow towel bucket barrel cart "
    "boat sail anchor net hook bell whistle mask crown sword shield arrow bow flag tent map compass lantern book letter"
)
QUALITIES: Final = _words(
    "old new big small heavy light bright dark soft hard clean dirty warm cold round flat sharp smooth rough wet dry rich "
    "poor strong weak quiet loud quick slow young tall short thick thin sweet bitter proud humble brave shy"
)
DEEDS: Final = _words(
    "finds carries paints sells buys hides breaks repairs cleans lifts drops throws catches holds guards follows watches "
    "draws builds burns covers opens closes moves pulls pushes counts borrows lends steals returns keeps loses wants "
    "needs likes fears admires praises touches turns ties wraps washes weighs"
)
PLACES: Final = _words(
    "garden kitchen market forest river bridge tower castle church school station harbour island mountain valley meadow "
    "village street square mill farm barn cellar attic hall library museum theatre palace prison hospital bakery"
)
ADVERBS: Final = _words("often always never again today slowly quietly gladly early late now soon once here there")
MATERIALS: Final = _words(
    "wood iron stone glass paper leather copper wool silk clay bronze cotton wax ivory marble tin"
)

# Invented people and towns: no model has read about them.
SURNAMES: Final = _words(
    "Brandol Velmora Tirkan Ostrell Quindar Haskeby Melvane Dorrick Plimso Arkwen Luthier Benvolt Cardwin Estrany Fellnor "
    "Gramstead Holvik Imberly Jorvane Kestrin Lomax Marrowby Nethercot Ombrey Pellwin Quorley Rastin Selbrig Thornaby Ulmeck "
    "Varnholt Wexcomb Yarrowin Zeldrak Abernol Bostrick Cromwell Danvers Elsinor Farquin"
)
TOWNS: Final = _words(
    "Alderby Birchum Caldmoor Dunwick Eastry Fenbrook Gorsley Hartle Inkpen Jesmond Kelloe Larkhill Mistley Norwold Oakdene "
    "Penrose Quarley Redcar Stonham Thirsk Upwell Ventmoor Wickford Yelden Zennor Ashcott Brimley Corfe Dorney Elmsett "
    "Foxton Grimsby Hexham Ilford Jarrow Kirkby Ludham Morpeth Netley Orford"
)
NONSENSE: Final = _words(
    "blick dax wug fep toma zup glorp narf plim snood kiv brux tosk vell yarp mib quon drell frim gazz hulk jorb kest lund "
    "mox nurt prax rill skav thrup umbo vint wex yond zeth birl crad delf emmo flin"
)

BEGINNINGS: Final = (
    *FIRST_NAMES,
    *THINGS,
    *(word for members in CATEGORIES.values() for word in members),
)  # may begin a line
ALL: Final = (
    *BEGINNINGS,
    *(*QUALITIES, *DEEDS, *PLACES, *ADVERBS, *MATERIALS),
    *(*SURNAMES, *TOWNS, *NONSENSE),
    *"BCDEFGHJKLMNOPQRSTUVWXYZ",
)
