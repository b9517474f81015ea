"""Writes the reference pages from the code, each time the documentation is built: they cannot fall behind it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from drawing import draw
from records import PRIVATE, RECORDS

from befl.agent.config import AgentConfig
from befl.audit.checks import CHECKS
from befl.cli.main import root
from befl.contracts.chaincode import CONTRACTS
from befl.network.topology import TopologyTable
from befl.operations.metrics import LABELS, families
from befl.rules.errors import CODES
from befl.rules.modes import MODES
from befl.rules.parameters import Parameters
from befl.rules.reader import Mapped, Table
from befl.rules.registry import Versions
from befl.rules.spec import Column, TaskSpec
from befl.training.app import AppManifest

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FAMILIES = {
    "A": "Authorisation",
    "C": "Configuration and data",
    "G": "Gateway and ledger",
    "M": "Model and update",
    "N": "Network",
    "P": "Privacy",
    "T": "Task and round",
    "X": "Exchange",
}


def errors() -> Iterator[str]:
    """One section a family, one entry a code: the pages that `befl explain` prints."""
    yield "# Error codes"
    yield (
        "Whatever befl refuses has a stable code. `befl explain CODE` prints the same page. *Retryable* means that the "
        "same action may succeed later without anybody changing anything."
    )
    family = ""
    for code in CODES.values():
        if code.id[5] != family:
            family = code.id[5]
            yield f"## {FAMILIES[family]}"
        yield f"### {code.id}"
        yield f"**{code.title}.**" + (" *Retryable.*" if code.retryable else "")
        yield code.page


def states() -> Iterator[str]:
    """The state machines of each mode, from the tables that the contracts follow."""
    yield "# States of tasks and rounds"
    yield (
        "The contracts follow these tables and refuse what has no row (`BEFL-T-002`). A task keeps to the version of "
        "the rules that it was published with. The drawings are made from the tables: a step is named by the "
        "transaction that takes it, a double line is where it ends."
    )
    for version in versions(MODES):
        mode = MODES[version]
        yield f"## {version}"
        for machine in (mode.task_machine, mode.round_machine):
            yield f"### A {machine.kind} of {version}"
            rows = [f"| {row.state} | `{row.transaction}` | {row.guard} | {row.next} |" for row in machine.transitions]
            yield "\n".join(["| state | transaction | if | next state |", "|---|---|---|---|", *rows])
            drawing = draw(machine, f"{version.replace('/', '-')}-{machine.kind}")
            yield f"```{{raw}} html\n{drawing}\n```"


def transactions() -> Iterator[str]:
    """The chaincode's transactions, from the contracts' own tables."""
    yield "# Transactions"
    yield (
        "What the chaincode `befl` answers to, as `contract.submit` and `contract.evaluate` of `befl.gateway` name it. "
        "Queries are open to every identity of the channel. *Transient* values travel with it and are in no block."
    )
    for contract, entries in CONTRACTS.items():
        yield f"## {contract}"
        for name, entry in entries.items():
            yield f"### `{contract}:{name}`"
            yield sentence(" ".join((inspect.getdoc(entry.run) or "").split()))
            rows = [
                ("arguments", ", ".join(f"`{argument}`" for argument in entry.arguments)),
                ("transient", ", ".join(f"`{value}`" for value in entry.transient)),
                ("role", f"`{entry.role}`" if entry.role else "any (a query)"),
            ]
            yield "\n".join(f"- {what}: {value or 'none'}" for what, value in rows)


def records() -> Iterator[str]:
    """What stands on the ledger, from the table that a test holds against the contracts."""
    yield "# Records and keys"
    yield (
        "What the contracts write: canonical JSON (sorted keys, whole numbers and text, no floating point). A record "
        "has a `kind`, and a version `v` of its form. A key is Fabric's composite key of the kind and the parts named; "
        "the number of a round or of a version has six digits in it. An institution writes keys of its own, so that "
        "parallel submissions do not meet. What is deleted stays in the ledger's history."
    )
    for kind, record in RECORDS.items():
        yield f"## `{kind}`"
        yield record.what
        facts = [f"- key: `{kind}`, {', '.join(record.key)}", f"- written by: {code(record.written)}"]
        yield "\n".join([*facts, *([f"- deleted by: {code(record.deleted)}"] if record.deleted else [])])
        rows = [f"| `{name.lstrip('+')}` | {form} | {cell(what)} |" for name, (form, what) in record.fields.items()]
        yield "\n".join(["| field | form | what |", "|---|---|---|", *rows])
    yield "## Private data"
    yield (
        "Every institution is a member of both collections; secrecy comes from a task's privacy scheme, never from "
        "membership. Each value is named by its SHA-256 in a record above."
    )
    rows = [
        f"| `{collection}` | `{kind}`, {', '.join(parts)} |"
        for collection, kinds in PRIVATE.items()
        for kind, parts in kinds.items()
    ]
    yield "\n".join(["| collection | key |", "|---|---|", *rows])


def code(names: tuple[str, ...]) -> str:
    """Name things in code."""
    return ", ".join(f"`{name}`" for name in names)


def checks() -> Iterator[str]:
    """What an audit checks, from its own table."""
    yield "# Checks of the audit"
    yield (
        "What `befl audit replay` looks at. Each check is needed: with any of them switched off, some forged ledger of "
        "the tests passes. Of `model` that is so once the final model's value has been purged, which no contract does "
        "yet; until then a false registration is found as well by `write_set`, or by `complete` where the value is "
        "kept back."
    )
    rows = [f"| `{name}` | {cell(what)} |" for name, what in CHECKS.items()]
    yield "\n".join(["| check | what it makes sure of |", "|---|---|", *rows])


def versions(table: Versions[Any]) -> list[str]:
    """The newest version of each name."""
    return [table.newest(name) for name in table.names()]


def tables(title: str, introduction: str, root: type[Any], **more: type[Any]) -> Iterator[str]:
    """A file that people write: one section a table, from the dataclasses that read it."""
    yield f"# {title}"
    yield introduction
    waiting: list[tuple[str, type[Any]]] = [("", root)]
    while waiting:
        path, cls = waiting.pop(0)
        yield f"## {f'`[{path}]`' if path else 'Top of the file'}"
        if path:
            first = (inspect.getdoc(cls) or "").partition("\n\n")[0]
            yield sentence(first.partition("``: ")[2] or first)
        rows = []
        for field in dataclasses.fields(cls):
            if "parse" not in field.metadata:
                continue
            parse, doc = field.metadata["parse"], field.metadata["doc"]
            below = f"{path}.{field.name}".lstrip(".")
            if isinstance(parse, Table):
                waiting.append((below, parse.cls))
            elif isinstance(parse, Mapped) and isinstance(parse.of, Table):
                waiting.append((f"{below}.NAME", parse.of.cls))
            elif below in more:
                waiting.append((f"{below}.NAME", more[below]))
            rows.append(f"| `{field.name}` | {cell(doc)} | {cell(parse.expects)} | {default(field)} |")
        yield "\n".join(["| key | what | accepted | default |", "|---|---|---|---|", *rows])


def sentence(text: str) -> str:
    """Start with a capital."""
    return text[:1].upper() + text[1:].replace("``", "`")


def cell(text: str) -> str:
    """Escape what ends a cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def default(field: dataclasses.Field[Any]) -> str:
    """Say what stands when the key is absent, as it would be written in TOML."""
    if field.default is dataclasses.MISSING:
        return "*required*" if field.default_factory is dataclasses.MISSING else "empty"
    value = field.default
    if dataclasses.is_dataclass(value) or value is None:
        return "see the table"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    return f"`{str(value).lower()}`" if isinstance(value, bool | int) else f'`"{value}"`'


def commands() -> Iterator[str]:
    """The command line, from its own help."""
    yield "# Command line"
    yield (
        "Exit status: 0 yes, 1 refused or a negative verdict, 2 usage or could not run, 130 interrupted. "
        "Options stand before `BEFL_*` variables, those before files, those before defaults."
    )
    yield from command("befl", root, None)


def command(name: str, entry: click.Command, parent: click.Context | None) -> Iterator[str]:
    """One command and those below it."""
    settings = {**entry.context_settings, "terminal_width": 100}
    context = click.Context(entry, info_name=name.rpartition(" ")[2], parent=parent, **settings)
    yield f"## `{name}`"
    yield f"```text\n{entry.get_help(context)}\n```"
    if isinstance(entry, click.Group):
        for child in entry.list_commands(context):
            found = entry.get_command(context, child)
            if found is not None and not found.hidden:
                yield from command(f"{name} {child}", found, context)


def metrics() -> Iterator[str]:
    """What befl's processes show at /metrics, from the objects that count."""
    yield "# Metrics"
    yield (
        "What befl's own processes show at `/metrics`, in Prometheus' text form; "
        "[the page on monitoring](../../how-to/monitor.md) says where, and who may read. Peers and orderers show "
        "Fabric's own metrics. Histograms also have `_count`, `_sum` and `_bucket`."
    )
    for process, found in families().items():
        yield f"## {process.capitalize()}"
        rows = []
        for metric in found:
            shown = f"{metric.name}_total" if metric.type == "counter" else metric.name
            labels = ", ".join(f"`{label}`" for label in LABELS.get(metric.name, ()))
            rows.append(f"| `{shown}` | {metric.type} | {labels} | {cell(metric.documentation)} |")
        yield "\n".join(["| name | type | labels | what |", "|---|---|---|---|", *rows])


PAGES = {
    "metrics": metrics,
    "errors": errors,
    "states": states,
    "transactions": transactions,
    "records": records,
    "checks": checks,
    "cli": commands,
    "task": lambda: tables(
        "TASK.toml",
        "The specification of a task: an issuer writes it, `befl task publish` puts its canonical form on the ledger. "
        "Unknown keys are errors.",
        TaskSpec,
        **{"data.columns": Column},
    ),
    "agent": lambda: tables(
        "AGENT.toml",
        "What one institution's agent uses and what its operator agrees to. Relative paths are relative to the file. "
        "Unknown keys are errors.",
        AgentConfig,
    ),
    "app": lambda: tables(
        "app.toml",
        "What stands beside an app's `app.py`. Unknown keys are errors; a folder without this file is no app.",
        AppManifest,
    ),
    "parameters": lambda: tables(
        "parameters.toml",
        "What the consortium has set for all tasks; `befl parameters approve` and `assign` take such a file. What it "
        "leaves out is the default. Unknown keys are errors.",
        Parameters,
    ),
    "topology": lambda: tables(
        "network.toml",
        "The consortium as `befl network up` reads and completes it. Ports are chosen at the first `up` and stand in "
        "the channel configuration afterwards. Unknown keys are errors.",
        TopologyTable,
    ),
}


def write(app: Sphinx) -> None:
    """Write the pages that changed."""
    folder = Path(app.srcdir) / "reference" / "generated"
    folder.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        path, text = folder / f"{name}.md", "\n\n".join(page()) + "\n"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for stale in {path.stem for path in folder.glob("*.md")} - set(PAGES):
        (folder / f"{stale}.md").unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
