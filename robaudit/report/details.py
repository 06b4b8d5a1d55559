"""What a verbose report lists: what the input was tried as, the range of each feature, the fate of each sample."""

from __future__ import annotations

from robaudit.audit.result.document import Sample, Target
from robaudit.audit.result.sections.target import feature_words
from robaudit.report.words import count

__all__ = ["input_details", "sample_fate"]

LISTED_FEATURES = 40
LISTED_CLASSES = 8


def input_details(target: Target) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Titles with rows of three cells; of very many features the first."""
    found = []
    search = target.details.get("input search")
    tried = search.get("candidates") if isinstance(search, dict) else None
    if isinstance(tried, list):
        rows = [(str(c["name"]), f"{c['right']} of {c['of']}", str(c["status"])) for c in tried if isinstance(c, dict)]
        found.append(("What the input may mean, tried with labels", rows))
    features = target.input.features
    if features:
        rows = [(f.name, *feature_words(f.model_dump())) for f in features[:LISTED_FEATURES]]
        left = len(features) - LISTED_FEATURES
        if left > 0:
            rows.append((f"and {left} more", "", "the JSON report has them all"))
        found.append(("Features and their ranges", rows))
    return found


def sample_fate(sample: Sample) -> str:
    """What became of a sample."""
    queries = f", {count(sample.queries)} queries" if sample.queries else ""
    if sample.error is not None:
        return f"error: {sample.error}"
    if sample.left_out is not None:
        return f"label {sample.label}, left out: {sample.left_out}"
    if sample.rejected:
        return f"label {sample.label}, rejected by the service without an attack"
    if sample.clean_prediction != sample.label:
        return f"label {sample.label}, answered {sample.clean_prediction} without an attack"
    sought = f", sought {', '.join(map(str, sample.targets[:LISTED_CLASSES]))}" if sample.targets else ""
    sought += ", ..." if len(sample.targets) > LISTED_CLASSES else ""
    if sample.broken_by is None:
        return f"label {sample.label}{sought}, stands{queries}"
    if len(sample.targets) > 1:
        queries = f", {len(sample.reached)} of {len(sample.targets)} classes reached{queries}"
        sought = ""
    at = f" at {sample.distance:.4g}" if sample.distance is not None else ""
    return f"label {sample.label}{sought}, broken by {sample.broken_by}: {sample.adversarial_prediction}{at}{queries}"
