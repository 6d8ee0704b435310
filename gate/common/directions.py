"""Whether a larger or a smaller value of a metric is better: the one list that all readers share."""

from __future__ import annotations

import re
from typing import Literal

Direction = Literal["higher", "lower"]

# fmt: off
_LOWER = frozenset(
    [
        "perplexity", "ppl", "word_perplexity", "byte_perplexity", "token_perplexity", "weighted_perplexity",
        "bits_per_byte", "bpb", "bits_per_character", "bits_per_char", "bpc", "bits_per_token", "loss",
        "cross_entropy", "cross_entropy_loss", "log_loss", "eval_loss", "test_loss", "validation_loss",
        "hamming_loss", "zero_one_loss", "nll", "nll_per_token", "negative_log_likelihood", "negative_loglikelihood",
        "wer", "cer", "ter", "mer", "word_error_rate", "character_error_rate", "char_error_rate",
        "translation_edit_rate", "match_error_rate", "error_rate", "error", "err", "classification_error",
        "top1_error", "top5_error", "edit_distance", "levenshtein", "levenshtein_distance",
        "normalized_edit_distance", "normalised_edit_distance", "hamming_distance", "mae", "mse", "rmse", "mape",
        "smape", "mean_absolute_error", "mean_squared_error", "root_mean_squared_error",
        "mean_absolute_percentage_error", "brier", "brier_score", "ece", "expected_calibration_error",
        "calibration_error", "latency", "ttft", "tpot", "itl", "time_to_first_token", "time_per_output_token",
        "inter_token_latency",
    ]
)
# fmt: on
# fmt: off
_HIGHER = frozenset(
    [
        "correct", "score", "reward", "acc", "accuracy", "acc_norm", "acc_bytes", "acc_mutual_info", "acc_smooth",
        "acc_all", "balanced_accuracy", "exact_match", "em", "quasi_exact_match", "prefix_exact_match",
        "contains", "includes", "match", "matched", "pass", "passed", "pass_rate", "success", "success_rate",
        "resolved", "solved", "win_rate", "mc1", "mc2", "f1", "f1_score", "macro_f1", "micro_f1", "token_f1",
        "squad_f1", "precision", "recall", "mcc", "matthews_correlation", "matthews_corrcoef", "pearson", "pearsonr",
        "spearman", "spearmanr", "rouge", "rouge1", "rouge2", "rougel", "rougelsum", "rouge_1", "rouge_2", "rouge_l",
        "bleu", "sacrebleu", "bleu1", "bleu2", "bleu3", "bleu4", "chrf", "chrf_pp", "meteor", "bertscore",
        "bert_score", "comet", "sari", "cider", "spice", "anls", "iou", "miou", "map", "mrr", "ndcg", "auc", "auroc",
        "roc_auc", "likelihood", "loglikelihood", "log_likelihood", "loglikelihood_per_word",
        "loglikelihood_per_byte", "loglikelihood_per_token", "logprob", "throughput", "tokens_per_second", "exact",
        "flexible_match", "strict_match", "best_em", "best_f1",
    ]
)
# fmt: on
_HIGHER_FAMILIES = re.compile(
    r"(pass|avg|mean|maj|cons|top|acc|hit|hits|recall|precision|ndcg|map|mrr)_?(at_?)?\d+"
    r"|(prompt|inst)_level_(strict|loose)_acc|rouge[a-z0-9]*_(max|acc|f1|fmeasure|precision|recall)|bleu_(max|acc)"
    r"|[a-z0-9_]+_(acc|accuracy|em|exact_match|f1)"
)
_UNIT = re.compile(r"(?<=[a-z0-9])_(ms|s|sec|secs|seconds|milliseconds|pct|percent)$")
# fmt: off
_SUSPICIOUS = frozenset(
    [
        "perplexity", "ppl", "loss", "losses", "nll", "entropy", "error", "errors", "err", "wer", "cer", "ter", "mer",
        "bpb", "bpc", "distance", "divergence", "kl", "kld", "mae", "mse", "rmse", "mape", "brier", "ece", "latency",
        "toxicity", "toxic", "hallucination", "hallucinations", "hallucinated", "bias", "stereotype", "refusal",
        "refusals", "failure", "failures", "failed", "penalty", "regret", "cost", "rank", "violation", "violations",
        "harm", "harmful", "unsafe", "time", "runtime", "duration", "seconds", "ttft", "tpot", "incorrect", "wrong",
        "invalid",
    ]
)
# fmt: on


def known_direction(metric: str) -> Direction | None:
    """Return which values of a metric are better, or None if its name does not tell.

    Case and punctuation do not matter. A name that begins with "-", or with "neg_" before the name of an error, is a
    metric whose sign was changed already.

    Examples
    --------
    >>> known_direction("Word-Perplexity"), known_direction("exact_match"), known_direction("-wer")
    ('lower', 'higher', 'higher')
    >>> known_direction("politeness") is None
    True
    """
    name = _normalised(metric)
    if metric.lstrip().startswith("-"):
        return "higher" if name in _LOWER else None
    if name in _LOWER:
        return "lower"
    if name in _HIGHER or _HIGHER_FAMILIES.fullmatch(name):
        return "higher"
    if name.startswith("neg_") and name.removeprefix("neg_") in _LOWER:
        return "higher"
    for prefix in ("mean_", "avg_", "average_", "median_", "total_"):
        if name.startswith(prefix):
            return known_direction(name.removeprefix(prefix))
    return None


def looks_like_an_error(metric: str) -> bool:
    """Return whether a name of unknown direction has a word for something that should be small.

    Examples
    --------
    >>> looks_like_an_error("toxicity_mean"), looks_like_an_error("triplet-loss"), looks_like_an_error("politeness")
    (True, True, False)
    """
    return not _SUSPICIOUS.isdisjoint(_normalised(metric).split("_"))


def _normalised(metric: str) -> str:
    """Return a name in lower case, its words separated by underscores."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", metric.split(",")[0])  # lm-eval: METRIC,FILTER
    return _UNIT.sub("", re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_"))
