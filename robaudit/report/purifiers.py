"""What is known of a purifier that was made, in lines."""

from __future__ import annotations

from robaudit.audit.defenses.document import TrainedPurifier
from robaudit.plural import counted

__all__ = ["progress_line", "purifier_lines"]


def progress_line(done: int, rounds: int, loss: float) -> str:
    """How far the training is."""
    return f"  {done} of {counted(rounds, 'round')}, loss {loss:.3g}"


def purifier_lines(told: TrainedPurifier, file: str) -> list[str]:
    """What it was made of, what it does to held-out samples, and how it is used."""
    lines = [
        f"{told.recipe}: made of {counted(told.trained_on, 'sample')} apart from the {told.audited} that an audit of "
        f"these settings draws, seed {told.seed}"
    ]
    if not told.complete:
        done = f"{told.rounds} of {counted(told.planned, 'round')}"
        lines.append(f"the time budget ended it after {done}; the same command may make another file next time")
    if not told.guided:
        lines.append("the model has no gradient: the perturbations below, and those that it learned from, are random")
    lines += [
        f"of {told.held_out} held-out samples the model answers as it does clean and without it:",
        f"  clean, behind it             {told.clean_behind}",
        f"  perturbed, without it        {told.disturbed_without}   (one step, radii up to {told.norm} {told.eps:.4g})",
        f"  the same ones, behind it     {told.disturbed_behind}   (by an attacker who does not know it)",
        f"wrote {file}, sha256 {told.sha256}",
        "what it buys against one who does: robaudit defenses compare MODEL --data DATA "
        f"--defense {told.defense}:{file}",
    ]
    return lines
