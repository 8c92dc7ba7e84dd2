"""Words that carry grammar rather than content, and their deletion from a text.

Ren et al. 2024 delete frequent function words before scoring; their list is not published. Ours are the closed classes
DET, ADP, AUX, CCONJ and PART, and punctuation (methods.md P1.1). Where a source gives parts of speech those decide;
the list below stands in where it gives none, and cannot tell "that" the determiner from "that" the pronoun.
"""

UPOS = frozenset({"DET", "ADP", "AUX", "CCONJ", "PART", "PUNCT"})

DET = "a an the this that these those each every either neither some any no all both another such what which whose"
ADP = (
    "about above across after against along among amongst around as at before behind below beneath beside besides "
    "between beyond by despite down during except for from in inside into like near of off on onto out outside over "
    "past per since through throughout till toward towards under underneath until up upon via versus with within "
    "without"
)
AUX = (
    "am is are was were be been being have has had having do does did can could may might must shall should will would "
    "'m 're 's 've 'd 'll ca wo cannot"
)
CCONJ = "and or but nor yet"
PART = "to not n't ' 's"
WORDS = frozenset(" ".join((DET, ADP, AUX, CCONJ, PART)).split())


def deletable(word: str, upos: str = "") -> bool:
    """Whether a word is a function word or punctuation: by its part of speech where known, else by our list."""
    if upos and upos not in {"_", "X"}:
        return upos in UPOS
    return word.lower() in WORDS or not any(character.isalnum() for character in word)
