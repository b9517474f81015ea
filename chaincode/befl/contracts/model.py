"""``ModelContract``: final models, and the bytes of models in the private collection."""

from __future__ import annotations

from typing import Any, Final

from befl.contracts.context import Context, Transaction, number_key, task_id, whole_number
from befl.contracts.reading import check_reader
from befl.contracts.stub import create_composite_key
from befl.rules import artefact, canonical, codec
from befl.rules.errors import BeflError

COLLECTION: Final = "models"


def register(context: Context, task: dict[str, Any], last: dict[str, Any], data: bytes) -> str:
    """Write the record of a task's final model and keep its bytes; return the digest of the model folder's manifest.

    Raises
    ------
    BeflError
        ``BEFL-M-007`` when the bytes are not those of the model that the reports named, ``BEFL-M-001`` wrong length.
    """
    if codec.digest(data) != last["model"]:
        raise BeflError(
            "BEFL-M-007", f"the model has SHA-256 {codec.digest(data)[:16]}, the reports say {last['model'][:16]}"
        )
    made = artefact.files(task, last, codec.read_model(data, task["length"]))
    record = {
        "contributors": task["contributors"],
        "digest": codec.digest(made[artefact.MANIFEST]),
        "files": {name: codec.digest(content) for name, content in made.items()},
        "finished_ms": task["finished_ms"],
        "initial_model": task["model"],
        "issuer": task["issuer"],
        "kind": "model",
        "metrics": last["metrics"]["pooled"],
        "model": last["model"],
        "name": task["spec"]["name"],
        "round": last["round"],
        "rules": task["rules"],
        "scheme": task["rules"]["scheme"],
        "task": task["id"],
        "txid": context.stub.get_tx_id(),
        "v": 1,
    }
    context.write(record, task["id"])
    keep_bytes(context, task["id"], last["round"], data)
    return str(record["digest"])


def keep_bytes(context: Context, task: str, number: int, data: bytes) -> None:
    """Put the bytes of an integer model into the private collection; the caller has checked their digest."""
    context.stub.put_private_data(COLLECTION, _key(task, number), data)


def get_model(context: Context, task: str) -> bytes:
    """Answer the record of a task's final model."""
    return canonical.dumps(context.require("model", task_id(task)))


def list_models(context: Context, page_size: str, bookmark: str) -> bytes:
    """Answer a page of final models."""
    return context.page("model", (), page_size, bookmark)


def get_bytes(context: Context, task: str, number: str) -> bytes:
    """Answer the bytes of the integer model after a round (0: the initial one) from this peer's private data."""
    wanted = whole_number(number, "round")
    if wanted:  # a trainer that has yet to apply makes its first model of the initial one
        check_reader(context, task)
    data = context.stub.get_private_data(COLLECTION, _key(task_id(task), wanted))
    if not data:
        raise BeflError("BEFL-T-007", f"there is no stored model after round {wanted} of task {task}")
    return data


def _key(task: str, number: int) -> str:
    return create_composite_key("model", (task, number_key(number)))


TRANSACTIONS: Final = {
    "Get": Transaction(get_model, ("task",)),
    "List": Transaction(list_models, ("page_size", "bookmark")),
    "Bytes": Transaction(get_bytes, ("task", "round")),
}
