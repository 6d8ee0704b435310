"""How accuracy, flips, KL divergence and perplexity move when a model is quantised: the study of Dutta et al. 2024.

    python benchmarks/behaviour_study.py WORK [--made DIR] [--items 90] [--only NAME ...] [--out benchmarks/results]

SmolLM2-135M-Instruct is rounded to the nearest at 8, 6, 5, 4 and 3 bits in groups of several sizes. DIR holds the
checkpoints of real quantisers that benchmarks/formats.py makes; those that are missing there are left out. Each model
answers `--items` items of each task of the demo and reads a text. WORK keeps the answers and a row per model, so that
an interrupted run resumes. Writes behaviour_study.md to the folder `--out`, and the figure `--figure`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from scipy import stats
from served import write_tasks

import gate
from gate.app.answers import evaluate_baseline
from gate.app.reporter import SilentReporter
from gate.config import ModelSettings, load_config
from gate.demo.models import decoder_linears, round_to_nearest, write_baseline
from gate.samples import ModelSamples
from gate.samples.along import item_means, measured_positions

Floats = npt.NDArray[np.float64]
TEXT = "text"
DTYPE = "bfloat16"
CHARACTERS = 40_000
ALPHA = 0.05
FEWEST = 5  # models; fewer have no rank correlations
BITS = (8, 6, 5, 4, 3)
GROUPS = (None, 32, 64, 192)
"""Columns of a group; None for a whole row. 192 is the largest common divisor of the model's two widths."""


@dataclass(frozen=True)
class Quantised:
    """A quantised model: rounded by this script to `bits` in groups of `group`, or else made by a tool."""

    name: str
    bits: int = 0
    group: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)


ROUNDED = tuple(
    Quantised(f"{bits} bits, {'rows' if group is None else f'groups of {group}'}", bits, group)
    for group in GROUPS
    for bits in BITS
)
MADE = {
    "ct-fp8": Quantised("llm-compressor FP8"),
    "ct-w4a16": Quantised("llm-compressor W4A16, groups of 64"),
    "ct-nvfp4a16": Quantised("llm-compressor NVFP4A16"),
    "bnb-8bit": Quantised("bitsandbytes 8-bit"),
    "bnb-nf4": Quantised("bitsandbytes NF4"),
    "torchao-int8": Quantised("torchao int8"),
    "ct-w8a8": Quantised("llm-compressor W8A8"),
    "gguf-q8_0": Quantised("GGUF Q8_0", settings={"gguf_file": "model.gguf"}),
}
"""By the name of the checkpoint's folder."""
SAME = Quantised("unquantised, other batches", settings={"engine": {"max_batch_tokens": 384}})


def write_rounded(baseline: Path, dest: Path, bits: int, group: int | None) -> float:
    """Write the baseline with rounded linear layers (float32); return the relative error of their weights.

    That is the norm of the weights' change divided by the norm of the weights.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(baseline, dtype=torch.float32)
    changed = total = 0.0
    with torch.no_grad():
        for linear in decoder_linears(model).values():
            weight = linear.weight.clone()
            linear.weight.copy_(round_to_nearest(weight, bits, group or weight.shape[1]))
            changed += float(((linear.weight - weight) ** 2).sum(dtype=torch.float64))
            total += float((weight**2).sum(dtype=torch.float64))
    model.save_pretrained(dest, safe_serialization=True)
    AutoTokenizer.from_pretrained(baseline).save_pretrained(dest)
    return float(np.sqrt(changed / total))


def write_config(work: Path, items: int) -> Path:
    """Write the tasks, the text and a gate.yml; return its path."""
    tasks = write_tasks(work)
    text = f"{topics['objects']}\n\n{topics['types']}"[:CHARACTERS]
    (work / "text.txt").write_text(text, encoding="utf-8")
    tasks.append({"name": TEXT, "kind": "text", "file": str(work / "text.txt"), "role": "advisory"})
    model = {"model": str(work / "baseline"), "dtype": DTYPE}
    config = {
        "version": 1,
        "baseline": model,
        "candidate": model,
        "engine": {"kind": "transformers", "device": "cpu"},
        "tasks": tasks,
        "samples": {"limit": items, "store": str(work / "store")},
        "decision": {"control": "never"},
    }
    path = work / "gate.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def evaluate(
    one: Quantised, checkpoint: Path | None, work: Path, config: Path, baseline: ModelSamples
) -> dict[str, Any]:
    """Evaluate one model and return its row."""
    started = time.process_time()
    error = None
    folder = checkpoint or work / "baseline"
    if one.bits:
        folder = work / "rounded"
        shutil.rmtree(folder, ignore_errors=True)
        error = write_rounded(work / "baseline", folder, one.bits, one.group)
    settings = ModelSettings.model_validate({"model": str(folder), "dtype": DTYPE, **one.settings})
    samples = gate.evaluate(config, settings, out=work / "samples" / one.name.replace(" ", "-"), kl=True)
    result = gate.compare(baseline, samples, advisory=[TEXT])
    texts = next(task for task in result.tasks if task.task == TEXT)
    likelihood = texts.behaviour and texts.behaviour.texts
    if likelihood is None:
        raise SystemExit(f"{one.name}: the text has no perplexity")
    items = item_values(baseline, samples)
    return {
        "name": one.name,
        "bits": one.bits,
        "group": one.group,
        "weight_error": error,
        "p_value": result.p_value,
        "p_text": texts.p_exact,
        "perplexity": likelihood.perplexity,
        "cpu_seconds": time.process_time() - started,
        "items": {name: items[name].tolist() for name in items},
    }


def item_values(baseline: ModelSamples, candidate: ModelSamples) -> dict[str, Floats]:
    """Return the values of each item and of each window of the text.

    Items have `lost` (1: right before, wrong now; -1: the reverse), `changed` (another answer) and `kl`; windows have
    `text` (the lost log-likelihood, nats), `tokens` and `text_kl`.
    """
    lost, changed, kl = [], [], []
    for name in baseline.tasks:
        frames = []
        for samples in (baseline, candidate):
            table = samples.tasks[name].table
            frame = samples.tasks[name].to_pandas()
            positions = measured_positions(table)
            if samples is candidate and positions is not None:
                frame["mean_kl"] = item_means(positions)
            frames.append(frame.set_index("item_id"))
        before, after = frames[0], frames[1].loc[frames[0].index]
        if name == TEXT:
            logprobs = [frame.choice_logprobs.map(np.sum).to_numpy(np.float64) for frame in (before, after)]
            windows = {
                "text": logprobs[0] - logprobs[1],
                "tokens": before.tokens_out.to_numpy(np.float64),
                "text_kl": after.mean_kl.to_numpy(np.float64),
            }
            continue
        lost.append((before.score - after.score).to_numpy(np.float64))
        changed.append((before.output != after.output).to_numpy(np.float64))
        kl.append(after.mean_kl.to_numpy(np.float64))
    return {"lost": np.concatenate(lost), "changed": np.concatenate(changed), "kl": np.concatenate(kl), **windows}


def measures(items: dict[str, Floats], chosen: Floats | None = None, windows: Floats | None = None) -> dict[str, float]:
    """Return the measures of a model from its items, or from some of its items and windows."""
    lost, changed, kl = (items[name] if chosen is None else items[name][chosen] for name in ("lost", "changed", "kl"))
    text = {name: items[name] if windows is None else items[name][windows] for name in ("text", "tokens", "text_kl")}
    return {
        "drop": float(lost.mean()),
        "flips": float((lost != 0).mean()),
        "all flips": float(changed.mean()),
        "KL, answers": float(kl.mean()),
        "KL, text": float(text["text_kl"].mean()),
        "perplexity": float(text["text"].sum() / text["tokens"].sum()),  # the logarithm of its ratio
    }


def halves(rows: list[dict[str, Any]], splits: int = 200) -> dict[str, float]:
    """Return the rank correlation over models of each measure between random halves of the items and windows."""
    generator = np.random.default_rng(0)
    found: dict[str, list[float]] = {}
    for _ in range(splits):
        sides: list[list[dict[str, float]]] = [[], []]
        orders = [generator.permutation(len(rows[0]["items"][name])) for name in ("lost", "text")]
        for row in rows:
            for side, own in enumerate(sides):
                own.append(measures(row["items"], *(order[side::2] for order in orders)))
        for name in sides[0][0]:
            pair = ([one[name] for one in own] for own in sides)
            found.setdefault(name, []).append(float(stats.spearmanr(*pair).statistic))
    return {name: float(np.nanmean(values)) for name, values in found.items()}


def correlation(x: list[float], y: list[float]) -> str:
    """Return Spearman's rank correlation with its 95 % interval, from Fisher's z with Bonett and Wright's variance."""
    rho = float(stats.spearmanr(x, y).statistic)
    if rho == 1.0:
        return "1.00"
    spread = 1.96 * np.sqrt((1 + rho**2 / 2) / (len(x) - 3))
    low, high = np.tanh(np.arctanh(np.clip(rho, -0.9999, 0.9999)) + spread * np.array([-1, 1]))
    return f"{rho:.2f} ({low:.2f} to {high:.2f})"


def correlations(rows: list[dict[str, Any]], names: list[str]) -> list[str]:
    """Return a table of rank correlations between measures over models."""
    columns = {name: [row["measures"][name] for row in rows] for name in names}
    return [
        "| | " + " | ".join(names[1:]) + " |",
        "|:--|" + "--:|" * len(names[1:]),
        *(
            f"| {name} | "
            + " | ".join(
                correlation(columns[name], columns[other]) if names.index(other) > place else "" for other in names[1:]
            )
            + " |"
            for place, name in enumerate(names[:-1])
        ),
    ]


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return one row per model, by increasing KL divergence."""
    lines = [
        "| Model | Worse / better | Drop, points | p | p, text | Flips | All flips | KL, answers | KL, text "
        "| Perplexity x | Weight error |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in sorted(rows, key=lambda row: row["measures"]["KL, answers"]):
        own, lost = row["measures"], np.array(row["items"]["lost"])
        error = "" if row["weight_error"] is None else f"{row['weight_error']:.3f}"
        lines.append(
            f"| {row['name']} | {(lost > 0).sum()} / {(lost < 0).sum()} | {100 * own['drop']:+.1f} | "
            f"{row['p_value']:.2g} | {row['p_text']:.2g} | {own['flips']:.1%} | {own['all flips']:.1%} | "
            f"{own['KL, answers']:.4f} | {own['KL, text']:.4f} | {np.exp(own['perplexity']):.4f} | {error} |"
        )
    return lines


def report(rows: list[dict[str, Any]], items: int) -> str:
    """Return the Markdown file."""
    names = list(rows[0]["measures"])
    equal = [row for row in rows if row["p_value"] > ALPHA]
    rounded = [row for row in rows if row["weight_error"] is not None]
    errors = [row["weight_error"] for row in rounded]
    windows, tokens = len(rows[0]["items"]["text"]), int(sum(rows[0]["items"]["tokens"]))
    by_half = halves(rows)
    alone = halves(equal)
    return "\n".join(
        [
            "# Accuracy, flips, KL divergence and perplexity of quantised models",
            "",
            f"SmolLM2-135M-Instruct and {len(rows)} versions of it ({DTYPE}, CPU): {items:,} items of the demo's six",
            f"tasks and {windows} windows of a text ({tokens:,} tokens of Python's documentation). Written by",
            "`python benchmarks/behaviour_study.py`. What it shows: docs/explanation/behaviour.md.",
            "",
            "Linear layers are rounded to the nearest value of a symmetric grid (a scale per row or group of columns)",
            "or quantised by a tool. Worse / better: items that are right in the baseline or in the version only. p:",
            "one-sided, of the omnibus test over the tasks; p, text: of sign-flips over the windows of the text (at",
            f"least 2^-{windows}). All flips: changed answers. KL: mean in nats per token, along the right answers",
            "and along the text. Perplexity x: its ratio to the baseline's on the text. Weight error: norm of the",
            "change of the weights divided by the norm of the weights.",
            "",
            *table(rows),
            "",
            f"## Rank correlations over all {len(rows)} versions",
            "",
            "Spearman's coefficient with its 95 % interval over models. The models share the items, and many differ in",
            "one setting only: the intervals are too narrow for models in general.",
            "",
            *correlations(rows, names),
            "",
            f"## Rank correlations over the {len(equal)} versions without a significant drop (p > {ALPHA})",
            "",
            *correlations(equal, names),
            "",
            "## How well a measure ranks the models",
            "",
            "Halves: mean rank correlation of a measure on one random half of the items (windows) with the same",
            "measure on the other half, over 200 splits. Weight error: rank correlation with the relative error of the",
            f"weights, over the {len(rounded)} versions that this script rounded.",
            "",
            "| Measure | Halves, all versions | Halves, no significant drop | Weight error |",
            "|:--|--:|--:|--:|",
            *(
                f"| {name} | {by_half[name]:.2f} | {alone[name]:.2f} | "
                f"{correlation([row['measures'][name] for row in rounded], errors)} |"
                for name in names
            ),
            "",
        ]
    )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot drop, flips and perplexity against KL divergence."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "quantgate"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4.6), layout="constrained")
    colours = {bits: f"C{place}" for place, bits in enumerate(BITS)}
    markers = {None: "o", 192: "s", 64: "^", 32: "v"}
    for row in rows:
        own, lost = row["measures"], np.array(row["items"]["lost"])
        style = {"color": colours.get(row["bits"], "black"), "ls": "none"}
        style["marker"] = markers[row["group"]] if row["bits"] else "x"
        style["alpha"] = 0.8
        x = own["KL, answers"]
        error = 196 * lost.std() / np.sqrt(len(lost))
        axes[0].errorbar(x, 100 * own["drop"], yerr=error, elinewidth=0.6, **style)
        axes[1].plot(x, 100 * own["flips"], **style)
        axes[2].plot(x, 100 * np.expm1(own["perplexity"]), **style)
    axes[0].axhline(0, color="black", linewidth=0.8)
    axes[0].set(title="Accuracy: drop, points (95 % interval)")
    axes[1].set(title="Flips, % of items")
    axes[2].set(title="Perplexity of a text: change, %")
    axes[0].set_yscale("symlog", linthresh=5)
    axes[1].set_yscale("log")
    axes[2].set_yscale("symlog", linthresh=0.1)
    for one in axes:
        one.set(xscale="log", xlabel="KL divergence along the right answers, nats per token")
        one.grid(alpha=0.3)
    handles = [axes[0].plot([], [], "o", color=colour, label=f"{bits} bits")[0] for bits, colour in colours.items()]
    for group in dict.fromkeys(row["group"] for row in rows if row["bits"]):
        label = "one scale per row" if group is None else f"groups of {group}"
        handles += axes[0].plot([], [], markers[group], color="grey", label=label)
    handles += axes[0].plot([], [], "x", color="black", label="quantised by a tool, or the same weights")
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Evaluate the models that have no row yet, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--made", type=Path)
    parser.add_argument("--items", type=int, default=90)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--figure", type=Path, default=Path("docs/images/behaviour-study.svg"))
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    work = options.work.resolve()
    (work / "rows").mkdir(parents=True, exist_ok=True)
    if not (work / "baseline").exists():
        write_baseline(work / "baseline")
    config = write_config(work, options.items)
    evaluate_baseline(load_config(config), SilentReporter())
    baseline = gate.load_samples(next((work / "store" / "baseline").iterdir()))
    made = [(one, options.made / name) for name, one in MADE.items()] if options.made else []
    models: list[tuple[Quantised, Path | None]] = [
        *((one, None) for one in (*ROUNDED, SAME)),
        *((one, folder) for one, folder in made if folder.exists()),
    ]
    rows = []
    for one, checkpoint in models:
        if options.only and one.name not in options.only:
            continue
        kept = work / "rows" / f"{one.name}.json"
        if not kept.exists():
            try:
                row = evaluate(one, checkpoint, work, config, baseline)
            except gate.GateError as problem:  # a package of the format is missing
                print(f"{one.name}: {problem}", flush=True)
                continue
            kept.write_text(json.dumps(row), encoding="utf-8")
            print(json.dumps({name: value for name, value in row.items() if name != "items"}), flush=True)
        row = json.loads(kept.read_text(encoding="utf-8"))
        row["items"] = {name: np.array(values) for name, values in row["items"].items()}
        rows.append(row | {"measures": measures(row["items"])})
    if options.only or len(rows) < FEWEST:
        return
    (options.out / "behaviour_study.md").write_text(report(rows, len(rows[0]["items"]["lost"])), encoding="utf-8")
    plot(rows, options.figure)


if __name__ == "__main__":
    main()
