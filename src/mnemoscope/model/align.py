"""From character spans to token ranges, for every tokenizer that tells which characters a token stands for.

Tokenizers disagree about who owns the space before a word: byte-level ones leave it out of the offsets, sentencepiece
ones count it in, some give it a token of its own. So white space at the edges of a token and of a span is not compared;
everything else has to agree: a span is aligned if no token reaches across its borders and every character of it is in
a token. All spans that are not aligned are reported at once; none is rounded to the next token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mnemoscope.data.prompt import Prompt, Span
from mnemoscope.errors import AlignmentError, UnsupportedError, listed
from mnemoscope.model.encode import Encoding

TokenRange = tuple[int, int]  # half-open range of columns


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """Why a span is not a whole number of tokens."""

    prompt: int
    role: str
    words: str
    chars: Span
    reason: str

    def __str__(self) -> str:
        return f"prompt {self.prompt} {self.words!r} chars {self.chars[0]}-{self.chars[1]} -> {self.reason}"


def align(
    prompts: Sequence[Prompt], encodings: Sequence[Encoding], *, tokenizer_name: str
) -> Mapping[str, tuple[tuple[TokenRange, ...], ...]]:
    """Token ranges of every role: role -> one tuple of ranges per prompt (empty where the prompt lacks the role)."""
    roles = list(dict.fromkeys(role for prompt in prompts for role in prompt.spans))
    if roles and any(encoding.offsets is None for encoding in encodings):
        raise UnsupportedError(
            f"roles {', '.join(map(repr, roles))} cannot be aligned with tokens",
            found=f"tokenizer {tokenizer_name!r} does not tell which characters a token stands for",
            allowed="fast tokenizers",
            hint="give prompts without roles, or token ids",
        )
    misfits: list[Misfit] = []
    spans = {role: tuple(_ranges(i, role, prompts, encodings, misfits) for i in range(len(prompts))) for role in roles}
    if misfits:
        raise _error(misfits, len(prompts), tokenizer_name)
    return spans


def _ranges(
    index: int, role: str, prompts: Sequence[Prompt], encodings: Sequence[Encoding], misfits: list[Misfit]
) -> tuple[TokenRange, ...]:
    prompt, found = prompts[index], list[TokenRange]()
    for span in prompt.spans.get(role, ()):
        fit = token_range(prompt.text, encodings[index].offsets or (), span)
        if isinstance(fit, str):
            words = prompt.text[span[0] : span[1]]
            misfits.append(Misfit(prompt=index, role=role, words=words, chars=span, reason=fit))
        else:
            found.append(fit)
    return tuple(found)


def token_range(text: str, offsets: Sequence[Span], span: Span) -> TokenRange | str:
    """The tokens that a character span is made of, or the reason why it is not made of whole tokens."""
    return token_ranges(text, offsets, (span,))[0]


def token_ranges(text: str, offsets: Sequence[Span], spans: Sequence[Span]) -> tuple[TokenRange | str, ...]:
    """`token_range` of several spans of one text."""
    bare = [_trimmed(text, offset) for offset in offsets]
    return tuple(_token_range(text, offsets, bare, span) for span in spans)


def _token_range(text: str, offsets: Sequence[Span], bare: Sequence[Span], span: Span) -> TokenRange | str:
    core = _trimmed(text, span)
    blank = core[0] == core[1]  # the span is white space: then white space is what is compared
    wanted, ranges = (span, offsets) if blank else (core, bare)
    inside = [i for i, (a, b) in enumerate(ranges) if a < wanted[1] and b > wanted[0] and a < b]
    if not inside:
        return "no token stands for it"
    for i in inside:
        a, b = ranges[i]
        if a < wanted[0] or b > wanted[1]:
            return f"inside token {i} ({text[offsets[i][0] : offsets[i][1]]!r})"
    covered = {c for i in inside for c in range(*ranges[i])}
    lost = [text[c] for c in range(*wanted) if c not in covered and not text[c].isspace()]
    if lost:
        return f"characters {''.join(lost)!r} are in no token"
    return inside[0], inside[-1] + 1


def _trimmed(text: str, span: Span) -> Span:
    """The span without white space at its edges; an empty range where it is nothing else."""
    a, b = span
    while a < b and text[a].isspace():
        a += 1
    while b > a and text[b - 1].isspace():
        b -= 1
    return a, b


def _error(misfits: Sequence[Misfit], n_prompts: int, tokenizer_name: str) -> AlignmentError:
    roles = list(dict.fromkeys(misfit.role for misfit in misfits))
    n_bad = len({misfit.prompt for misfit in misfits})
    return AlignmentError(
        f"{n_bad} of {n_prompts} prompts have no whole-token span for role {', '.join(map(repr, roles))} "
        f"under tokenizer {tokenizer_name!r}",
        found=listed(map(str, misfits), most=len(misfits)),
        allowed="spans that start and end on token boundaries",
        hint="put a space or punctuation around the words in the template, or drop these prompts explicitly",
    )
