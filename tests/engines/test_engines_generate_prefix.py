"""A prefix that sequences share is computed once and attended to once, and does not change the generated text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.exhaustive import mostly_exhaustive
from support.opened import open_model, silent
from support.writers import (
    LONG_PREFIX,
    LONG_PREFIX_REQUESTS,
    PAGED,
    SHORT_PREFIX,
    WORDS,
    generated_texts,
    greedy_text,
    write_model,
    write_paged,
)

from gate.engines.hf.generation.paged import supports_shared_prefix
from gate.engines.hf.generation.paged_model import PagedModel
from gate.engines.hf.generation.shared_prefix_attention import PrefixKV, attend
from gate.engines.hf.model.batching import BatchLimit
from gate.tasks.requests import GenerateRequest


@pytest.mark.parametrize("name", mostly_exhaustive(PAGED, ("llama", "gpt2, learned positions", "gemma2, soft caps")))
def test_a_long_shared_prefix_is_attended_to_once_per_step(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder, attention = write_paged(tiny_model, tmp_path, name)
    gathered: list[int] = []  # tokens of each prefix that is attended to once
    original = PagedModel._gather

    def gather(paged: PagedModel, pages: Sequence[int]) -> PrefixKV:
        gathered.append(len(pages) * paged.kv.page_size)
        return original(paged, pages)

    expected = None
    for tokens in (1, 400, 100_000):
        engine: Any = open_model(folder, {"max_batch_tokens": tokens, **attention})
        expected = expected or [greedy_text(engine, request) for request in LONG_PREFIX_REQUESTS]
        supported = supports_shared_prefix(engine._loaded)
        with monkeypatch.context() as patched:
            patched.setattr(PagedModel, "_gather", gather)
            assert generated_texts(engine, LONG_PREFIX_REQUESTS) == expected
        assert supported is not any(word in name for word in ("eager", "soft caps", "sinks", "falcon"))
        assert engine._loaded.model.config._attn_implementation in ("sdpa", "eager")
    assert (max(gathered, default=0) >= 128) is supported
    assert len(set(expected or [])) > 3


@settings(max_examples=8, deadline=None)
@given(
    cases=st.lists(
        st.tuples(
            st.sampled_from([LONG_PREFIX, SHORT_PREFIX, SHORT_PREFIX * 2, "", "big "]),
            st.sampled_from(WORDS),
            st.integers(1, 40),
        ),
        min_size=1,
        max_size=24,
    ),
    tokens=st.integers(1, 2500),
)
def test_any_prefixes_in_any_memory_give_the_text_of_one_request_at_a_time(
    known_texts: tuple[Any, dict[GenerateRequest, str]],
    cases: list[tuple[str, str, int]],
    tokens: int,
) -> None:
    engine, known = known_texts
    requests = [GenerateRequest(f"{start}Q : {word}", (), limit) for start, word, limit in cases]
    for request in requests:
        if request not in known:
            engine._generation_limit = BatchLimit(1)
            known[request] = engine.generate_until([request], silent)[0].text
    engine._generation_limit = BatchLimit(tokens)
    assert generated_texts(engine, requests) == [known[request] for request in requests]


@pytest.fixture(scope="module")
def known_texts(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[GenerateRequest, str]]:
    """A model with a long context, and the texts it generates."""
    return open_model(write_model(tiny_model, tmp_path_factory.mktemp("prefixes"), "Llama", {"eos_token_id": 1})), {}


def test_shared_prefix_attention_equals_attention_over_all_keys() -> None:
    torch.manual_seed(0)
    rows, heads, groups, size, shared, own = 5, 6, 2, 8, 11, 7
    query = torch.randn(rows, heads, 1, size)
    prefix = PrefixKV([torch.randn(groups, size, shared)], [torch.randn(groups, shared, size)])
    key, value = torch.randn(2, rows, groups, own, size)
    mask = (torch.arange(own) <= torch.tensor([0, 3, 6, 1, 4])[:, None])[:, None, None]
    layer = SimpleNamespace(layer_idx=0)
    output, _ = attend(layer, query, key, value, mask, shared_prefix=prefix)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query,
        torch.cat((prefix.keys[0].transpose(1, 2).expand(rows, -1, -1, -1), key), dim=2),
        torch.cat((prefix.values[0].expand(rows, -1, -1, -1), value), dim=2),
        attn_mask=torch.cat((torch.ones(rows, 1, 1, shared, dtype=torch.bool), mask), dim=3),
        enable_gqa=True,
    )
    torch.testing.assert_close(output, expected.transpose(1, 2))
    with pytest.raises(NotImplementedError, match="softcap"):
        attend(layer, query, key, value, mask, softcap=30.0)


def test_the_prefix_is_attended_to_once_until_the_last_step(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: Any = open_model(write_model(tiny_model, tmp_path, "Llama", {}), {"max_batch_tokens": 10_000})
    steps: list[bool] = []
    original = PagedModel.decode

    def decode(paged: PagedModel, *arguments: Any) -> torch.Tensor:
        steps.append(arguments[-1])
        return original(paged, *arguments)

    monkeypatch.setattr(PagedModel, "decode", decode)
    requests = [GenerateRequest(f"{LONG_PREFIX}Q : {word} big", (), 20) for word in WORDS]
    engine.generate_until(requests, silent)
    shared = steps[steps.index(True) :]  # after the probes
    assert len(shared) >= 10
    assert all(shared)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_shared_prefix_attention_is_as_exact_as_fused_attention(dtype: torch.dtype) -> None:
    """A common offset of the keys, as a bias adds, makes large scores, which half precision rounds coarsely."""
    torch.manual_seed(0)
    rows, heads, size, shared, own = 3, 2, 16, 40, 8
    query = torch.randn(rows, heads, 1, size) * 4
    keys = torch.randn(rows, heads, shared + own, size) + 20 * torch.randn(1, heads, 1, size)
    keys[:, :, :shared] = keys[:1, :, :shared]
    values = torch.randn(heads, shared, size)
    value = torch.randn(rows, heads, own, size)
    query, keys, values, value = (tensor.to(dtype) for tensor in (query, keys, values, value))
    prefix = PrefixKV([keys[0, :, :shared].float().transpose(1, 2)], [values])
    mask = torch.ones(rows, 1, 1, own, dtype=torch.bool)
    output, _ = attend(SimpleNamespace(layer_idx=0), query, keys[:, :, shared:], value, mask, shared_prefix=prefix)
    all_values = torch.cat((values.expand(rows, -1, -1, -1), value), dim=2)
    exact, fused = (
        torch.nn.functional.scaled_dot_product_attention(*(tensor.to(kind) for tensor in (query, keys, all_values)))
        for kind in (torch.float64, dtype)
    )
    error = (output.transpose(1, 2).double() - exact).norm()
    assert error <= 3 * (fused.double() - exact).norm()
