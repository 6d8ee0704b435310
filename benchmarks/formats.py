"""Which checkpoint formats load where, and the verdicts: real quantisers, judged on the demo's tasks.

    VENVS/gate/bin/python benchmarks/formats.py WORK --venvs VENVS [--vllm PYTHON] [--only NAME ...] [--items 60]

WORK holds the checkpoints and the runs; what is there already is kept. VENVS has one virtual environment per tool,
made by `--install` (with any interpreter): a tool pins versions of torch and transformers that the others do not
accept. Each format is judged as by `gate run` against the unquantised model in transformers, in bfloat16, and through
vLLM if `--vllm` names its interpreter. Writes formats.md to benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import site
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from served import write_tasks

from gate.app.run import run
from gate.demo.models import find_gguf, write_baseline
from gate.errors import GateError

RESULTS = Path(__file__).parent / "results"
TASKS = 3
MAKE_SECONDS = 1800
TORCH = "torch==2.13.0"
GPTQMODEL = ("setuptools<82", "wheel", "gptqmodel", "optimum")
# packages of each environment; `gate` also sees those of the environment that made it
VENVS: dict[str, tuple[str, ...]] = {
    "gate": (TORCH, "bitsandbytes", "compressed-tensors", "peft", "optimum-quanto", "auto-round", *GPTQMODEL),
    "llmcompressor": (TORCH, "llmcompressor==0.14.*", "transformers==5.17.*"),
    "autoround": (TORCH, "auto-round"),
    "misc": (TORCH, "optimum-quanto", "hqq", "transformers"),
    "gptqmodel": (TORCH, *GPTQMODEL),
}


@dataclass(frozen=True)
class Format:
    """A format: what makes it, and its settings in gate.yml beside the folder."""

    name: str
    title: str
    venv: str | None
    settings: dict[str, Any] = field(default_factory=dict)
    served: dict[str, Any] | None = None  # settings for vLLM; None where vLLM has no such format

    @property
    def made(self) -> bool:
        """Whether a tool makes files; otherwise the model is quantised on loading."""
        return self.venv is not None


GGUF = {"gguf_file": "model.gguf"}
FORMATS = (
    Format("ct-w8a8", "compressed-tensors W8A8 int (llm-compressor, round to nearest)", "llmcompressor", served={}),
    Format(
        "ct-w4a16",
        "compressed-tensors W4A16, groups of 64 (llm-compressor, round to nearest)",
        "llmcompressor",
        served={},
    ),
    Format("ct-fp8", "compressed-tensors FP8 dynamic (llm-compressor)", "llmcompressor", served={}),
    Format("ct-nvfp4a16", "compressed-tensors NVFP4A16 (llm-compressor)", "llmcompressor", served={}),
    Format("gptq", "GPTQ 4-bit, groups of 64 (GPTQModel)", "gptqmodel", served={}),
    Format("awq", "AWQ layout, 4-bit, groups of 64 (AutoRound, round to nearest)", "autoround", served={}),
    Format("autoround", "AutoRound W4A16, groups of 64, round to nearest", "autoround", served={}),
    Format("bnb-8bit", "bitsandbytes 8-bit", "gate"),
    Format("bnb-nf4", "bitsandbytes NF4", "gate"),
    Format("bnb-fp4", "bitsandbytes FP4", "gate"),
    Format("bnb-nf4-used", "bitsandbytes NF4, saved after a forward pass on a CPU", "gate"),
    Format("torchao-int8", "torchao Int8WeightOnly", "gate", served={}),
    Format("torchao-float8", "torchao Float8WeightOnly", "gate", served={}),
    Format("torchao-int4", "torchao IntxWeightOnly int4, groups of 64", "gate", served={}),
    Format("quanto", "optimum-quanto int8", "misc"),
    Format("hqq", "HQQ 4-bit, groups of 64", "misc"),
    Format("gguf-q8_0", "GGUF Q8_0 (kernels of llama.cpp)", "gate", GGUF),
    Format("gguf-q4_k", "GGUF Q4_K, Q5_0 where rows are no multiple of 256 (kernels of llama.cpp)", "gate", GGUF),
    Format("gguf-q2_k", "GGUF Q2_K, IQ4_NL where rows are no multiple of 256 (kernels of llama.cpp)", "gate", GGUF),
    Format("lora", "LoRA adapter with small weights (`adapter:`)", "gate"),
    Format("load-8bit", "`load_in: 8bit`", None, {"load_in": "8bit"}),
    Format("load-4bit", "`load_in: 4bit`", None, {"load_in": "4bit"}),
    Format(
        "load-torchao",
        "`quantization_config`: torchao Int8DynamicActivationInt8Weight",
        None,
        {"quantization_config": {"quant_method": "torchao", "quant_type": "Int8DynamicActivationInt8WeightConfig"}},
    ),
    Format(
        "load-quanto",
        "`quantization_config`: quanto int8",
        None,
        {"quantization_config": {"quant_method": "quanto", "weights": "int8"}},
    ),
)


def install(venvs: Path) -> None:
    """Make the environments that do not exist."""
    for name, packages in VENVS.items():
        python = venvs / name / "bin" / "python"
        if python.exists():
            continue
        subprocess.run([sys.executable, "-m", "venv", venvs / name], check=True)
        for package in packages:  # in this order: gptqmodel is built with the torch that is installed
            subprocess.run([python, "-m", "pip", "install", "-q", "--no-build-isolation", package], check=True)
        if name == "gate":
            own = next((venvs / name).glob("lib/python*/site-packages"))
            (own / "gate.pth").write_text("\n".join(site.getsitepackages()) + "\n")


def make(form: Format, work: Path, venvs: Path) -> None:
    """Make a checkpoint that does not exist; an error stays in its log."""
    dest = work / "made" / form.name
    if not form.made or dest.exists():
        return
    base = find_gguf() if form.settings == GGUF else work / "baseline"
    part = dest.with_suffix(".part")
    python = venvs / str(form.venv) / "bin" / "python"
    command = [str(python), str(Path(__file__).with_name("make_formats.py")), form.name, str(base), str(part)]
    with _log(form, work).open("w", encoding="utf-8") as out:
        try:
            subprocess.run(command, stdout=out, stderr=out, env=_environment(), timeout=MAKE_SECONDS, check=True)
        except (OSError, subprocess.TimeoutExpired) as error:
            out.write(f"{type(error).__name__}: {error}\n")
        except subprocess.CalledProcessError as error:  # below the tool's own error, or alone if it was killed
            out.write(f"\nexit code {error.returncode}\n")
        else:
            part.rename(dest)


def problem(form: Format, work: Path) -> str:
    """Return the last error of the tool that makes a checkpoint; empty if there is a checkpoint, or no error."""
    log = _log(form, work)
    if not form.made or (work / "made" / form.name).exists() or not log.exists():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Expired)\b", line)]
    return (errors or [line for line in lines if line.startswith("exit code ")] or [""])[-1][:300]


def _log(form: Format, work: Path) -> Path:
    return work / f"made.{form.name}.log"


def _environment() -> dict[str, str]:
    # GPTQModel needs 2 workers, and starts one per two cores; it would compile a C++ extension to pack weights
    gptqmodel = {"GPTQMODEL_CPU_WORKERS": "2", "GPTQMODEL_DISABLE_PACK_EXT": "1"}
    return {**os.environ, **gptqmodel, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def outcome(form: Format, work: Path, kind: str) -> dict[str, Any] | None:
    """Return what is known of a format in `transformers` or `vllm`; None if it was not judged there."""
    kept = work / "runs" / kind / form.name / "outcome.json"
    return dict(json.loads(kept.read_text(encoding="utf-8"))) if kept.exists() else None


def judge(form: Format, work: Path, items: int, vllm: str | None) -> None:
    """Judge one format in transformers or, with `vllm`, in vLLM, unless it was; the outcome is kept in a file."""
    kind = "vllm" if vllm else "transformers"
    folder = work / "runs" / kind / form.name
    if outcome(form, work, kind):
        return
    folder.mkdir(parents=True, exist_ok=True)
    made = work / "made" / form.name
    candidate: dict[str, Any] = {"model": str(made if form.made else work / "baseline"), **form.settings}
    if form.name == "lora":
        candidate = {"model": str(work / "baseline"), "adapter": str(made)}
    candidate["dtype"] = "bfloat16"
    if vllm:
        served = {"kind": "served", "preset": "vllm", "python": vllm}
        candidate["engine"] = {**served, "args": ["--enforce-eager", "--max-model-len", "1024"], **(form.served or {})}
    config = {
        "version": 1,
        "baseline": {"model": str(work / "baseline"), "dtype": "bfloat16"},
        "candidate": candidate,
        "engine": {"kind": "transformers", "device": "cpu"},
        "tasks": write_tasks(work, TASKS),
        "samples": {"limit": items, "store": str(work / "store")},
        "decision": {"control": "never"},
        "report": {"markdown": None, "html": None, "json": "result.json"},
    }
    path = folder / "gate.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    os.environ |= {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "2"}
    found: dict[str, Any]
    try:
        result = run(path)
    except GateError as error:
        text = " ".join(str(error).replace(str(work), "WORK").split())
        found = {"exit": int(error.exit_code), "error": text.partition(" The end of its log")[0][:700]}
    else:
        found = {
            "verdict": result.verdict,
            "worse": sum(task.regressions for task in result.tasks),
            "better": sum(task.improvements for task in result.tasks),
            "kl": sum((task.kl_mean or 0.0) * task.n for task in result.tasks) / sum(task.n for task in result.tasks),
            "quantization": result.candidate.get("quantization"),
        }
    (folder / "outcome.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


def table(work: Path, items: int) -> str:
    """Return the Markdown file, with the formats that were tried."""
    import torch
    import transformers

    rows, notes = [], []
    for form in FORMATS:
        made, outcomes = problem(form, work), [outcome(form, work, kind) for kind in ("transformers", "vllm")]
        if not made and not any(outcomes):
            continue
        cells = [form.title]
        for name, known in zip(("transformers", "vLLM"), outcomes, strict=True):
            if known is None:
                cells += ["", "", ""]
            elif "verdict" in known:
                cells += [known["verdict"], f"{known['worse']} / {known['better']}", f"{known['kl']:.2g}"]
            else:
                notes.append(f"{form.title}, in {name}: {known['error']}")
                cells += [f"exit {known['exit']}, note {len(notes)}", "", ""]
        if made:
            notes.append(f"{form.title}: no checkpoint could be made. {made}")
            cells[1] = f"not made, note {len(notes)}"
        loaded = (outcomes[0] or {}).get("quantization") or ""
        rows.append("| " + " | ".join([*cells, loaded]) + " |")
    return "\n".join(
        [
            "# Checkpoint formats",
            "",
            f"SmolLM2-135M-Instruct, quantised by the tool in the first column and judged on {items} "
            f"items of each of {TASKS} tasks of the demo, against the unquantised model in transformers "
            f"{transformers.__version__} (torch {torch.__version__}, bfloat16, CPU). Candidates in vLLM run in its CPU "
            "build; an empty cell was not tried. FP8 runs there without a fast kernel (11 s per token): it was not "
            "judged. KL: mean divergence in nats at the answer. The last column has the quantisation that transformers "
            "loaded. Written by `python benchmarks/formats.py`.",
            "",
            "| Format | transformers | Worse / better | KL | vLLM | Worse / better | KL | Loaded as |",
            "|:--|:--|--:|--:|:--|--:|--:|:--|",
            *rows,
            "",
            *([] if not notes else ["Notes:", ""]),
            *(f"{number}. {note}" for number, note in enumerate(notes, 1)),
            *([] if not notes else [""]),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--venvs", type=Path, required=True)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--vllm")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--items", type=int, default=60)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.install:
        install(arguments.venvs)
    work = arguments.work.resolve()
    (work / "made").mkdir(parents=True, exist_ok=True)
    if not (work / "baseline").exists():
        write_baseline(work / "baseline")
    for form in FORMATS:
        if arguments.only and form.name not in arguments.only:
            continue
        make(form, work, arguments.venvs)
        if not form.made or (work / "made" / form.name).exists():
            judge(form, work, arguments.items, None)
            if arguments.vllm and form.served is not None:
                judge(form, work, arguments.items, arguments.vllm)
        print(form.name, problem(form, work) or outcome(form, work, "transformers"), outcome(form, work, "vllm"))
        (arguments.out / "formats.md").write_text(table(work, arguments.items), encoding="utf-8")


if __name__ == "__main__":
    main()
