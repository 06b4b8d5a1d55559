"""What a verbose report lists of the input: what it was tried as, and the range of each feature."""

from __future__ import annotations

from robaudit.audit.facts import feature_words
from robaudit.audit.result import Target

__all__ = ["input_details"]

LISTED_FEATURES = 40


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
