"""A beginning that texts share: read once, attended to together, and the texts as of one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.opened import open_model, silent
from support.writers import BEHIND, BLOCK, LONG, PAGED, WORDS, greedy, texts, write_model, write_paged

from gate.engines import GenerateRequest
from gate.engines.hf.generation.paged import attends_together
from gate.engines.hf.generation.pages import PageCache
from gate.engines.hf.generation.shared_attention import Beginning, attend
from gate.engines.hf.model.batching import BatchLimit


@pytest.mark.parametrize("name", PAGED)
def test_a_long_beginning_that_texts_share_is_attended_to_together(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder, attention = write_paged(tiny_model, tmp_path, name)
    begun: list[int] = []
    own = PageCache._begin

    def note(cache: PageCache, shared: Sequence[int]) -> Beginning:
        begun.append(len(shared) * cache.size)
        return own(cache, shared)

    expected = None
    for tokens in (1, 400, 1000, 100_000):
        engine: Any = open_model(folder, {"max_batch_tokens": tokens, **attention})
        expected = expected or [greedy(engine, request) for request in BEHIND]
        can = attends_together(engine._loaded)
        with monkeypatch.context() as patched:
            patched.setattr(PageCache, "_begin", note)
            assert texts(engine, BEHIND) == expected
        assert can is not any(word in name for word in ("eager", "soft caps", "sinks", "falcon"))
        assert engine._loaded.model.config._attn_implementation in ("sdpa", "eager")
    assert (max(begun, default=0) >= 128) is can
    assert len(set(expected or [])) > 3


@settings(max_examples=25, deadline=None)
@given(
    texts_of=st.lists(
        st.tuples(
            st.sampled_from([LONG, BLOCK, BLOCK * 2, "", "big "]), st.sampled_from(WORDS), st.integers(1, 40)
        ),
        min_size=1,
        max_size=24,
    ),
    tokens=st.integers(1, 2500),
)
def test_any_families_in_any_memory_are_written_like_one_at_a_time(
    many_families: tuple[Any, dict[GenerateRequest, str]],
    texts_of: list[tuple[str, str, int]],
    tokens: int,
) -> None:
    engine, known = many_families
    requests = [GenerateRequest(f"{start}Q : {word}", (), limit) for start, word, limit in texts_of]
    for request in requests:
        if request not in known:
            engine._texts = BatchLimit(1)
            known[request] = engine.generate_until([request], silent)[0].text
    engine._texts = BatchLimit(tokens)
    assert texts(engine, requests) == [known[request] for request in requests]


@pytest.fixture(scope="module")
def many_families(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, dict[GenerateRequest, str]]:
    """A model that has long texts, and what it writes."""
    return open_model(
        write_model(tiny_model, tmp_path_factory.mktemp("families"), "Llama", {"eos_token_id": 1})
    ), {}


def test_attention_behind_a_beginning_is_that_over_all_keys() -> None:
    torch.manual_seed(0)
    rows, heads, groups, size, shared, own = 5, 6, 2, 8, 11, 7
    query = torch.randn(rows, heads, 1, size)
    beginning = Beginning([torch.randn(groups, size, shared)], [torch.randn(groups, shared, size)])
    key, value = torch.randn(2, rows, groups, own, size)
    mask = (torch.arange(own) <= torch.tensor([0, 3, 6, 1, 4])[:, None])[:, None, None]
    layer = SimpleNamespace(layer_idx=0)
    found, _ = attend(layer, query, key, value, mask, beginning=beginning)
    whole = torch.nn.functional.scaled_dot_product_attention(
        query,
        torch.cat((beginning.keys[0].transpose(1, 2).expand(rows, -1, -1, -1), key), dim=2),
        torch.cat((beginning.values[0].expand(rows, -1, -1, -1), value), dim=2),
        attn_mask=torch.cat((torch.ones(rows, 1, 1, shared, dtype=torch.bool), mask), dim=3),
        enable_gqa=True,
    )
    torch.testing.assert_close(found, whole.transpose(1, 2))
    with pytest.raises(NotImplementedError, match="softcap"):
        attend(layer, query, key, value, mask, softcap=30.0)


def test_texts_are_attended_to_together_to_the_end(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: Any = open_model(write_model(tiny_model, tmp_path, "Llama", {}), {"max_batch_tokens": 10_000})
    steps: list[bool] = []
    own = PageCache.step
    monkeypatch.setattr(PageCache, "step", lambda *given: (steps.append(bool(given[-1])), own(*given))[1])
    requests = [GenerateRequest(f"{LONG}Q : {word} big", (), 20) for word in WORDS]
    engine.generate_until(requests, silent)
    begun = steps[steps.index(True) :]  # after the probes
    assert len(begun) >= 10
    assert all(begun)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_behind_a_beginning_are_as_exact_as_those_of_fused_attention(dtype: torch.dtype) -> None:
    """Keys with a common offset, as biases give them, make large scores, which half precision rounds coarsely."""
    torch.manual_seed(0)
    rows, heads, size, shared, own = 3, 2, 16, 40, 8
    query = torch.randn(rows, heads, 1, size) * 4
    keys = torch.randn(rows, heads, shared + own, size) + 20 * torch.randn(1, heads, 1, size)
    keys[:, :, :shared] = keys[:1, :, :shared]
    values = torch.randn(heads, shared, size)
    value = torch.randn(rows, heads, own, size)
    query, keys, values, value = (one.to(dtype) for one in (query, keys, values, value))
    beginning = Beginning([keys[0, :, :shared].float().transpose(1, 2)], [values])
    mask = torch.ones(rows, 1, 1, own, dtype=torch.bool)
    found, _ = attend(
        SimpleNamespace(layer_idx=0), query, keys[:, :, shared:], value, mask, beginning=beginning
    )
    both = torch.cat((values.expand(rows, -1, -1, -1), value), dim=2)
    exact, fused = (
        torch.nn.functional.scaled_dot_product_attention(*(one.to(kind) for one in (query, keys, both)))
        for kind in (torch.float64, dtype)
    )
    off = (found.transpose(1, 2).double() - exact).norm()
    assert off <= 3 * (fused.double() - exact).norm()
