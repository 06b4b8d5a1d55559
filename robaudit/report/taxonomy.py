"""Public catalogues of attacks and weaknesses that findings are evidence toward.

A finding is evidence toward an entry: it shows what the audit saw, and says nothing about compliance with anything.
Titles are those of the versions named here. Sources: MITRE ATLAS data 5.6.0 (mitre-atlas/atlas-data, dist/ATLAS.yaml);
NIST AI 100-2e2025 (doi 10.6028/NIST.AI.100-2e2025); OWASP Machine Learning Security Top Ten 2023, itself a draft;
CWE 4.17.
"""

from __future__ import annotations

from dataclasses import dataclass

from robaudit.audit.result import Access

__all__ = ["DISCLAIMER", "TAXONOMIES", "Taxon", "Taxonomy", "taxa_of_access", "taxonomy_of"]

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


@dataclass(frozen=True)
class Taxonomy:
    """A version of a catalogue, with the entries that audits bear on."""

    name: str
    version: str
    organization: str
    url: str
    taxa: tuple[Taxon, ...]


def _atlas(id: str, title: str) -> Taxon:
    return Taxon(id, title, f"https://atlas.mitre.org/techniques/{id}")


NIST_URL = "https://doi.org/10.6028/NIST.AI.100-2e2025"
OWASP_URL = "https://owasp.org/www-project-machine-learning-security-top-10/"

TAXONOMIES: tuple[Taxonomy, ...] = (
    Taxonomy(
        "MITRE ATLAS",
        "5.6.0",
        "MITRE",
        "https://atlas.mitre.org/",
        (
            _atlas("AML.T0005", "Create Proxy AI Model"),
            _atlas("AML.T0015", "Evade AI Model"),
            _atlas("AML.T0040", "AI Model Inference API Access"),
            _atlas("AML.T0042", "Verify Attack"),
            _atlas("AML.T0043.000", "Craft Adversarial Data: White-Box Optimization"),
            _atlas("AML.T0043.001", "Craft Adversarial Data: Black-Box Optimization"),
            _atlas("AML.T0043.002", "Craft Adversarial Data: Black-Box Transfer"),
            _atlas("AML.T0044", "Full AI Model Access"),
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
