"""Does the last layer cost confidence, and what does undoing it cost? Seconds, on the bundled model.

Asks some facts, then asks them again inside `ms.mitigate`: without the last layer, without the last MLP's push for frequent
tokens, with half of the last MLP, and with a temperature, which is what every other remedy has to beat. The model itself is
not changed.
"""

import torch

import mnemoscope as ms
from mnemoscope.data.facts import relation
from mnemoscope.data.relation import prompt

lm = ms.load("reference")
capital = relation("capital")
prompts = [prompt(capital, fact, capital.templates[0]) for fact in capital.facts[:12]]
answers = torch.tensor([lm.tokenizer(p.text + p.answer).input_ids[-1] for p in prompts])
texts = [p.text + p.answer + "." for p in prompts]


def probability() -> float:
    """Mean probability of the right answer."""
    logits = ms.trace(lm, prompts, logits="last").logits[:, 0].float()
    return float(logits.softmax(-1).gather(1, answers[:, None]).mean())


print(f"{'as it is':24}{probability():.3f}")
for name, options in {
    "skip": {},
    "frequency": {"texts": texts},
    "scale": {"amount": 0.5},
    "temperature": {"temperature": 0.5},
}.items():
    with ms.mitigate(lm, name, **options):
        print(f"{name:24}{probability():.3f}")
print(f"{'as it is, again':24}{probability():.3f}")

inputs = lm.tokenizer([prompts[0].text], return_tensors="pt", return_token_type_ids=False)
with ms.mitigate(lm, "temperature", temperature=0.5):
    made = lm.model.generate(**inputs, max_new_tokens=3, do_sample=False)
print(lm.tokenizer.decode(made[0]))
