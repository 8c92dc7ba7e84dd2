"""Models whose truth is known by construction: a program writes circuits into ordinary GPT-2 and Llama classes.

space.py    the residual stream as orthogonal blocks of named features
parts.py    heads and MLPs said in features; a circuit is a list of them
noise.py    the one definition of noise
clock.py    relative position, by rotary or by learned positions
layout.py   which head sits where, and how wide everything must be
weights.py  parts -> matrices
host.py     matrices -> a GPT-2 or a Llama of transformers
words.py    made-up words and their tokenizer
truth.py    what is known, as JSON
induction.py semantic.py recall.py geometry.py    the kinds; `decoys.py`, `corpus.py` what they share
build.py    `planted`, the public function
"""
