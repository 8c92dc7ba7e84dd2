"""The words of the model card; `mnemoscope.reference.card` puts the figures beneath them."""

from typing import Final

INTRO: Final = """# The bundled reference model

A Llama-class decoder (4 layers, width 128, 4 heads of 32, 1.38M parameters, untied output embeddings, rotary positions, 768
tokens of context of which training filled 640), trained from nothing on a small written world of our own sentences
(`mnemoscope.reference.world`), together with checkpoints of its training. `ms.load("reference")` is the last one,
`ms.load("reference", revision="step500")` an earlier one. It exists so that every study can be tried in seconds, without a
network, on a model that was trained and not built. It is no language model: outside its world it knows nothing.

**What is not natural about it.** From ordinary random weights copying did not begin within 5.6M tokens of earlier mixtures, nor
within 1.1M tokens of spans alone (docs/log.md lists what was tried; longer was not). So its first weights are mimetic (Trockman
and Kolter 2023: queries resemble keys, values are written so that the output embeddings can read them), and they carry a weak
seed: two of the four heads of layer 0 prefer the previous token (about half of their attention) and write it into directions of
their own, and two of the four heads of layers 1 and 2 compare the current token with those directions. At step 0 that gives the
right token little more attention than an even head would pay (the head that matches best .12 against .08 in repeated spans of 8
words, .03 against .02 in spans of 32), and copying is at chance; the circuit that copies is made by training, but *where* it is
made (previous token in layer 0, matching in layers 1 and 2, heads 0 and 1) is our doing. Studies of *when* abilities emerge may
use the series; the place of induction heads in it is no finding. Nothing else was seeded: facts, categories, answer formats,
lines and passages are learned from random weights.

The mixture of documents is the same at every step, so the order of emergence is not scripted by time. It holds easy and hard
documents side by side: spans of 3 to 100 words, and pair documents with two to all words of a category, with a few lines that
come again, with balanced classes, with one left category, or with one right category only, where the left word alone decides.
Tokens that cannot be predicted (the words of a random span, the x of a point) weigh .03 in the loss, answers 4 (12 where the
left word alone decides; the y of points 2), words of sentence frames less than 1: loss curves of this model are not those of
ordinary text, and the loss on a *first* copy is far above the uniform one.

**What it has not seen.** Two of the ten sentence frames of each relation are held out, and one ordered word pair in five, by a
hash of its two words: no document of any kind writes such a pair as `left, right`, and only they are asked in an evaluation (in
spans and walks two such words may stand side by side by chance). Passages, spans, narratives and points are drawn anew, but
nothing in them is held out: every person and activity occurs in training, and the 16 lines that are asked are among the 50 that
were trained, so the line task may be done by telling which of 50 lines it is. Answers of facts are one token each and differ
within a relation.

Figures are measured by `python -m mnemoscope.reference.evaluate`, which uses plain transformers and none of our engine;
brackets are 95% intervals (Wilson for shares, t for means). Trained by `python -m mnemoscope.reference.train FOLDER` with its
defaults, on one CPU core. The weights are ours, under the licence of the package."""

NOT_THERE: Final = "Abilities marked NO were not reached; what was tried stands in docs/log.md."

KNOWN: Final = """## Known defects

- **Nine classes: the left word is read less well than the right one.** At 20 shots the class that is named has the right
  category of the query in every answer, the left one in .72 (chance is .33). With four classes both are always right.
- The left word comes late and at once: four classes rise from .56 to .99 between steps 3,500 and 3,800, long after the binary
  tasks, which either word decides. By then the learning rate is falling, as it does from step 1,575 on; in a run whose rate fell
  over 1,050 steps only, they ended at .79. So *when* it comes depends on the schedule as well as on the data.
- Without an example the content of every answer about a passage is right and its form is a guess at one of three, so "right"
  lies near .33 whatever the number of sentences; 1/sentences is the chance of the content.
- Personas are followed in part: told to deceive, the model says the truth in .59 to .66 of its answers, and an example raises
  that to .845 under one of the two deceitful personas and not under the other (.60). Behind an example the truthful persona
  costs some right answers (.89).
- The line task is exact only with about 8 points (see the errors with 2 and 4), and only in small whole numbers: decimals are
  not read (docs/log.md).
- Of the two wordings of EVALUATE-FOR one ("is judged by") says the relation the other way round; its triples keep the order of
  the words.
- Intervals count prompts. Each fact is asked in both held-out frames, so those 2,300 prompts are of 1,150 facts."""

SIBLINGS: Final = """## Smaller siblings, three seeds (not shipped)

The same world at width 64 (4 layers, 4 heads of 16, .50M parameters), 3,000 steps of two thirds as many rows, the learning rate
falling over the same share of them, to see how far seeds differ:
`python -m mnemoscope.reference.train FOLDER --preset sibling --seed 1` (2, 3)."""
