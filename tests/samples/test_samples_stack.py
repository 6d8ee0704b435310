"""What is known of a stack, and what differs between two."""

from __future__ import annotations

from gate.engines.stack import parse_cpuinfo
from gate.samples.stack import describe, known_stack, stack_differences

OLD_GPU = {
    "engine": "transformers(transformers 5.0, torch 2.9, scoring packed-1, attention default)",
    "device": "cuda:0",
    "hardware": "NVIDIA A100",
    "loaded_dtype": "bfloat16",
    "versions": {"torch": "2.9", "transformers": "5.0", "numpy": "2.0"},
}
CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz
flags\t\t: fpu sse2 fma avx2 avx512f avx512_vnni

processor\t: 1
model name\t: another
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimdhp bf16 sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n"


def test_a_recorded_stack_is_returned_as_it_is() -> None:
    assert known_stack({**OLD_GPU, "stack": {"dtype": "float16"}}) == {"dtype": "float16"}


def test_the_stack_of_an_older_set_has_what_its_other_facts_say() -> None:
    assert known_stack(OLD_GPU) == {
        "engine": "transformers",
        "device": "cuda",
        "hardware": "NVIDIA A100",
        "torch": "2.9",
        "transformers": "5.0",
        "dtype": "bfloat16",
    }
    # the number of threads and the machine do not name a processor
    assert "hardware" not in known_stack({**OLD_GPU, "device": "cpu", "hardware": "x86_64 CPU, 2 threads"})
    assert "hardware" not in known_stack({**OLD_GPU, "hardware": "2 replicas, each NVIDIA A100"})
    served = known_stack({"engine": "openai(vllm 0.11)", "device": "server", "hardware": "unknown"})
    assert served == {"engine": "openai", "server": "vllm 0.11"}
    assert known_stack({}) == known_stack({"stack": {}}) == {}


def test_the_number_format_of_quantised_weights_is_not_part_of_the_stack() -> None:
    assert "dtype" not in known_stack({**OLD_GPU, "loaded_dtype": "Q4_K_M"})


def test_only_facts_that_both_sides_know_can_differ() -> None:
    new = {**known_stack(OLD_GPU), "hardware": "NVIDIA H100", "max_batch_tokens": "8192"}
    assert stack_differences(known_stack(OLD_GPU), new) == {"hardware": ("NVIDIA A100", "NVIDIA H100")}
    assert stack_differences({}, new) == {}


def test_differences_are_described_by_their_names_in_gate_yml() -> None:
    text = describe({"dtype": ("float32", "bfloat16"), "max_batch_tokens": ("auto", "512")})
    assert text == "compute dtype: float32 against bfloat16; engine.max_batch_tokens: auto against 512"


def test_of_the_cpu_features_only_those_of_one_side_are_named() -> None:
    text = describe({"instructions": ("AVX512 avx2 fma avx512f", "AVX2 avx2 fma")})
    assert text == "CPU instructions: AVX512 avx512f against AVX2"
    assert describe({"instructions": ("A b", "A")}) == "CPU instructions: b against none more"


def test_the_processor_is_read_from_cpuinfo() -> None:
    name, features = parse_cpuinfo(CPUINFO)
    assert name == "Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz"
    assert features == ("avx2", "fma", "avx512f", "avx512_vnni")
    assert parse_cpuinfo(ARM) == ("0x41 0xd4f", ("asimd", "asimdhp", "bf16", "sve"))
    name, features = parse_cpuinfo("")
    assert name
    assert features == ()
