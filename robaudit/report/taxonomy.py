"""Public catalogues of attacks and weaknesses that findings are evidence toward.

A finding is evidence toward an entry: it shows what the audit saw, and says nothing about compliance with anything.
Titles are those of the versions named here; older ones stand beside them. Sources: MITRE ATLAS content 2026.09, data
format 6.0.0 (mitre-atlas/atlas-data, dist/v6/ATLAS-2026.09.yaml; releases before 2026.05 were numbered up to 5.6.1);
NIST AI 100-2e2025 (doi 10.6028/NIST.AI.100-2e2025); OWASP Machine Learning Security Top Ten 2023, itself a draft;
CWE 4.17; Regulation (EU) 2024/1689 (AI Act) as amended by Regulation (EU) 2026/1744, Articles 15 and 113.
"""

from __future__ import annotations

from dataclasses import dataclass

from robaudit.audit.result.document import Access

__all__ = ["ATLAS", "DISCLAIMER", "MITIGATIONS", "TAXONOMIES", "Taxon", "Taxonomy", "taxa_of_access", "taxonomy_of"]

DISCLAIMER = "Evidence toward these entries of public catalogues; no claim about compliance with anything is made."


@dataclass(frozen=True)
class Taxon:
    """An entry of a catalogue."""

    id: str
    """As the catalogue has it, such as ``AML.T0015``."""
    title: str
    """Its title in that version."""
    url: str
    """Where it is described."""
    formerly: tuple[str, ...] = ()
    """Titles under the same id in earlier versions, the latest first."""
    note: str = ""
    """What else must be known of it, or nothing."""

    @property
    def words(self) -> str:
        """Id, title, older titles and the note, on one line."""
        before = f" (formerly {', '.join(self.formerly)})" if self.formerly else ""
        return f"{self.id} {self.title}{before}" + (f"; {self.note}" if self.note else "")


@dataclass(frozen=True)
class Taxonomy:
    """A version of a catalogue, with the entries that audits bear on."""

    name: str
    version: str
    organization: str
    url: str
    taxa: tuple[Taxon, ...]


def _atlas(id: str, title: str, *formerly: str, kind: str = "techniques") -> Taxon:
    return Taxon(id, title, f"https://atlas.mitre.org/{kind}/{id}", formerly)


ATLAS = "2026.09"
"""Content release of MITRE ATLAS."""
NIST_URL = "https://doi.org/10.6028/NIST.AI.100-2e2025"
AI_ACT_URL = "https://eur-lex.europa.eu/eli/reg/2024/1689/oj"
OWASP_URL = "https://owasp.org/www-project-machine-learning-security-top-10/"

TAXONOMIES: tuple[Taxonomy, ...] = (
    Taxonomy(
        "MITRE ATLAS",
        ATLAS,
        "MITRE",
        "https://atlas.mitre.org/",
        (
            _atlas("AML.T0005", "Create Proxy AI Model", "Create Proxy ML Model"),
            _atlas("AML.T0015", "Evade AI Model", "Evade ML Model"),
            _atlas("AML.T0040", "AI Model Inference API Access", "ML Model Inference API Access"),
            _atlas("AML.T0042", "Verify Attack"),
            _atlas("AML.T0043.000", "Craft Adversarial Data: White-Box Optimization"),
            _atlas("AML.T0043.001", "Craft Adversarial Data: Black-Box Optimization"),
            _atlas("AML.T0043.002", "Craft Adversarial Data: Black-Box Transfer"),
            _atlas("AML.T0044", "Full AI Model Access", "Full ML Model Access"),
        ),
    ),
    Taxonomy(
        "NIST AI 100-2",
        "e2025",
        "NIST",
        NIST_URL,
        (Taxon("NISTAML.022", "Evasion", NIST_URL), Taxon("NISTAML.025", "Black-box Evasion", NIST_URL)),
    ),
    Taxonomy(
        "OWASP Machine Learning Security Top Ten",
        "2023 (draft)",
        "OWASP",
        OWASP_URL,
        (Taxon("ML01:2023", "Input Manipulation Attack", OWASP_URL),),
    ),
    Taxonomy(
        "EU AI Act",
        "Regulation (EU) 2024/1689 as amended by Regulation (EU) 2026/1744",
        "European Union",
        AI_ACT_URL,
        (
            Taxon(
                "Article 15",
                "Accuracy, robustness and cybersecurity",
                AI_ACT_URL,
                note="for high-risk systems, from 2 December 2027 for those of Annex III (before the amendment, from "
                "2 August 2026) and from 2 August 2028 for those of Annex I",
            ),
        ),
    ),
    Taxonomy(
        "CWE",
        "4.17",
        "MITRE",
        "https://cwe.mitre.org/",
        (
            Taxon(
                "CWE-1039",
                "Inadequate Detection or Handling of Adversarial Input Perturbations in Automated Recognition "
                "Mechanism",
                "https://cwe.mitre.org/data/definitions/1039.html",
            ),
        ),
    ),
)

MITIGATIONS: tuple[Taxon, ...] = (
    _atlas("AML.M0003", "Predictive AI Model Hardening", "Model Hardening", kind="mitigations"),
    _atlas("AML.M0006", "Predictive AI Ensembles", "Use Ensemble Methods", kind="mitigations"),
    _atlas("AML.M0010", "Predictive AI Input Restoration", "Input Restoration", kind="mitigations"),
    _atlas("AML.M0015", "Predictive AI Adversarial Input Detection", "Adversarial Input Detection", kind="mitigations"),
)
"""What MITRE ATLAS names against evasion; whether it holds is for the next audit to show."""

OF_ACCESS: dict[Access, tuple[str, ...]] = {
    "white-box": ("AML.T0043.000", "AML.T0044"),
    "transfer": ("AML.T0043.002", "AML.T0005"),
    "scores": ("AML.T0043.001", "AML.T0040", "NISTAML.025"),
    "labels": ("AML.T0043.001", "AML.T0040", "NISTAML.025"),
}


def taxa_of_access(access: Access) -> tuple[str, ...]:
    """Entries that an attack with this access is an instance of."""
    return OF_ACCESS[access]


def taxonomy_of(id: str) -> tuple[int, int]:
    """Place of the catalogue in ``TAXONOMIES``, and of the entry in its ``taxa``.

    Raises:
        KeyError: no catalogue has the entry.
    """
    for place, taxonomy in enumerate(TAXONOMIES):
        for position, taxon in enumerate(taxonomy.taxa):
            if taxon.id == id:
                return place, position
    raise KeyError(id)
