"""A plain way to look into a planted model: hooks on transformers' own modules, none of our engine."""

import pytest


class Probe:
    """Runs of a planted model on prompts, right-padded; everything is read at each prompt's last token."""

    def __init__(self, made, prompts=None):
        import torch

        self.torch, self.made, self.truth = torch, made, made.truth
        self.model, self.tokenizer = made.model, made.tokenizer
        self.model.set_attn_implementation("eager")
        gpt2 = made.truth.family == "gpt2"
        inner = self.model.transformer if gpt2 else self.model.model
        self.blocks = inner.h if gpt2 else inner.layers
        self.final_norm = inner.ln_f if gpt2 else inner.norm
        self.projections = [b.attn.c_proj if gpt2 else b.self_attn.o_proj for b in self.blocks]
        self.norms = [
            (b.ln_1, b.ln_2) if gpt2 else (b.input_layernorm, b.post_attention_layernorm) for b in self.blocks
        ]
        self.W_E = self.model.get_input_embeddings().weight.detach()
        self.W_U = self.model.lm_head.weight.detach().T
        self.d_head = self.projections[0].weight.numel() // self.W_E.shape[1] // made.model.config.num_attention_heads
        self.use(made.prompts if prompts is None else prompts)

    def use(self, prompts):
        """Tokenise and run once: logits, attention, stream, z and MLP outputs."""
        torch = self.torch
        self.prompts = prompts
        enc = self.tokenizer([p.text for p in prompts], return_tensors="pt", padding=True, return_offsets_mapping=True)
        self.offsets = enc.pop("offset_mapping").tolist()
        self.enc, self.ids = enc, enc["input_ids"]
        self.rows, self.last = torch.arange(len(prompts)), enc["attention_mask"].sum(1) - 1
        self.z, self.mlp = {}, {}
        handles = [p.register_forward_pre_hook(self._keep_z(i)) for i, p in enumerate(self.projections)]
        handles += [b.mlp.register_forward_hook(self._keep_mlp(i)) for i, b in enumerate(self.blocks)]
        handles.append(self.final_norm.register_forward_pre_hook(lambda _, args: setattr(self, "final", args[0])))
        with torch.no_grad():
            out = self.model(**enc, output_attentions=True, output_hidden_states=True)
        for handle in handles:
            handle.remove()
        self.all_logits, self.logits = out.logits, out.logits[self.rows, self.last]
        self.attention = out.attentions
        self.stream = (*out.hidden_states[:-1], self.final)  # transformers normalises the last one
        return self

    def _keep_z(self, layer):
        return lambda _, args: self.z.__setitem__(layer, args[0].detach())

    def _keep_mlp(self, layer):
        return lambda _, args, out: self.mlp.__setitem__(layer, out.detach())

    def slots(self, head):
        return slice(head * self.d_head, (head + 1) * self.d_head)

    def z_of(self, head):
        """z of one head at the last positions."""
        return self.z[head.layer][self.rows, self.last][:, self.slots(head.head)]

    def W_O(self, head):
        weight = self.projections[head.layer].weight.detach()
        weight = weight if self.truth.family == "gpt2" else weight.T
        return weight[self.slots(head.head)]

    def W_V(self, head):
        torch, block = self.torch, self.blocks[head.layer]
        if self.truth.family == "gpt2":
            d_model = self.W_E.shape[1]
            return block.attn.c_attn.weight.detach()[:, 2 * d_model :][:, self.slots(head.head)]
        return block.self_attn.v_proj.weight.detach().T[:, self.slots(head.kv_head)] if torch else None

    def W_OV(self, head):
        return self.W_V(head) @ self.W_O(head)

    def patched(self, replacements):
        """Last logits with z of some heads replaced at the last position: {(layer, head): [prompt d_head]}."""
        handles = [
            self.projections[layer].register_forward_pre_hook(self._put(self.slots(head), value))
            for (layer, head), value in replacements.items()
        ]
        with self.torch.no_grad():
            logits = self.model(**self.enc).logits[self.rows, self.last]
        for handle in handles:
            handle.remove()
        return logits

    def _put(self, slots, value):
        def hook(_, args):
            z = args[0].clone()
            z[self.rows, self.last, slots] = value
            return (z,)

        return hook

    def token(self, word):
        return self.tokenizer.convert_tokens_to_ids(word.strip())

    def tokens(self, words):
        return self.torch.tensor([self.token(word) for word in words])

    def margin(self, logits):
        """Logit of the answer minus the mean of the foils, per prompt."""
        return self.torch.stack(
            [
                row[self.token(p.answer)] - row[self.tokens(p.foils)].mean()
                for row, p in zip(logits, self.prompts, strict=True)
            ]
        )

    def accuracy(self, logits=None):
        logits = self.logits if logits is None else logits
        return (logits.argmax(-1) == self.tokens(p.answer for p in self.prompts)).float().mean().item()

    def cause(self, head):
        """Fall of the margin, per prompt, when z of the head becomes its mean over the prompts."""
        z = self.z_of(head)
        return self.margin(self.logits) - self.margin(self.patched({(head.layer, head.head): z.mean(0)}))

    def places(self, row, role):
        """Token positions of one role of one prompt."""
        spans = self.prompts[row].spans.get(role, ())
        return [i for i, (a, b) in enumerate(self.offsets[row]) if b > a and any(s <= a and b <= e for s, e in spans)]


@pytest.fixture(scope="session")
def probe():
    """Make a Probe of a planted model."""
    return Probe


@pytest.fixture(scope="session")
def plant():
    """Planted models by their arguments, each built once."""
    from mnemoscope.reference import planted

    made = {}

    def build(kind, **options):
        key = (kind, *sorted((name, str(value)) for name, value in options.items()))
        if key not in made:
            made[key] = planted(kind, **options)
        return made[key]

    return build


@pytest.fixture(scope="session")
def shares():
    """RI's OV score of every visible token: q over the sum of q; nan where undefined (methods.md P1.2, B1.4)."""

    def shares(logits, visible):
        import torch

        ids = torch.unique(visible)
        z = logits[ids].double()
        found = torch.full(logits.shape, torch.nan, dtype=torch.double)
        if z.max() - z.min() > 1e-4 * 6:
            w = torch.expm1(z - z.mean())
            q = torch.relu(w - w.mean())
            found[ids] = q / q.sum()
        return found

    return shares
