"""Corruptions: what happens under common noise, blur, weather and compression, without an attacker?"""

from __future__ import annotations

import numpy as np

from robaudit.attacks.parameters import Count
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.target.head.answers import predictions

__all__ = ["Corruptions"]

SEVERITIES = (1, 2, 3, 4, 5)
PART = 16
FEW = 3
"""Corruptions that are named, the worst first."""


@check_settings
class Corruptions(Check):
    """Tells how many samples keep their class under common corruptions, for context: it never warns.

    Thirteen corruptions at severities 1 to 5, by their published definitions: Gaussian, shot, impulse and speckle
    noise, Gaussian, defocus and zoom blur, fog, brightness, contrast, saturation (colour images), pixelation and JPEG;
    images up to 64 pixels wide with the constants of CIFAR-10-C, larger ones with those of ImageNet-C. Left out are
    those that need pictures (frost) or another program's filters (motion blur, snow, spatter), glass blur and elastic
    transforms.
    The shares are of samples answered correctly as they are, so that they are no mean corruption error, and comparable
    to no published figure. Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common
    Corruptions and Perturbations", and its code.

    Args:
        samples: most samples that are corrupted.
    """

    facts = CheckFacts(
        id="corruptions",
        title="Common corruptions change the answers.",
        next_step="where inputs are noisy or blurred in use, train with such inputs; it says nothing of an attacker",
        cost="65 queries of the file for each of the samples",
        rule=CheckRule(
            "RA130",
            "CheckCorruptions",
            "Accidents happen more often than attacks, and standing against one says little of the other.",
            "Train with the corruptions that occur in use.",
            "note",
        ),
        ignores_attacks=True,
        usual=False,
        on_request=True,
    )

    samples: Count = 24

    def measure(self, bench: Bench) -> Measured:
        """Count the samples that keep their class."""
        from robaudit.checks.corrupting import corruptions_of

        meaning = bench.target.meaning
        if not bench.target.eight_bit or len(meaning.shape) != 3 or meaning.shape[0] not in (1, 3):
            return {"why": "the inputs are no grey or colour images"}
        samples = bench.correct(self.samples)
        if len(samples) == 0:
            return {"why": "no sample is answered correctly"}
        kept: dict[str, list[int]] = {}
        for name, corrupt in corruptions_of(meaning.shape).items():
            kept[name] = []
            for severity in SEVERITIES:
                right = 0
                for start in range(0, len(samples), PART):
                    part = [samples[i] for i in range(start, min(start + PART, len(samples)))]
                    random = [np.random.default_rng([severity, start + i]) for i in range(len(part))]
                    changed = [corrupt(s.u, severity, draw) for s, draw in zip(part, random, strict=True)]
                    answers = predictions(bench.scores(np.stack(changed)))
                    right += int((answers == [sample.label for sample in part]).sum())
                kept[name].append(right)
        return {"samples": len(samples), "kept": kept}

    def verdict(self, measured: Measured) -> Finding:
        """The mean, that of each severity, and the worst corruptions."""
        if (why := measured.get("why")) is not None:
            return Finding("skipped", why)
        n, kept = measured["samples"], measured["kept"]
        shares = np.array(list(kept.values())) / n
        text = f"{shares.mean():.1%} of answers stay right under {len(kept)} corruptions of {n} samples, from "
        text += f"{shares[:, 0].mean():.1%} at severity 1 to {shares[:, -1].mean():.1%} at 5; worst under "
        worst = sorted(zip(shares.mean(1).tolist(), kept, strict=True))[:FEW]
        text += ", ".join(f"{name} {share:.1%}" for share, name in worst)
        return Finding("pass", text + " (for context: no attacker)", float(shares.mean()))
