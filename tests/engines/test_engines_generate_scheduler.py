"""The scheduler and the KV cache manager without a model: every sequence finishes, and no page is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gate.engines.hf.generation.kv_cache import KVCacheManager, PageCopy
from gate.engines.hf.generation.scheduler import Admission, Scheduler
from gate.engines.hf.generation.sequence import TokenSequence
from gate.tasks.requests import GenerateRequest

PAGE_SIZE = 16


def make_sequence(index: int, prompt: list[int], max_tokens: int) -> TokenSequence:
    request = GenerateRequest("", (), max_tokens)
    return TokenSequence(index, request, tuple(prompt), (), frozenset(), 0)


def allocate(kv: KVCacheManager, admission: Admission) -> None:
    """Allocate admitted sequences as a prefill does."""
    if admission.prefix and admission.prefills and kv.prefix != admission.prefix:
        kv.allocate_prefix(admission.prefix)
    kv.fork({sequence.index: sequence.length for sequence in admission.prefills}, len(admission.prefix))
    for sequence, source in admission.forks:
        kv.fork({sequence.index: sequence.length}, sequence.length - 1, source.index)


@given(
    requests=st.lists(
        st.tuples(st.sampled_from([0, 1, 2]), st.integers(1, 60), st.integers(1, 90)), min_size=1, max_size=40
    ),
    token_budget=st.integers(1, 4000),
    can_share=st.booleans(),
)
def test_every_sequence_finishes_within_the_page_budget(
    requests: list[tuple[int, int, int]], token_budget: int, can_share: bool
) -> None:
    prefixes = [[], [7] * 200, [8] * 37]
    sequences = [
        make_sequence(index, [*prefixes[prefix], *range(100, 100 + own)], max_tokens)
        for index, (prefix, own, max_tokens) in enumerate(requests)
    ]
    scheduler = Scheduler(sequences, num_layers=2)
    budget = scheduler.page_budget(token_budget, PAGE_SIZE)
    kv = KVCacheManager(budget.total, PAGE_SIZE)
    scheduler.start(kv, budget, can_share)
    while scheduler.has_work:
        admission = scheduler.schedule()
        if admission is not None:
            allocate(kv, admission)
        assert scheduler.running
        assert len(scheduler.running) == 1 or kv.num_used_pages <= budget.usable
        for sequence in scheduler.running:
            assert kv.pages_held(sequence.index) == kv.pages_for(sequence.length)
            sequence.generated.append(0)
        scheduler.finish([s for s in scheduler.running if s.length == s.max_length])
    assert all(sequence.length == sequence.max_length for sequence in sequences)
    kv.free_prefix()
    assert kv.num_pages == budget.total
    assert kv.num_used_pages == 0


def test_forked_sequences_share_full_pages_and_copy_a_partly_filled_one() -> None:
    kv = KVCacheManager(20, PAGE_SIZE)
    kv.allocate_prefix(tuple(range(40)))  # two full pages and a half
    assert kv.num_used_pages == 3
    copy = kv.fork({1: 50, 2: 90}, 40)
    (first, second) = kv.page_tables([1, 2])
    assert first[:2] == second[:2] == kv.full_prefix_pages
    assert copy == PageCopy(kv.prefix_pages[2], [first[2], second[2]])
    assert (kv.pages_held(1), kv.pages_held(2), kv.num_used_pages) == (4, 6, 3 + 2 + 4)
    assert kv.fork({3: 33}, 32, source=1) is None
    assert kv.shared_pages([1, 2, 3]) == 2
    kv.free_prefix()
    assert kv.num_used_pages == 2 + 2 + 4 + 1
    for sequence in (1, 2, 3):
        kv.free(sequence)
    assert kv.num_used_pages == 0


def test_a_preempted_sequence_keeps_its_tokens_and_runs_again() -> None:
    sequences = [make_sequence(index, [index, 1, 2], 60) for index in range(4)]
    scheduler = Scheduler(sequences, num_layers=8)
    budget = scheduler.page_budget(5 * PAGE_SIZE, PAGE_SIZE)
    kv = KVCacheManager(budget.total, PAGE_SIZE)
    scheduler.start(kv, budget, can_share=False)
    preempted: set[int] = set()
    running: set[int] = set()
    while scheduler.has_work:
        admission = scheduler.schedule()
        if admission is not None:
            allocate(kv, admission)
        now = {sequence.index for sequence in scheduler.running}
        preempted |= {index for index in running - now if sequences[index].generated}
        for sequence in scheduler.running:
            sequence.generated.append(len(sequence.generated))
        finished = [s for s in scheduler.running if s.length == s.max_length]
        scheduler.finish(finished)
        running = {sequence.index for sequence in scheduler.running}
    assert preempted
    assert all(sequence.generated == list(range(60)) for sequence in sequences)
