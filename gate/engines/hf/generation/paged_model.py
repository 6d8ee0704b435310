"""Forward passes of a transformers model over a paged KV cache: prefill and decode steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from gate.engines.hf.generation.kv_cache import KVCacheManager
from gate.engines.hf.generation.page_pool import PADDING_PAGE
from gate.engines.hf.generation.paged_cache import PagedCache
from gate.engines.hf.generation.shared_prefix_attention import ATTENTION_NAME, PrefixKV
from gate.engines.hf.model.capabilities import accepts
from gate.engines.hf.model.load import LoadedModel


class PagedModel:
    """A model and its paged KV cache.

    The keys of a sequence are at its own positions 0, 1, 2, ... in the order of its pages, so its logits do not depend
    on the other sequences in the batch.

    Parameters
    ----------
    loaded : LoadedModel
        Its cache must hold plain keys and values of every token in every layer, and its forward must accept a 4-D mask
        and position ids; see `gate.engines.hf.generation.paged.paging_obstacle`.
    page_size : int
        Tokens per page.
    """

    def __init__(self, loaded: LoadedModel, num_pages: int, page_size: int) -> None:
        self.kv = KVCacheManager(num_pages, page_size)
        self._cache = PagedCache(loaded.capabilities.cache_layers, num_pages, page_size)
        self._model, self._device, self._page_size = loaded.model, loaded.device, page_size
        self._config = self._model.config.get_text_config(decoder=True)
        self._options = {"logits_to_keep": 1} if accepts(self._model, "logits_to_keep") else {}
        self._gathered: tuple[tuple[int, ...], PrefixKV] | None = None

    @property
    def is_allocated(self) -> bool:
        """Whether the cache's memory is allocated, which the first forward pass does."""
        return all(layer.is_initialized for layer in self._cache.layers)

    def prefill_prefix(self, tokens: tuple[int, ...]) -> None:
        """Prefill a shared prefix, which replaces the previous one."""
        self.kv.allocate_prefix(tokens)
        self._prefill([tokens], [self.kv.prefix_pages], 0)

    def fork(self, capacities: Mapping[int, int], length: int, source: int | None = None) -> None:
        """Add sequences that start with cached tokens; see `KVCacheManager.fork`."""
        copy = self.kv.fork(capacities, length, source)
        if copy is not None:
            self._cache.copy_page(copy.source, copy.targets)

    def prefill(self, sequences: Sequence[int], tokens: Sequence[Sequence[int]], start: int) -> None:
        """Compute the keys and values of each sequence's new `tokens`, for which it has pages.

        `start` is the number of tokens that each sequence has in the cache. The new tokens attend to them.
        """
        self._prefill(tokens, self.kv.page_tables(sequences), start)

    def decode(
        self, sequences: Sequence[int], tokens: Sequence[int], lengths: Sequence[int], shared_prefix: bool
    ) -> torch.Tensor:
        """Append one token to each sequence, which has a page for it, and return the logits of the next.

        Parameters
        ----------
        lengths : sequence of int
            Tokens of each sequence in the cache.
        shared_prefix : bool
            Use `gate.engines.hf.generation.shared_prefix_attention`. All sequences must start with the prefix.

        Returns
        -------
        float32 tensor of shape (sequences, vocabulary)
        """
        size = self._page_size
        prefix = self.kv.full_prefix_pages if shared_prefix else []
        start = len(prefix) * size
        tables = self.kv.page_tables(sequences)
        slots = [(pages[length // size], length % size) for pages, length in zip(tables, lengths, strict=True)]
        page_table = self._padded([pages[len(prefix) :] for pages in tables], max(lengths) + 1 - start)
        attended = page_table.shape[1] * size
        self._cache.current.begin(max(lengths), attended, torch.tensor(slots).T, page_table)
        inputs, positions = torch.tensor([tokens, lengths]).to(self._device)
        mask = torch.arange(start, start + attended, device=self._device) <= positions[:, None]
        arguments = inputs[:, None], positions[:, None], mask[:, None, None]
        if not prefix:
            return self._forward(*arguments)[:, -1].float()
        original = self._config._attn_implementation
        self._config._attn_implementation = ATTENTION_NAME
        try:
            return self._forward(*arguments, shared_prefix=self._gather(prefix))[:, -1].float()
        finally:
            self._config._attn_implementation = original

    def _prefill(self, tokens: Sequence[Sequence[int]], tables: Sequence[Sequence[int]], start: int) -> None:
        size = self._page_size
        if not start:  # the gathered pages may be overwritten
            self._gathered = None
        width = max(map(len, tokens))
        inputs = torch.tensor([[*row, *[0] * (width - len(row))] for row in tokens])
        page_table = self._padded(tables, start + width)
        positions = torch.arange(start, start + width)
        real = torch.arange(width) < torch.tensor(list(map(len, tokens)))[:, None]
        pages = page_table[:, positions // size].where(real, PADDING_PAGE)
        slots = torch.stack((pages, (positions % size).expand_as(pages))).flatten(1)
        attended = page_table.shape[1] * size if start else width
        self._cache.current.begin(start, attended, slots, page_table if start else None)
        positions = positions.to(self._device)
        mask = torch.arange(attended, device=self._device) <= positions[:, None]
        # the logits are not used: `decode` appends the last token of each prompt
        self._forward(inputs.to(self._device), positions.expand(len(tokens), -1), mask.expand(len(tokens), 1, -1, -1))

    def _gather(self, pages: Sequence[int]) -> PrefixKV:
        """Return the keys and values of the prefix, which are copied once per prefix."""
        if self._gathered is None or self._gathered[0] != tuple(pages):
            self._gathered = tuple(pages), self._cache.gather(pages)
        return self._gathered[1]

    def _padded(self, tables: Sequence[Sequence[int]], width: int) -> torch.Tensor:
        """Return the pages of the first `width` positions, padded with the padding page."""
        count = self.kv.pages_for(width)
        return torch.tensor([[*pages[:count], *[PADDING_PAGE] * (count - len(pages))] for pages in tables])

    def _forward(
        self, inputs: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, **options: PrefixKV
    ) -> torch.Tensor:
        if self._config._attn_implementation == "eager":  # which adds the mask to the scores
            dtype = self._model.dtype
            mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)
        with torch.no_grad():
            output = self._model(
                input_ids=inputs,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=self._cache,
                use_cache=True,
                **self._options,
                **options,
            )
        logits: torch.Tensor = output.logits
        return logits
