"""The final model as a folder: every byte follows from the ledger.

``model.safetensors`` holds the float32 view, ``preparation.json`` how rows become features, ``card.json`` and
``card.md`` where the model comes from, ``manifest.json`` the SHA-256 of each file. The ledger records the digest of
the manifest, and each endorser makes these bytes itself before it signs: nobody has to be believed. The safetensors
form (eight bytes of header length, a JSON header, the tensors) is written here because rules use nothing outside the
standard library and numpy; a test reads it back with the safetensors library.
"""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from befl.rules import canonical, codec
from befl.rules.layout import Tensor, read_layout
from befl.rules.metrics import METRICS
from befl.rules.reader import read, to_record
from befl.rules.schemes import SCHEMES
from befl.rules.spec import DataSpec
from befl.rules.statistics import prepared

MANIFEST: Final = "manifest.json"


def safetensors(layout: tuple[Tensor, ...], values: NDArray[np.float32]) -> bytes:
    """Write float32 tensors in the safetensors form, deterministically.

    Parameters
    ----------
    layout : tuple of Tensor
        Names and shapes in order.
    values : ndarray of float32, shape (n,)
        The tensors one after another, C order.
    """
    header: dict[str, Any] = {}
    offset = 0
    for tensor in layout:
        end = offset + 4 * tensor.size
        header[tensor.name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + values.astype("<f4").tobytes()


def files(task: dict[str, Any], last: dict[str, Any], model: NDArray[np.int64]) -> dict[str, bytes]:
    """Make the files of a finished task's model.

    Parameters
    ----------
    task : dict
        The task's record, with ``finished_ms`` set.
    last : dict
        The record of its last round, evaluated.
    model : ndarray of int64, shape (length,)
        The integer model after that round.

    Returns
    -------
    dict of str to bytes
        File name to content, the manifest included.
    """
    layout = read_layout(task["layout"])
    app = {**task["app"], "settings": task["spec"]["app"]["settings"]}
    data = prepared(read(DataSpec, task["spec"]["data"], "data"), task["preparation"])
    card = _card(task, last, app)
    made = {
        "model.safetensors": safetensors(layout, codec.to_float(model, task["spec"]["aggregation"]["scale_bits"])),
        "preparation.json": canonical.dumps(
            {"app": app, "befl": 1, "data": to_record(data), "metrics": task["rules"]["metrics"]}
        ),
        "card.json": canonical.dumps(card),
        "card.md": _markdown(card).encode(),
    }
    manifest = {
        "befl": 1,
        "files": {name: codec.digest(data) for name, data in made.items()},
        "model": last["model"],
        "task": task["id"],
    }
    return {**made, MANIFEST: canonical.dumps(manifest)}


def _card(task: dict[str, Any], last: dict[str, Any], app: dict[str, Any]) -> dict[str, Any]:
    return {
        "app": app,
        "befl": 1,
        "contributors": task["contributors"],
        "finished_ms": task["finished_ms"],
        "initial_model": task["model"],
        "issuer": task["issuer"],
        "metrics": last["metrics"],
        "mode": task["spec"]["mode"],
        "model": last["model"],
        "name": task["spec"]["name"],
        "privacy": SCHEMES[task["rules"]["scheme"]].statement,
        "published_ms": task["published_ms"],
        "rounds": last["round"],
        "rules": task["rules"],
        "statistics": sorted(task["preparation"]),
        "task": task["id"],
    }


def _markdown(card: dict[str, Any]) -> str:
    pooled, rule = card["metrics"]["pooled"], METRICS[card["rules"]["metrics"]]
    name = _plain(card["name"])
    lines = [
        f"# {name}",
        "",
        (
            f"Trained by {len(card['contributors'])} institutions in {card['rounds']} rounds ({card['mode']}), "
            f"task `{card['task']}`, published by {_plain(card['issuer'])}."
        ),
        "",
        card["privacy"],
        *_statistics(card["statistics"]),
        "",
        "## Metrics on the institutions' held-back rows",
        "",
        f"| institution | rows | {' | '.join(item.heading for item in rule.shown)} |",
        f"|---|---:|{'---:|' * len(rule.shown)}",
    ]
    for msp_id, row in [*card["metrics"]["institutions"].items(), ("all together", pooled)]:
        cells = (_ppm(row[item.key]) for item in rule.shown)
        lines.append(f"| {_plain(msp_id)} | {row['rows']} | {' | '.join(cells)} |")
    if note := rule.note(pooled):
        lines += ["", note]
    lines += [
        "",
        "## Contributors",
        "",
        "| institution | rounds | weight (sum of training rows) |",
        "|---|---:|---:|",
    ]
    lines += [
        f"| {_plain(msp_id)} | {item['rounds']} | {item['weight']} |" for msp_id, item in card["contributors"].items()
    ]
    lines += [
        "",
        "## Origin",
        "",
        f"- App `{card['app']['name']}`, SHA-256 `{card['app']['digest']}`",
        f"- Rules: {', '.join(f'`{value}`' for _, value in sorted(card['rules'].items()))}",
        f"- Integer model SHA-256 `{card['model']}`, from the initial model `{card['initial_model']}`",
        "",
        "Check this folder against the ledger with `befl model verify`.",
        "",
    ]
    return "\n".join(lines)


def _statistics(columns: list[str]) -> list[str]:
    """Say what stands on the ledger of each institution's rows."""
    if not columns:
        return []
    names = ", ".join(map(_plain, columns))
    return ["", f"Each trainer's count, sum and sum of squares of these columns stand on the ledger: {names}."]


def _ppm(value: int | None) -> str:
    """Show millionths as a decimal with three places, rounded half away from zero."""
    if value is None:
        return "-"
    thousandths = (abs(value) + 500) // 1_000
    sign = "-" if value < 0 and thousandths else ""
    return f"{sign}{thousandths // 1_000}.{thousandths % 1_000:03d}"


def _plain(text: str) -> str:
    """Take Markdown's meaning from a name."""
    return "".join(f"\\{character}" if character in "\\`*_{}[]<>#|&~" else character for character in text)
