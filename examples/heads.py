"""Which heads do (semantic) induction in the bundled model? Measures by hand, then the study. Runs in seconds on a CPU."""

import mnemoscope as ms
from mnemoscope.measures.induction import induction_scores, repeated_tokens
from mnemoscope.measures.relation_cells import cells
from mnemoscope.measures.relation_corpora import built_in
from mnemoscope.measures.relation_documents import relation_statistics, tau_star

lm = ms.load("reference")

# Ordinary induction: attention to what followed the same token last time, on random tokens repeated four times.
found = induction_scores(lm, repeated_tokens(lm, count=4, seed=0))
looks = found["prefix_matching"].values.mean(0)
layer, head = divmod(int(looks.argmax()), looks.shape[1])
print(f"prefix matching: L{layer}H{head} {looks.max():.3f}, chance {found['prefix_matching'].chance.mean():.3f}")

# The relation index: attending to the head word of a relation, how much of what a head promotes is the tail?
corpus = built_in(lm, "trees", documents=4)
texts = corpus.texts(lm)
statistics = relation_statistics(lm, texts, tau_star=tau_star(lm, texts), positions=16)
table = cells(statistics.documents, statistics.opportunities, ["excess", "pass_rate"], slice="argmax", variant="out")
best = table.filter(table["quantity"] == "excess").sort("estimate", descending=True, nulls_last=True)
print(best.filter(best["n_units"] >= 3).head(5))

# The study does this for all corpora, with nulls, corrected p, causes and a control copy; limits make it quick here.
run = ms.run("heads", lm, limit=2, data=None, quiet=True, group_texts=1, group_sets=1)
print("\n".join(run.tables["headlines"]["text"].to_list()[:4]))
print(run.tables["claims"].select("claim", "verdict").head(5))
