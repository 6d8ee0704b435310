"""A key-value cache of pages: a text holds as many as its tokens fill, and what texts begin alike with is held once.

After PagedAttention (Kwon et al. 2023, arXiv:2309.06180), with transformers' own models and kernels: a layer gathers
the pages of the texts in a pass, one layer at a time, so that only a layer's keys and values are ever held padded.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from gate.engines.hf.generation.pool import NOBODY, Pool
from gate.engines.hf.generation.shared_attention import NAME, Beginning

_NONE = torch.empty(2, 0, dtype=torch.int64)


class _Pass:
    """What the next forward pass writes where, and what it attends to: the same for all layers.

    Attributes
    ----------
    length : int
        Positions that the longest text holds before it.
    width : int
        Positions that are attended to.
    """

    def __init__(
        self, length: int = 0, width: int = 0, cells: torch.Tensor = _NONE, table: torch.Tensor | None = None
    ) -> None:
        """`cells`: page and place in it of each new token, of shape (2, rows x new tokens); `table`: see `_Layer`."""
        self.length, self.width = length, width
        self._cells, self._table = cells, table
        self._moved: dict[tuple[torch.device, int], tuple[torch.Tensor, torch.Tensor | None]] = {}

    def on(self, device: torch.device, heads: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the cells, and which pages of which head are attended to; layers may lie on several devices.

        Returns
        -------
        int64 tensor of shape (2, rows x new tokens)
        int64 tensor of shape (rows x heads x pages,), or None
            page x heads + head; None for the new tokens alone.
        """
        found = self._moved.get((device, heads))
        if found is None:
            index = None
            if self._table is not None:
                index = self._table[:, None, :] * heads + torch.arange(heads)[:, None]
                index = index.flatten().to(device)
            found = self._moved[device, heads] = (self._cells.to(device), index)
        return found


@dataclass
class _Now:
    """The pass that layers are in. With the cache itself they would make a cycle, which outlives its use."""

    passing: _Pass


class _Layer(CacheLayerMixin):  # type: ignore[misc]  # transformers is not typed
    """Keys and values of one layer, of shape (pages, heads, tokens of a page, head size) each."""

    is_sliding = False

    def __init__(self, now: _Now, pages: int, size: int) -> None:
        super().__init__()
        self._now, self._pages, self._size = now, pages, size

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        # zeros: a masked position has weight 0, and 0 x NaN would still be NaN
        self.keys, self.values = (
            new.new_zeros(self._pages, new.shape[1], self._size, new.shape[3])
            for new in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rows, heads = key_states.shape[:2]
        (pages, places), index = self._now.passing.on(key_states.device, heads)
        for held, new in ((self.keys, key_states), (self.values, value_states)):
            held[pages, :, places] = new.transpose(1, 2).flatten(0, 1)
        if index is None:
            return key_states, value_states
        keys, values = (
            held.flatten(0, 1).flatten(1).index_select(0, index) for held in (self.keys, self.values)
        )
        return (
            keys.view(rows, heads, -1, self.keys.shape[-1]),
            values.view(rows, heads, -1, self.values.shape[-1]),
        )

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: ARG002 - the signature is given
        return self._now.passing.width, 0

    def get_seq_length(self) -> int:
        return self._now.passing.length

    def get_max_length(self) -> int:
        return -1


def takes(model: Any, *names: str) -> bool:
    """Tell whether the model's forward has parameters of these names."""
    return set(names) <= set(inspect.signature(model.forward).parameters)


class PageCache(Cache):  # type: ignore[misc]  # transformers is not typed
    """The pages of the texts in progress, and the masks that let a model write into them.

    A text's keys lie at its own positions 0, 1, 2, ... in the order of its pages, whatever texts are beside it.

    Parameters
    ----------
    model : transformers model
        Keeps plain keys and values of every token in every layer, takes a 4-D mask and position ids.
    layers : int
    pages : int
        Pages 1, ..., `pages` can be used.
    size : int
        Tokens of a page.
    """

    def __init__(self, model: Any, layers: int, pages: int, size: int) -> None:
        self._now = _Now(_Pass())
        super().__init__(layers=[_Layer(self._now, pages + 1, size) for _ in range(layers)])
        self._model = model
        self._config = model.config.get_text_config(decoder=True)
        self._eager = self._config._attn_implementation == "eager"
        self._shared: tuple[int, ...] = ()
        self._beginning: Beginning | None = None
        self._options = {"logits_to_keep": 1} if takes(model, "logits_to_keep") else {}
        self.size = size
        self.pool = Pool(pages)

    @property
    def made(self) -> bool:
        """Whether all layers have their memory, which the first pass takes."""
        return all(layer.is_initialized for layer in self.layers)

    def pages_for(self, tokens: int) -> int:
        """Return how many pages hold `tokens` tokens."""
        return -(-tokens // self.size)

    def fork(self, pages: Sequence[int], length: int, rooms: Sequence[int]) -> list[list[int]]:
        """Begin texts with the first `length` tokens that `pages` hold: whole pages are shared, part of one is copied.

        Parameters
        ----------
        rooms : sequence of int
            Tokens, at least `length`, that each text gets pages for.

        Returns
        -------
        list of lists of int
            The pages of each text.
        """
        whole, rest = divmod(length, self.size)
        tables = [
            [*self.pool.share(pages[:whole]), *self.pool.take(self.pages_for(room) - whole)] for room in rooms
        ]
        if rest and tables:
            targets = torch.tensor([table[whole] for table in tables])
            for layer in self.layers:
                for held in (layer.keys, layer.values):
                    held[targets.to(held.device)] = held[pages[whole]].clone()
        return tables

    def read(
        self,
        tokens: Sequence[Sequence[int]],
        tables: Sequence[Sequence[int]],
        start: int,
        device: torch.device,
    ) -> None:
        """Write tokens into the pages of texts.

        Parameters
        ----------
        tokens : sequence of sequences of int
            The new tokens of each text; shorter rows are padded on the right.
        tables : sequence of sequences of int
            The pages of each text, enough for its new tokens.
        start : int
            Tokens that each text holds already, and that the new ones attend to as well.
        """
        if not start:  # the pages may have been those of another beginning
            self._beginning = None
        width = max(map(len, tokens))
        inputs = torch.tensor([[*row, *[0] * (width - len(row))] for row in tokens])
        table = self._table(tables, start + width)
        places = torch.arange(start, start + width)
        real = torch.arange(width) < torch.tensor(list(map(len, tokens)))[:, None]
        pages = table[:, places // self.size].where(real, NOBODY)
        cells = torch.stack((pages, (places % self.size).expand_as(pages))).flatten(1)
        attended = table.shape[1] * self.size if start else width
        self._now.passing = _Pass(start, attended, cells, table if start else None)
        positions = places.to(device)
        mask = torch.arange(attended, device=device) <= positions[:, None]
        # the logits are not needed: a prompt's last token is put in by `step`
        self._forward(
            inputs.to(device), positions.expand(len(tokens), -1), mask.expand(len(tokens), 1, -1, -1)
        )

    def step(
        self,
        tokens: Sequence[int],
        lengths: Sequence[int],
        tables: Sequence[Sequence[int]],
        device: torch.device,
        shared: Sequence[int] = (),
    ) -> torch.Tensor:
        """Write one token behind each text and return the logits after it, in float32.

        Parameters
        ----------
        tokens, lengths : sequences of int
            The token of each text and how many the text holds before it.
        tables : sequence of sequences of int
            The pages of each text, enough for the new token.
        shared : sequence of int
            Full pages that all texts begin with: they are attended to together, by `gate.engines.hf.generation.shared_attention`.

        Returns
        -------
        float32 tensor of shape (rows, vocabulary)
        """
        before = len(shared) * self.size
        cells = [
            (pages[length // self.size], length % self.size)
            for pages, length in zip(tables, lengths, strict=True)
        ]
        table = self._table([pages[len(shared) :] for pages in tables], max(lengths) + 1 - before)
        self._now.passing = _Pass(max(lengths), table.shape[1] * self.size, torch.tensor(cells).T, table)
        inputs, positions = torch.tensor([tokens, lengths]).to(device)
        mask = torch.arange(before, before + self._now.passing.width, device=device) <= positions[:, None]
        given = inputs[:, None], positions[:, None], mask[:, None, None]
        if shared:
            with self._attending():
                logits = self._forward(*given, beginning=self._begin(shared))
        else:
            logits = self._forward(*given)
        return logits[:, -1].float()

    def _begin(self, shared: Sequence[int]) -> Beginning:
        """Return the keys and values in shared pages; they are taken out once."""
        if self._beginning is None or tuple(shared) != self._shared:
            keys, values = [], []
            for layer in self.layers:
                pages = torch.tensor(shared, device=layer.keys.device)
                keys.append(
                    layer.keys[pages].float().transpose(0, 1).flatten(1, 2).transpose(1, 2).contiguous()
                )
                values.append(layer.values[pages].transpose(0, 1).flatten(1, 2))
            self._shared, self._beginning = tuple(shared), Beginning(keys, values)
        return self._beginning

    @contextmanager
    def _attending(self) -> Iterator[None]:
        """Have the model's layers use `gate.engines.hf.generation.shared_attention`."""
        own = self._config._attn_implementation
        self._config._attn_implementation = NAME
        try:
            yield
        finally:
            self._config._attn_implementation = own

    def _table(self, tables: Sequence[Sequence[int]], width: int) -> torch.Tensor:
        """Return the pages of the first `width` positions; where a text has fewer, nobody's."""
        count = self.pages_for(width)
        return torch.tensor([[*pages[:count], *[NOBODY] * (count - len(pages))] for pages in tables])

    def _forward(
        self, inputs: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, **options: Beginning
    ) -> torch.Tensor:
        if self._eager:  # adds its mask to the scores
            kind = self._model.dtype
            mask = torch.zeros(mask.shape, dtype=kind, device=mask.device).masked_fill(
                ~mask, torch.finfo(kind).min
            )
        with torch.no_grad():
            output = self._model(
                input_ids=inputs,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=self,
                use_cache=True,
                **self._options,
                **options,
            )
        logits: torch.Tensor = output.logits
        return logits
