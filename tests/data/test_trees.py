"""Trees as documents: relations, deletion, joining and what is left out, on planted sentences."""

from mnemoscope.data.document import Corpus
from mnemoscope.data.leftout import counted
from mnemoscope.data.trees import Node, Sentence, documents


def sentence(name: str, words: str, document: str = "") -> Sentence:
    """Words as form/upos/head/deprel; a form that begins with + is glued to the word before it."""
    text = ""
    nodes: list[Node] = []
    for item in words.split():
        form, upos, head, deprel = item.split("/")
        text += "" if form.startswith("+") or not text else " "
        form = form.removeprefix("+")
        nodes.append(Node(span=(len(text), len(text) + len(form)), upos=upos, head=int(head), deprel=deprel))
        text += form
    return Sentence(id=name, text=text, nodes=tuple(nodes), document=document)


DOGS = (
    "The/DET/2/det dogs/NOUN/5/nsubj:pass did/AUX/5/aux +n't/PART/5/advmod "
    "see/VERB/0/root big/ADJ/7/amod cats/NOUN/5/obj +./PUNCT/5/punct"
)


def triples(corpus: Corpus) -> list[tuple[str, str, str, str]]:
    return [(d.surface(t.head), t.relation, d.surface(t.tail), t.subtype) for d in corpus.documents for t in d.triples]


def test_governor_is_head_and_dependent_is_tail() -> None:
    made = documents([sentence("s", DOGS)], source="x")
    assert made.documents[0].text == "The dogs didn't see big cats."
    assert triples(made) == [
        ("see", "subj", "dogs", "nsubj:pass"),
        ("see", "mod", "n't", "advmod"),
        ("cats", "mod", "big", "amod"),
        ("see", "obj", "cats", "obj"),
    ]
    assert made.documents[0].prompt().part("mention") == ("The", "dogs", "did", "n't", "see", "big", "cats")
    assert [mention.type for mention in made.documents[0].mentions][:2] == ["DET", "NOUN"]


def test_every_listed_label_has_its_relation() -> None:
    labels = {
        "subj": ("nsubj", "nsubj:pass", "csubj", "csubj:pass"),
        "obj": ("obj", "iobj"),
        "mod": ("amod", "advmod", "nmod", "nummod", "nmod:poss"),
        "": ("obl", "det", "compound", "ccomp", "acl", "appos", "case", "objx"),
    }
    for relation, deprels in labels.items():
        for deprel in deprels:
            made = documents([sentence("s", f"a/NOUN/0/root b/NOUN/1/{deprel}")], source="x")
            assert made.triples() == ({relation: 1} if relation else {})


def test_deletion_drops_words_and_lists_the_triples_that_go_with_them() -> None:
    made = documents([sentence("s", DOGS)], source="x", delete_function_words=True)
    assert made.documents[0].text == "dogs see big cats"
    assert [tail for _, _, tail, _ in triples(made)] == ["dogs", "big", "cats"]
    assert counted(made.left_out) == {"end is a deleted function word": 1}
    assert made.left_out[0].detail == "see / n't"


def test_words_around_a_deletion_are_set_apart_and_others_stay_glued() -> None:
    words = "well/ADV/3/advmod +-/PUNCT/3/punct +known/ADJ/0/root +man/NOUN/3/obj"
    assert documents([sentence("s", words)], source="x").documents[0].text == "well-knownman"
    assert (
        documents([sentence("s", words)], source="x", delete_function_words=True).documents[0].text == "well knownman"
    )


def test_a_sentence_of_function_words_alone_vanishes() -> None:
    told = [sentence("a", "To/PART/0/root the/DET/1/det"), sentence("b", "dogs/NOUN/0/root")]
    assert [d.text for d in documents(told, source="x", delete_function_words=True).documents] == ["dogs"]


def test_sentences_join_up_to_a_length_and_never_across_documents() -> None:
    told = [sentence(f"s{i}", "dogs/NOUN/2/nsubj bark/VERB/0/root", "one" if i < 5 else "two") for i in range(7)]
    made = documents(told, source="x", words=4)
    assert [(d.id, d.unit, len(d.triples)) for d in made.documents] == [
        ("s0", "one", 2),
        ("s2", "one", 2),
        ("s4", "one", 1),
        ("s5", "two", 2),
    ]
    assert made.documents[0].text == "dogs bark dogs bark"
    assert made.triples() == {"subj": 7}
    assert all(triple == ("bark", "subj", "dogs", "nsubj") for triple in triples(made))


def test_without_source_documents_each_joined_one_is_a_unit() -> None:
    told = [sentence(f"s{i}", "dogs/NOUN/0/root") for i in range(4)]
    assert documents(told, source="x", words=2).units() == 2


def test_faults_are_listed() -> None:
    shared = Sentence(
        id="fr",
        text="du pain",
        nodes=(
            Node(span=(0, 2), upos="ADP", head=3, deprel="case", own=False),
            Node(span=(0, 2), upos="NOUN", head=3, deprel="nmod", own=False),
            Node(span=(3, 7), upos="NOUN", head=0, deprel="root"),
        ),
    )
    rootless = sentence("r", "a/NOUN/0/nsubj")
    dotted = sentence("p", "a/NOUN/0/root ./PUNCT/1/nmod")
    broken = Sentence(id="b", text="x", nodes=(), fault="text line disagrees with the words")
    made = documents([shared, rootless, dotted, broken], source="x")
    assert counted(made.left_out) == {
        "text line disagrees with the words": 1,
        "end has no characters of its own": 1,
        "relation without a governor": 1,
        "end is punctuation": 1,
    }
    assert documents([shared], source="x", delete_function_words=True).documents[0].text == "du pain"
