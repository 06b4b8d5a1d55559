"""The reference pages of the documentation, made from the code and from what ``robaudit explain`` prints."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner

from robaudit.api import audit, load_result, render
from robaudit.attacks.registry import attack_classes, transform_classes
from robaudit.audit.config.declaring import GATES, LIMIT, Apart, Setting, hyphens
from robaudit.audit.config.keywords import SettingKeywords
from robaudit.audit.config.metrics import FAMILIES
from robaudit.audit.config.profile import profile_schema
from robaudit.audit.config.profile_files import list_profiles
from robaudit.audit.config.resolve import DEFAULT_EPS
from robaudit.audit.config.settings import SETTINGS
from robaudit.audit.result.document import SCHEMA_VERSION, Result, result_schema
from robaudit.audit.result.sections.verdict import MEANINGS
from robaudit.certificates.registry import certifier_classes
from robaudit.checks.registry import check_classes
from robaudit.cli.app import app
from robaudit.defenses.registry import defense_classes
from robaudit.detectors.registry import detector_classes
from robaudit.report.registry import formats
from robaudit.report.rules import RULES, rule_id
from robaudit.threat.sets.registry import chosen_classes

__all__ = ["commands", "reference_pages"]

ACCESS = {
    "white-box": "White box: gradients of the model",
    "transfer": "Transfer: other models only, given with `--surrogate`",
    "scores": "Black box: scores for any input",
    "labels": "Black box: labels for any input",
}
PARAMETER = re.compile(r"^    (\w+)(?: = (.*?))?(?: \(of (.*)\))?$")


def commands() -> dict[str, Any]:
    """Every command by its words, such as ``profile show``."""
    found: dict[str, Any] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        if not hasattr(command, "commands"):
            found[" ".join(words)] = command
            return
        for name, inner in command.commands.items():
            walk(inner, (*words, name))

    walk(get_command(app), ())
    return found


def reference_pages() -> dict[str, str]:
    """Markdown of each page by its name."""
    made: dict[str, Callable[[], str]] = {
        "command-line": _command_line,
        "python-api": _python_api,
        "settings-keys": _settings,
        "profiles": _profiles,
        "attacks": _attacks,
        "transforms": _transforms,
        "losses-and-goals": _losses_and_goals,
        "defenses": _defenses,
        "detectors": _detectors,
        "perturbation-sets": _sets,
        "checks": _checks,
        "certificates": _certificates,
        "metrics": _metrics,
        "gate-keys": _gate_keys,
        "report-formats": _formats,
        "rules": _rules,
        "exit-codes": _exit_codes,
        "result-schema": _result_schema,
    }
    return {name: make().rstrip() + "\n" for name, make in made.items()}


def explained(*words: str) -> str:
    """What a command prints."""
    done = CliRunner().invoke(app, list(words))
    if done.exit_code != 0:
        raise RuntimeError(f"robaudit {' '.join(words)} failed: {done.output}")
    return str(done.output).strip()


def prose(text: str) -> str:
    """Text of a docstring or help as Markdown: code stays code, nothing else is markup."""
    parts = re.split(r"(``[^`]+``|`[^`]+`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_<>\[\]$|{}])", r"\\\1", part) for part in parts)


def cell(text: str) -> str:
    """One cell of a table."""
    parts = re.split(r"(``[^`]+``|`[^`]+`)", " ".join(text.split()))
    return "".join(part.replace("|", "\\|") if part.startswith("`") else prose(part) for part in parts)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table of cells that are Markdown already."""
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _command_line() -> str:
    parts = [
        "# Command line",
        "As `robaudit COMMAND --help` prints it. Options win over `ROBAUDIT_*` variables, these over `robaudit.yaml`, "
        "and that over the profile: [settings keys](settings-keys.md).",
    ]
    for name, command in commands().items():
        arguments = [p for p in command.params if not p.opts[0].startswith("-")]
        options = [p for p in command.params if p.opts[0].startswith("-") and p.name != "help"]
        usage = " ".join(p.name.upper() if p.required else f"[{p.name.upper()}]" for p in arguments)
        parts += [
            f"## robaudit {name}",
            f"```text\nrobaudit {name}{' [OPTIONS]' if options else ''} {usage}".rstrip() + "\n```",
            prose(command.help),
        ]
        if arguments:
            parts.append(table(("Argument", "Meaning"), ((f"`{p.name.upper()}`", cell(p.help)) for p in arguments)))
        if options:
            parts.append(table(("Option", "Meaning"), ((_option(p), cell(p.help)) for p in options)))
    return "\n\n".join(parts)


def _option(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    return f"{names} (repeatable)" if parameter.multiple else names


def _settings() -> str:
    head = ("Key", "Variable", "Default", "Meaning")
    listed = [each for each in SETTINGS.values() if not each.alone]
    limits = [each for each in SETTINGS.values() if each.alone == LIMIT]
    only = ", ".join(f"`{name}`" for each in limits for flag in each.flags for name in flag.split("/"))
    radii = ", ".join(f"{norm} {eps}" for norm, eps in DEFAULT_EPS.items())
    return "\n\n".join(
        [
            "# Settings keys",
            "Keys of `robaudit.yaml`, each with its variable. [Which file counts, and what it may do](../settings.md). "
            f"What lifts a limit is an option of the command line alone: {only}.",
            "The profile's threat model and samples stand where none is set. Where a norm is chosen and no radius with "
            f"it, the radius is: {radii}.",
            table(head, (_setting(each, hyphens(each.name)) for each in listed if not each.inside)),
            "## What the input means",
            table(
                head,
                (_setting(each, f"{each.inside}: {{{hyphens(each.name)}: …}}") for each in listed if each.inside),
            ),
            "## What names a run",
            "A run goes on where it ended if all that decides its outcome is the same. Beside the model, the profile, "
            "the version of robaudit and the code of attacks of your own, these settings do; of a file its content. "
            "Settings of the threat model count as part of the profile, and gates only with `until-decided`.",
            ", ".join(
                f"`{hyphens(each.name)}`"
                for each in SETTINGS.values()
                if each.identity != GATES and not isinstance(each.identity, Apart)
            ),
            "These do not, for:",
            table(("Setting", "Reason"), ((f"`{hyphens(n)}`", cell(e.identity.why)) for n, e in _apart())),
        ]
    )


def _apart() -> Iterator[tuple[str, Any]]:
    return ((name, each) for name, each in SETTINGS.items() if isinstance(each.identity, Apart))


def _setting(each: Setting, key: str) -> tuple[str, ...]:
    words = str(each.default).lower() if isinstance(each.default, bool) else each.default
    told = "" if each.default is None or each.default == () else f"`{words}`"
    return f"`{key}`", f"`{each.environment}`" if each.environment else "", told, cell(each.meaning or each.help)


def _profiles() -> str:
    parts = [
        "# Built-in profiles",
        "`robaudit profile show NAME` prints one with everything that it extends; a YAML file of your own may "
        "say `extends: NAME`.",
        table(("Profile", "What it is for"), ((f"[`{n}`](#{n})", cell(text)) for n, text in list_profiles().items())),
    ]
    for name in list_profiles():
        parts += [f"## {name}", f"```yaml\n{explained('profile', 'show', name)}\n```"]
    parts += ["## Keys of a profile", *_schema(profile_schema(), "Profile", 3)]
    return "\n\n".join(parts)


def _attacks() -> str:
    ours = {id: cls for id, cls in sorted(attack_classes().items()) if cls.__module__.startswith("robaudit.")}
    parts = ["# Attacks", "What `robaudit explain ID` prints. [Adding an attack](../adding-an-attack.md) of your own."]
    for access, title in ACCESS.items():
        ids = [id for id, cls in ours.items() if cls.access == access]
        parts += [f"## {title}", ", ".join(f"[`{id}`](#{id})" for id in ids)]
        for id in ids:
            parts += [f"### {id}", _attack(explained("explain", id))]
    return "\n\n".join(parts)


def _transforms() -> str:
    parts = [
        "# Transforms",
        "What the gradients of an attack are taken through: written after it with a plus sign, `transfer-mi-fgsm+di`. "
        "[Adding a transform](../adding-a-transform.md) of your own.",
    ]
    for id, cls in sorted(transform_classes().items()):
        if cls.__module__.startswith("robaudit."):
            parts += [f"## {id}", _attack(explained("explain", id))]
    return "\n\n".join(parts)


def _attack(page: str) -> str:
    """The page of an attack or a transform: its first line is the heading; parameters, indented, become a table."""
    body, _, rest = page.partition("\nParameters")
    lines = body.strip().splitlines()[1:]
    return "\n\n".join([prose(lines[0]), prose("\n".join(lines[1:]).strip()), *_fields(rest, "Parameter")])


def _fields(rest: str, title: str) -> list[str]:
    """A table of what a profile may set, then what is said after it."""
    rows: list[list[str]] = []
    notes = []
    for line in rest.splitlines()[1:]:
        if (match := PARAMETER.match(line)) is not None:
            choices = f"one of {match[3]}; " if match[3] else ""
            rows.append([f"`{match[1]}`", f"`{match[2]}`" if match[2] else "", choices])
        elif line.startswith("        ") and rows:
            rows[-1][2] += " " + line.strip()
        elif line.strip():
            notes.append(line.strip())
    found = table((title, "Default", "Meaning"), ((a, b, cell(c)) for a, b, c in rows))
    return [found if rows else f"No {title.lower()}s.", *map(prose, notes)]


def _losses_and_goals() -> str:
    def as_list(page: str) -> Iterator[str]:
        for block in re.split(r"\n(?=\S)", page):
            name, mark, text = block.partition(":")
            known = mark and re.fullmatch(r"[a-z0-9-]+", name)
            yield f"**`{name}`**: {prose(_dedent(text))}" if known else prose(_dedent(block))

    goals = explained("explain", "goal")
    return "\n\n".join(
        [
            "# Losses and goals",
            "## Losses",
            *as_list(explained("explain", "loss").partition("\n")[2].strip()),
            "## Goals",
            "What counts as a success (`--goal`, or `threat.goal` of a profile): [what the figures say](../goals.md).",
            f"```text\n{goals.partition(chr(10))[2].strip()}\n```",
        ]
    )


def _dedent(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


def _defenses() -> str:
    ours = [id for id, cls in sorted(defense_classes().items()) if cls.__module__.startswith("robaudit.")]
    parts = [
        "# Defenses",
        "In front of the model with `--defense`. What `robaudit explain ID` prints. "
        "[Adding a defense](../adding-a-defense.md) of your own.",
    ]
    for id in ours:
        head, _, rest = explained("explain", id).partition("\n")
        parts += [f"## {id}", _attack(f"{head}\n{head.partition(': ')[2]}\n{rest}")]
    return "\n\n".join(parts)


def _detectors() -> str:
    ours = [id for id, cls in sorted(detector_classes().items()) if cls.__module__.startswith("robaudit.")]
    parts = [
        "# Detectors",
        "Beside the model with `--detector`. What `robaudit explain ID` prints. "
        "[A detector of your own](../detectors.md#a-detector-of-your-own).",
    ]
    for id in ours:
        head, _, rest = explained("explain", id).partition("\n")
        parts += [f"## {id}", _attack(f"{head}\n{head.partition(': ')[2]}\n{rest}")]
    return "\n\n".join(parts)


def _sets() -> str:
    parts = [
        "# Perturbation sets",
        "What may be changed beside the ball, with `--mask` or `threat: {sets: [...]}` in a profile. What "
        "`robaudit explain ID` prints. [Adding a perturbation set](../adding-a-perturbation-set.md) of your own.",
    ]
    for id in sorted(id for id, cls in chosen_classes().items() if cls.__module__.startswith("robaudit.")):
        head, _, rest = explained("explain", id).partition("\n")
        parts += [f"## {id}", _attack(f"{head}\n{head.partition(': ')[2]}\n{rest}")]
    return "\n\n".join(parts)


def _checks() -> str:
    parts = [
        "# Checks of the audit",
        "Each tests the audit itself. Where one fails, the headline is withheld. `robaudit explain ID` says the same.",
    ]
    for id in sorted(check_classes()):
        text = explained("explain", id).partition("\n")[2].partition("\nIn reports:")[0]
        body, _, rest = text.partition("\nSettings")
        parts += [f"## {id}", prose(body.strip()), *_fields(rest, "Setting")]
        rule = rule_id(check_classes()[id].facts)
        parts.append(f"In reports: rule [`{rule}`](rules.md#{rule.lower()}).")
    return "\n\n".join(parts)


def _certificates() -> str:
    parts = [
        "# Certificates",
        "What proves samples; named under `certificates` in a [profile](../profiles.md). "
        "[Certificates](../certificates.md) says what is proved. `robaudit explain ID` says the same.",
    ]
    for id in sorted(certifier_classes()):
        parts += [
            f"## {id}",
            prose(explained("explain", id).partition("\n")[2].partition("\nIn a profile:")[0].strip()),
        ]
    return "\n\n".join(parts)


def _metrics() -> str:
    rows = ((f"`{f.pattern}`", f.unit, f.interval, cell(f.words)) for f in FAMILIES)
    return "\n\n".join(
        [
            "# Metrics",
            "What a [gate](../gates.md) may look at. In capitals is what you fill in.",
            table(("Metric", "Unit", "Interval", "What it is"), rows),
        ]
    )


def _gate_keys() -> str:
    schema = profile_schema()
    definition = schema["$defs"]["GateSpec"]
    gate = next((part for part in definition.get("anyOf", ()) if "properties" in part), definition)
    return "\n\n".join(
        [
            "# Keys of a gate",
            "In `gates:` of `robaudit.yaml` or a profile; on one line, `robust_accuracy >= 0.6`. "
            "[How a gate is decided](../gates.md).",
            _properties(gate, schema["$defs"]),
            "## ignore",
            _properties(schema["$defs"]["IgnoreSpec"], schema["$defs"]),
        ]
    )


def _python_api() -> str:
    parts = ["# Python interface", "`import robaudit`. [How it is used](../python-api.md)."]
    for function in (audit, load_result, render):
        signature = inspect.signature(function)
        lines = list(map(_parameter, signature.parameters.values()))
        named = [each.kind is inspect.Parameter.KEYWORD_ONLY for each in signature.parameters.values()]
        lines.insert(named.index(True) if True in named else len(lines), "*")
        shown = "".join(f"    {line},\n" for line in lines if line != "*" or True in named)
        shown = f"{function.__name__}(\n{shown}) -> {signature.return_annotation}"
        parts += [f"## robaudit.{function.__name__}", f"```python\n{shown}\n```", *_docstring(function)]
        if function is audit:
            parts.append(table(("Setting", "Type", "Meaning"), _keywords()))
    known = [name for name, value in vars(Result).items() if isinstance(value, property)]
    parts += [
        "## robaudit.Result",
        "What `audit` and `load_result` return: each key of the [result](result-schema.md) is an attribute. Also:",
        table(("Property", "Meaning"), ((f"`{name}`", _cross(str(vars(Result)[name].__doc__))) for name in known)),
    ]
    return "\n\n".join(parts)


def _keywords() -> Iterator[tuple[str, ...]]:
    """A row for each setting that a call takes."""
    for name, kind in SettingKeywords.__annotations__.items():
        declared = SETTINGS[name]
        yield f"`{name}`", f"`{kind.__forward_arg__}`".replace("|", "\\|"), declared.meaning or declared.help


def _parameter(each: inspect.Parameter) -> str:
    stars = "**" if each.kind is inspect.Parameter.VAR_KEYWORD else ""
    default = getattr(each.default, "__name__", repr(each.default))
    return f"{stars}{each.name}: {each.annotation}" + ("" if each.default is each.empty else f" = {default}")


def _docstring(function: Any) -> list[str]:
    """A docstring in Google's style as paragraphs and tables."""
    parts = []
    for block in re.split(r"\n\n", inspect.getdoc(function) or ""):
        head, _, body = block.partition("\n")
        if head in ("Args:", "Raises:"):
            entries = re.findall(r"^    (\S+): (.*(?:\n {8}.*)*)", body, re.MULTILINE)
            first = "Argument" if head == "Args:" else "Error"
            parts.append(table((first, "Meaning"), ((f"`{name}`", _cross(text)) for name, text in entries)))
        else:
            parts.append(_cross(block.replace("Returns:\n", "Returns: ")))
    return parts


def _cross(text: str) -> str:
    """A text in which roles of reStructuredText are plain code."""
    return cell(re.sub(r":\w+:`~?([^`]+)`", r"``\1``", text))


def _formats() -> str:
    rows = (
        (", ".join(f"`{suffix}`" for suffix in found.suffixes), cell(found.name), cell(found.help))
        for found in dict.fromkeys(formats().values())
    )
    return "\n\n".join(
        [
            "# Report formats",
            "`-o FILE` of `robaudit scan`, `report` and `diff` picks the format by the file's suffix. "
            "[What each holds](../reports.md).",
            table(("Suffix", "Format", "What it is"), rows),
            "An installed package may bring others: [adding a report format](../adding-a-report-format.md).",
        ]
    )


def _rules() -> str:
    parts = ["# Rules of the reports", "Findings of SARIF and JUnit reports. An id never changes its meaning."]
    for id, rule in RULES.items():
        lines = explained("explain", id).split("\n\n")[1:]
        parts += [f"## {id}", f"**{rule.name}**, level {rule.level}.", *(_links(line) for line in lines)]
    return "\n\n".join(parts)


def _links(text: str) -> str:
    """A paragraph; a list of entries, each with its address in the next line, becomes a list of links."""
    if "\n  " not in text:
        return prose(text)
    first, *rest = text.splitlines()
    entries = re.findall(r"^  (\S.*)\n    (\S+)$", "\n".join(rest), re.MULTILINE)
    return prose(first) + "\n\n" + "\n".join(f"- [{prose(words)}]({url})" for words, url in entries)


def _exit_codes() -> str:
    codes = re.findall(r"(\d+) (.*?)(?=, \d+ |\.$)", str(app.info.epilog).partition(":")[2])
    return "\n\n".join(
        [
            "# Exit codes and verdicts",
            table(("Code", "Meaning"), ((code, cell(text)) for code, text in codes)),
            "The verdict's word says what is known; [the exit code](../gates.md) says what a pipeline does about it.",
            table(("Word", "Meaning"), ((status.upper(), cell(text)) for status, text in MEANINGS.items())),
        ]
    )


def _result_schema() -> str:
    return "\n\n".join(
        [
            "# Schema of the result",
            f"Version {SCHEMA_VERSION}. `robaudit report --schema` prints the JSON Schema; "
            "[what a version promises](../schema-policy.md).",
            *_schema(result_schema(), "Result"),
        ]
    )


def _schema(schema: dict[str, Any], name: str, level: int = 2) -> Iterator[str]:
    definitions = schema.get("$defs", {})
    for title, definition in {name: schema, **definitions}.items():
        parts = [definition, *definition.get("anyOf", ())]
        found = next((part for part in parts if "properties" in part), None)
        if found is None:
            continue
        yield f"{'#' * level} {title}"
        if text := found.get("description", ""):
            yield prose(text)
        yield _properties(found, definitions)


def _properties(definition: dict[str, Any], definitions: dict[str, Any]) -> str:
    rows = []
    for name, field in definition["properties"].items():
        default = f"`{field['default']!r}`" if field.get("default") not in (None, [], {}, "") else ""
        rows.append((f"`{name}`", cell(_type(field, definitions)), default, cell(field.get("description", ""))))
    return table(("Key", "Type", "Default", "Meaning"), rows)


def _type(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in field:
        return str(field["$ref"].rpartition("/")[2])
    if "allOf" in field:
        return _type(field["allOf"][0], definitions)
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(part, definitions) for part in field["anyOf"]))
    if "enum" in field or "const" in field:
        return ", ".join(str(value) for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_type(field['items'], definitions)}" if field.get("items") else "list"
    if field.get("type") == "object":
        inner = field.get("additionalProperties")
        return f"map to {_type(inner, definitions)}" if isinstance(inner, dict) and inner else "map"
    return str(field.get("type", "any"))
