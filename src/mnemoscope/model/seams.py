"""The two seams through which we look into a model, and the only place that wraps or hooks transformers.

Seam 1, attention: inside one context, `AttentionInterface.get_interface` hands out a wrapper that acts on the attention
modules of one LM and calls the function the model would have called, unchanged. No name is registered and no config
or mask is touched: models branch on names, and a name of our own makes some of them silently wrong.
Seam 2, blocks: pre- and post-hooks on the decoder blocks show the residual stream and may replace it.

Everything is undone on the way out, exceptions included; hooks of other people are never touched.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers.modeling_utils import AttentionInterface

from mnemoscope.errors import UnsupportedError

AttentionFunction = Callable[..., tuple[Tensor, Tensor | None]]


@dataclass(frozen=True, kw_only=True)
class AttentionCall:
    """One call of the model's own attention function.

    query [batch head query d_head], key and value [batch kv_head key d_head], all after norm and rotary; mask as the
    model built it (None, boolean or additive); kwargs as passed (scaling, softcap, s_aux, sliding_window ...).
    """

    layer: int
    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    kwargs: Mapping[str, Any]
    original: AttentionFunction

    def __call__(self) -> tuple[Tensor, Tensor | None]:
        """Call the model's own function: z [batch query head d_head] and, where it gives one, the pattern."""
        return self.original(self.module, self.query, self.key, self.value, self.mask, **self.kwargs)


AttentionHandler = Callable[[AttentionCall], tuple[Tensor, Tensor | None]]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seam:
    """One open attention seam."""

    layers: Mapping[nn.Module, int]
    handler: AttentionHandler


# Open seams, outermost first. The interface is one object for the whole process, and so is what wraps it; seams may be
# opened and closed in any order (two models at once, generators), which a chain of saved originals would not survive.
_open: list[_Seam] = []


@contextmanager
def attention_seam(layers: Mapping[nn.Module, int], handler: AttentionHandler) -> Generator[None]:
    """Hand every attention call of the modules in `layers` (module -> layer) to `handler` while the context lasts.

    Of several open seams that know a module, the one opened last sees the call first; its `original` is the next one.
    """
    seam = _Seam(layers=layers, handler=handler)
    _open.append(seam)
    wrapped = _wrap()
    try:
        yield
    finally:
        _open.remove(seam)
        if not _open:
            _unwrap(wrapped)


def _wrap() -> Callable[..., AttentionFunction]:
    """Wrap the interface unless it is wrapped; gives the function that hands out attention functions."""
    present = AttentionInterface.get_interface
    if getattr(present, "_mnemoscope", None) is not None:
        return present

    def get_interface(interface: AttentionInterface, name: str, default: AttentionFunction) -> AttentionFunction:
        function = present(interface, name, default)
        return partial(_routed, tuple(_open), function) if _open else function

    get_interface._mnemoscope = present  # pyright: ignore[reportFunctionMemberAccess]
    AttentionInterface.get_interface = get_interface  # pyright: ignore[reportAttributeAccessIssue]
    return get_interface


def _unwrap(wrapped: Callable[..., AttentionFunction]) -> None:
    """Take the wrapper off, unless somebody has wrapped it in turn: then it stays and, with no open seam, does nothing."""
    if AttentionInterface.get_interface is wrapped:
        AttentionInterface.get_interface = wrapped._mnemoscope  # pyright: ignore[reportFunctionMemberAccess]


def _routed(
    seams: tuple[_Seam, ...],
    function: AttentionFunction,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """The call as the innermost seam that knows the module sees it; the model's own function where none does."""
    while seams and module not in seams[-1].layers:
        seams = seams[:-1]
    if not seams:
        return function(module, query, key, value, attention_mask, **kwargs)
    call = AttentionCall(
        layer=seams[-1].layers[module],
        module=module,
        query=query,
        key=key,
        value=value,
        mask=attention_mask,
        kwargs=kwargs,
        original=partial(_routed, seams[:-1], function),
    )
    return seams[-1].handler(call)


@dataclass(frozen=True, kw_only=True)
class BlockCall:
    """One call of a decoder block: the residual stream going in, and everything else it was called with."""

    layer: int
    resid: Tensor
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def with_resid(self, resid: Tensor) -> "BlockCall":
        """The same call on another residual stream."""
        if self.args and self.args[0] is self.resid:
            return replace(self, resid=resid, args=(resid, *self.args[1:]))
        name = next(key for key, value in self.kwargs.items() if value is self.resid)
        return replace(self, resid=resid, kwargs={**self.kwargs, name: resid})


def _block_call(layer: int, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> BlockCall:
    """The stream is the first argument, or the one called hidden_states."""
    resid = args[0] if args else kwargs.get("hidden_states")
    if not isinstance(resid, Tensor):
        raise UnsupportedError(
            f"block {layer} was not given a residual stream",
            found=f"positional {[type(a).__name__ for a in args]}, named {sorted(kwargs)}",
            allowed="a tensor first, or as hidden_states",
        )
    return BlockCall(layer=layer, resid=resid, args=args, kwargs=kwargs)


@contextmanager
def block_seam(
    blocks: Iterable[nn.Module],
    *,
    before: Callable[[BlockCall], BlockCall | None] | None = None,
    after: Callable[[int, Tensor], Tensor | None] | None = None,
) -> Generator[None]:
    """Show the residual stream before and after every block; what a callback returns, if anything, takes its place."""

    def enter(layer: int, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        assert before is not None
        replaced = before(_block_call(layer, args, kwargs))
        return None if replaced is None else (replaced.args, dict(replaced.kwargs))

    def leave(layer: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        assert after is not None
        several = isinstance(output, (tuple, list))
        replaced = after(layer, output[0] if several else output)
        if replaced is None:
            return None
        return type(output)((replaced, *output[1:])) if several else replaced

    handles: list[Any] = []
    try:
        for layer, block in enumerate(blocks):
            if before is not None:
                handles.append(block.register_forward_pre_hook(partial(enter, layer), with_kwargs=True))
            if after is not None:
                handles.append(block.register_forward_hook(partial(leave, layer)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def module_seam(
    modules: Mapping[str, nn.Module],
    *,
    before: Callable[[str, tuple[Any, ...], Mapping[str, Any]], tuple[tuple[Any, ...], dict[str, Any]] | None]
    | None = None,
    after: Callable[[str, Any], Any] | None = None,
) -> Generator[None]:
    """Show what goes into and comes out of named submodules; what a callback returns, if not None, takes its place."""
    handles: list[Any] = []
    try:
        for name, module in modules.items():
            if before is not None:

                def enter(name: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
                    return before(name, args, kwargs)

                handles.append(module.register_forward_pre_hook(partial(enter, name), with_kwargs=True))
            if after is not None:

                def leave(name: str, _: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
                    return after(name, output)

                handles.append(module.register_forward_hook(partial(leave, name)))
        yield
    finally:
        for handle in handles:
            handle.remove()
