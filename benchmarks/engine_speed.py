"""The transformers engine compared with LM Evaluation Harness's `hf` model: speed and agreement.

Workloads: zero-shot and 5-shot multiple choice, generation, start-up.

    python benchmarks/engine_speed.py --model gate-demo/models/baseline [--data ../shared/data] [--dtype float32]
    python benchmarks/engine_speed.py --random 1b --model gate-demo/models/baseline --device cuda --dtype bfloat16

Both use the same weights, number format, items and prompts, and the same batch limit, `--batch-tokens` padded tokens.
LM Evaluation Harness counts rows, so it gets as many rows as the longest prompt of the workload allows. Both are timed
from the task to scored samples, with the model loaded; quantgate's time includes writing and hashing the samples.
Start-up is a whole process that evaluates one item. The order alternates between rounds; a figure is the median of its
rounds.
`--random 1b` creates a Llama with 1.2 billion random parameters and the model's tokenizer, to measure speed on a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

import torch
import yaml
from contestants import Ours, Theirs, make_task, write_harness_task
from generation_speed import WORKLOADS, compare

from gate.tasks import Task

TARGETS = {"zero-shot": 2.5, "5-shot": 5.0, "generation": 1.5, "start-up": 2.0}
AGREEMENT = ("step_inference", "goal_inference", "social_iqa")


def side_by_side(
    pair: tuple[Ours, Theirs], task: Task, folder: Path, rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Run both in turn; return median items per second, their ratio, the share of equal answers, and our overhead."""
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    answers: dict[str, list[bool]] = {}
    shares = []
    write_harness_task(task, folder)
    warm = replace(task, name=f"{task.name}-warm-up", items=task.items[:4])
    write_harness_task(warm, folder)
    for one in pair:
        one.run(warm, folder)
    for number in range(rounds):
        named = list(zip(("ours", "theirs"), pair, strict=True))
        for name, one in named if number % 2 == 0 else named[::-1]:
            pair[0].in_model = 0.0
            with pair[0].measured(clock):
                began = clock()
                answers[name] = one.run(task, folder)
                took = clock() - began
            seconds[name].append(took)
            if name == "ours":
                shares.append(took / pair[0].in_model - 1)
    rates = {name: len(task.items) / statistics.median(some) for name, some in seconds.items()}
    same = sum(a == b for a, b in zip(answers["ours"], answers["theirs"], strict=True)) / len(task.items)
    return {
        "ours": rates["ours"],
        "lm-eval": rates["theirs"],
        "ratio": rates["ours"] / rates["theirs"],
        "same": same,
        "overhead": statistics.median(shares),
    }


def start_up(model: Path, task: Task, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Return the median time in seconds of whole processes that evaluate one item and write the sample."""
    one = folder / "one"
    one.mkdir(exist_ok=True)
    write_harness_task(task, folder)
    (one / "items.jsonl").write_text((folder / "step_inference-items.jsonl").read_text().splitlines()[0] + "\n")
    config = {
        "version": 1,
        "baseline": {"model": str(model.resolve()), "dtype": options.dtype},
        "candidate": {"model": str(model.resolve()), "dtype": options.dtype},
        "engine": {"device": options.device},
        "tasks": [{"name": "one", "file": "items.jsonl", "prompt": "Question: {{ question }}\nAnswer:",
                   "choices": "{{ choices }}", "answer": "{{ gold }}"}],
    }  # fmt: skip
    (one / "gate.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    commands = {
        "ours": [sys.executable, "-m", "gate", "evaluate",
                 "--config", str(one / "gate.yml"), "--out", str(one / "out")],
        "lm-eval": [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args",
                    f"pretrained={model.resolve()},dtype={options.dtype}", "--device", options.device,
                    "--tasks", task.name, "--include_path", str(folder), "--limit", "1", "--batch_size", "1",
                    "--output_path", str(one / "theirs"), "--log_samples"],
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(options.rounds + 1):
        for name in list(commands) if number % 2 else list(commands)[::-1]:
            subprocess.run(["rm", "-rf", str(one / "out"), str(one / "theirs")], check=True)
            before, began = _children(), time.perf_counter()
            done = subprocess.run(commands[name], capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{' '.join(commands[name])}:\n{done.stderr[-2000:]}")
            took = time.perf_counter() - began if options.clock == "wall" else _children() - before
            if number:
                seconds[name].append(took)
    ours, theirs = (statistics.median(seconds[name]) for name in ("ours", "lm-eval"))
    return {"ours": ours, "lm-eval": theirs, "ratio": theirs / ours}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def gpu_busy(run: Callable[[], object]) -> float:
    """Return the proportion of a run's time in which the GPU runs a kernel or copies data."""
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        began = time.perf_counter()
        run()
        torch.cuda.synchronize()
        took = time.perf_counter() - began
    spans = sorted((event.time_range.start, event.time_range.end) for event in profiler.events()
                   if event.device_type == torch.autograd.DeviceType.CUDA)  # fmt: skip
    busy, last = 0.0, 0.0
    for start, end in spans:
        busy += max(0.0, end - max(start, last))
        last = max(last, end)
    return busy / 1e6 / took


def random_llama(model: Path, folder: Path) -> Path:
    """Write a Llama with 1.2 billion random parameters and the tokenizer of `model`."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(model)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=128_256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
        num_key_value_heads=8, max_position_embeddings=8192, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        random = LlamaForCausalLM(config)
    random.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def hardware(device: str) -> str:
    """Describe the machine in one line."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else name
    text = f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    return f"{torch.cuda.get_device_name(device)}; {text}" if device.startswith("cuda") else text


def main() -> None:
    """Measure, write the table, and fail if answers differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("gate-demo/models/baseline"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with bigbench/*.jsonl")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--random", choices=["1b"])
    parser.add_argument("--items", type=int, default=200, help="items of the zero-shot workload; 5-shot uses a quarter")
    parser.add_argument("--generations", type=int, default=96)
    parser.add_argument("--agreement", type=int, default=200, help="items per task, in float32; 0 skips the check")
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--generation-rounds", type=int, default=1, help="one round takes minutes")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--only", nargs="+", choices=[*TARGETS, "agreement"], default=[*TARGETS, "agreement"])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    if not (options.data / "bigbench").is_dir() or not (options.model / "config.json").is_file():
        raise SystemExit(
            f"needs task files in {options.data}/bigbench and a model in {options.model} (`make demo` writes one)"
        )
    with tempfile.TemporaryDirectory() as name:
        import datasets.config

        datasets.config.HF_DATASETS_CACHE = Path(name) / "cache"
        os.environ["HF_DATASETS_CACHE"] = str(Path(name) / "cache")
        results = measure(options, Path(name))
    report(results, options)
    if results.get("agreement", {}).get("different"):
        raise SystemExit("answers differ from LM Evaluation Harness's in float32")


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Take every measurement that was asked for."""
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    model = random_llama(options.model, folder / "random") if options.random else options.model
    results: dict[str, Any] = {}
    shots = {"zero-shot": (0, options.items), "5-shot": (5, max(1, options.items // 4))}
    if any(name in options.only for name in shots):
        given = (model, options.dtype, options.device, options.batch_tokens)
        pair = (Ours(*given), Theirs(*given))
        for name, (count, items) in shots.items():
            if name in options.only:
                task = make_task(options.data, "step_inference", items, count, folder)
                results[name] = side_by_side(pair, task, folder, options.rounds, clock)
                if options.device.startswith("cuda"):
                    results[name]["busy"] = gpu_busy(lambda task=task: pair[0].run(task, folder))
                print(name, results[name], flush=True)
        del pair
    if "generation" in options.only:
        for name, make in WORKLOADS.items():
            requests = make(options.model, options.data / "bigbench", options.generations)
            found = compare(model, requests, 16, options.generation_rounds, options.dtype, options.device)
            by = options.clock
            results[f"generation: {name}"] = {"ours": found[f"ours {by}"], "lm-eval": found[f"theirs {by}"],
                                              "ratio": found[f"ratio {by}"], "same": found["equal texts"]}  # fmt: skip
    if "start-up" in options.only:
        results["start-up"] = start_up(model, make_task(options.data, "step_inference", 8, 0, folder), folder, options)
    if "agreement" in options.only and options.agreement and not options.random:
        results["agreement"] = agree(options, folder)
    return results


def agree(options: argparse.Namespace, folder: Path) -> dict[str, int]:
    """Count the items of three tasks that one engine gets right and the other wrong, in float32."""
    given = (options.model, "float32", options.device, options.batch_tokens)
    ours, theirs = Ours(*given), Theirs(*given)
    compared = different = 0
    for name in AGREEMENT:
        task = make_task(options.data, name, options.agreement, 0, folder)
        write_harness_task(task, folder)
        pairs = list(zip(ours.run(task, folder), theirs.run(task, folder), strict=True))
        compared += len(pairs)
        different += sum(a != b for a, b in pairs)
    return {"tasks": len(AGREEMENT), "compared": compared, "different": different}


def report(results: dict[str, Any], options: argparse.Namespace) -> None:
    """Write engine_speed.md and engine_speed.json; keep earlier figures of other workloads with equal settings."""
    suffix = "" if options.device == "cpu" else "_gpu"
    what = f"random Llama, {options.random}" if options.random else options.model.name
    where = hardware(options.device)
    settings = vars(options) | {"model": what, "data": None, "out": None, "only": None}
    settings["versions"] = {name: version(name) for name in ("lm-eval", "transformers")}
    file = options.out / f"engine_speed{suffix}.json"
    earlier = json.loads(file.read_text()) if file.is_file() else {}
    if (earlier.get("hardware"), earlier.get("options")) == (where, settings):
        results = earlier["results"] | results
    lines = [
        "# The transformers engine compared with LM Evaluation Harness's `hf` model",
        "",
        f"{where}. {what}, {options.dtype}, at most {options.batch_tokens} padded tokens per batch for both; "
        f"medians of {options.rounds} rounds ({options.generation_rounds} of generation) by {options.clock} time. "
        f"{options.items} items zero-shot, {options.items // 4} 5-shot, {options.generations} texts per workload.",
        "",
        "| workload | quantgate | lm-eval | ratio | target | same answers | overhead of quantgate | GPU busy |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in results.items():
        if name == "agreement":
            continue
        unit = "s" if name == "start-up" else "items/s"
        wanted = f"{TARGETS[name.partition(':')[0]]:g}"
        rest = [f"{row[key]:.1%}" if key in row else "" for key in ("same", "overhead", "busy")]
        lines.append(
            f"| {name} | {row['ours']:.2f} {unit} | {row['lm-eval']:.2f} {unit} | {row['ratio']:.2f} | {wanted} | "
            + " | ".join(rest) + " |"
        )  # fmt: skip
    if "agreement" in results:
        found = results["agreement"]
        lines += ["", f"In float32, both agree on whether the answer is right for "
                      f"{found['compared'] - found['different']} of {found['compared']} items in {found['tasks']} "
                      f"tasks ({', '.join(AGREEMENT)})."]  # fmt: skip
    lines += ["", "Overhead is the time outside of forward passes and log-softmax (tokenising, records, hashing, "
                  "writing), divided by the time in them."]  # fmt: skip
    text = "\n".join(lines) + "\n"
    options.out.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".md").write_text(text, encoding="utf-8")
    values = {"hardware": where, "options": settings, "results": results}
    file.write_text(json.dumps(values, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
