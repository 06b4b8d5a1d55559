"""Rules and catalogues: every check has a rule, ids stay what they are, and `explain` tells them."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from robaudit.checks.registry import own_checks
from robaudit.cli.app import app
from robaudit.report.rules import RULES
from robaudit.report.taxonomy import MITIGATIONS, TAXONOMIES, taxa_of_access, taxonomy_of

USED = {
    "RA001": "GateFailed",
    "RA002": "GateInconclusive",
    "RA003": "GateNotJudged",
    "RA010": "ModelFooled",
    "RA011": "VerifiedAdversarialExamples",
    "RA012": "WorseThanBaseline",
    "RA013": "SampleNewlyBroken",
    "RA020": "AuditIncomplete",
    "RA021": "AttackNotRun",
    "RA022": "NothingAudited",
    "RA023": "ProvedAndBroken",
    "RA030": "InputAssumed",
    "RA031": "NoLabels",
    "RA100": "CheckOther",
    "RA101": "CheckClean",
    "RA102": "CheckParity",
    "RA103": "CheckDeterminism",
    "RA104": "CheckBatchState",
    "RA105": "CheckOutputHead",
    "RA106": "CheckZeroGradient",
    "RA107": "CheckUnbounded",
    "RA108": "CheckBlackOverWhite",
    "RA109": "CheckEvidence",
    "RA110": "CheckGraphScan",
    "RA111": "CheckGradientFidelity",
    "RA112": "CheckLandscape",
    "RA113": "CheckOneStep",
    "RA114": "CheckMonotone",
    "RA115": "CheckRandom",
    "RA116": "CheckConvergence",
    "RA117": "CheckLossSpread",
    "RA118": "CheckBinarisation",
    "RA119": "CheckBpdaGain",
    "RA120": "CheckSparsity",
    "RA121": "CheckReluStability",
    "RA122": "CheckLogitScale",
    "RA123": "CheckStateful",
    "RA124": "CheckOffNorm",
    "RA125": "CheckCliff",
    "RA126": "CheckTransferGap",
    "RA127": "CheckClever",
    "RA128": "CheckTrojan",
    "RA129": "CheckSurvival",
    "RA130": "CheckCorruptions",
    "RA140": "CheckEotGain",
    "RA141": "CheckFrozenNoise",
    "RA142": "CheckBracket",
    "RA143": "CheckGradientMasking",
}
"""Ids given out so far. Alerts elsewhere are kept under them: add to this list, never change it."""


def test_ids_are_never_reused():
    assert {id: RULES[id].name for id in USED} == USED
    assert RULES.keys() == USED.keys(), "add a new rule to USED"


def test_every_check_has_a_rule_of_its_own():
    rules = [cls.facts.rule for cls in own_checks().values()]
    assert None not in rules
    assert len({rule.id for rule in rules}) == len(rules)
    assert all(RULES[rule.id].title == cls.facts.title for rule, cls in zip(rules, own_checks().values(), strict=True))


def test_every_entry_is_in_a_catalogue_of_a_stated_version():
    named = {taxon for rule in RULES.values() for taxon in rule.taxa}
    named |= {taxon for access in ("white-box", "transfer", "scores", "labels") for taxon in taxa_of_access(access)}
    known = {taxon.id for taxonomy in TAXONOMIES for taxon in taxonomy.taxa}
    assert named == known
    for id in known:
        place, position = taxonomy_of(id)
        assert TAXONOMIES[place].taxa[position].id == id
        assert TAXONOMIES[place].version
        assert TAXONOMIES[place].taxa[position].url.startswith("https://")
    with pytest.raises(KeyError):
        taxonomy_of("AML.T9999")


@pytest.mark.parametrize("id", USED)
def test_explain_tells_what_why_and_what_to_do(id):
    told = CliRunner().invoke(app, ["explain", id.lower()])
    rule = RULES[id]
    assert told.exit_code == 0
    assert all(text in told.output for text in (id, rule.title, rule.why, rule.action))
    assert not re.search(r"compliant|certified", told.output)
    for taxon in rule.taxa:
        assert taxon in told.output


def test_explain_lists_the_rules_and_names_that_of_a_check():
    listed = CliRunner().invoke(app, ["explain"])
    assert all(f"{rule.id}" in listed.output and rule.title in listed.output for rule in RULES.values())
    assert "rule RA107" in CliRunner().invoke(app, ["explain", "unbounded"]).output


def test_catalogues_are_those_of_their_stated_versions():
    versions = {taxonomy.name: taxonomy.version for taxonomy in TAXONOMIES}
    assert versions["MITRE ATLAS"] == "2026.09"
    assert versions["NIST AI 100-2"] == "e2025"
    assert "2026/1744" in versions["EU AI Act"]
    assert {entry.id: (entry.title, entry.formerly) for entry in MITIGATIONS} == {
        "AML.M0003": ("Predictive AI Model Hardening", ("Model Hardening",)),
        "AML.M0006": ("Predictive AI Ensembles", ("Use Ensemble Methods",)),
        "AML.M0010": ("Predictive AI Input Restoration", ("Input Restoration",)),
        "AML.M0015": ("Predictive AI Adversarial Input Detection", ("Adversarial Input Detection",)),
    }
    place, position = taxonomy_of("Article 15")
    told = TAXONOMIES[place].taxa[position].words
    assert "2 December 2027 for those of Annex III" in told


def test_explain_tells_old_titles_and_mitigations():
    told = CliRunner().invoke(app, ["explain", "RA010"]).output
    assert "MITRE ATLAS 2026.09: AML.T0015 Evade AI Model (formerly Evade ML Model)" in told
    assert "AML.M0003 Predictive AI Model Hardening (formerly Model Hardening)" in told
    assert "no claim about compliance" in told
    assert "AML.M0003" not in CliRunner().invoke(app, ["explain", "RA101"]).output
