from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from safetensors.numpy import load

from befl.rules import artefact, canonical, codec
from befl.rules import spec as specs
from befl.rules.layout import Tensor
from befl.rules.metrics import METRICS, summary
from befl.rules.metrics.binary import Counts
from befl.rules.reader import to_record

names = st.from_regex(r"[A-Za-z0-9_.\-]{1,12}", fullmatch=True).filter(lambda name: name != "__metadata__")
shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)


def finished(specification, **changes: Any) -> tuple[dict[str, Any], dict[str, Any], np.ndarray]:
    """Return the record of a finished task, of its last round, and the model."""
    spec = specs.from_record(specification(**changes))
    model = np.array([65_536, -32_768, 1, 0, 2**30, -3], dtype=np.int64)
    counts = {
        "A": Counts(4, 3, 2_000_000, (2, *[0] * 63), (*[0] * 63, 2)),
        "B": Counts(0, 0, 0, (0,) * 64, (0,) * 64),
    }
    task = {
        "app": {"digest": "ab" * 32, "name": "tabular"},
        "contributors": {"A": {"rounds": 2, "weight": 200}, "B": {"rounds": 1, "weight": 7}},
        "finished_ms": 1_800_000_000_000,
        "id": "00112233445566aa",
        "issuer": "A",
        "layout": [{"name": "linear.weight", "shape": [1, 5]}, {"name": "linear.bias", "shape": []}],
        "length": 6,
        "model": "cd" * 32,
        "preparation": {},
        "published_ms": 1_700_000_000_000,
        "rules": spec.rules(),
        "spec": to_record(spec),
    }
    last = {
        "metrics": summary(METRICS["binary/1"], spec.data, counts),
        "model": codec.digest(codec.model_bytes(model)),
        "round": 3,
    }
    return task, last, model


@given(st.dictionaries(names, shapes, min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_the_safetensors_library_reads_what_is_written(tensors, seed):
    layout = tuple(Tensor(name, shape) for name, shape in tensors.items())
    size = sum(tensor.size for tensor in layout)
    values = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    data = artefact.safetensors(layout, values)
    assert int.from_bytes(data[:8], "little") % 8 == 0
    read = load(data)
    assert set(read) == set(tensors)
    assert np.concatenate([read[tensor.name].reshape(-1) for tensor in layout]).tobytes() == values.tobytes()
    assert all(read[name].shape == shape and read[name].dtype == np.float32 for name, shape in tensors.items())
    assert artefact.safetensors(layout, values.astype(">f4")) == data


def test_the_folder_says_where_the_model_comes_from(specification):
    task, last, model = finished(specification)
    made = artefact.files(task, last, model)
    assert sorted(made) == ["card.json", "card.md", "manifest.json", "model.safetensors", "preparation.json"]
    manifest = canonical.loads(made[artefact.MANIFEST])
    assert manifest == {
        "befl": 1,
        "files": {name: codec.digest(data) for name, data in made.items() if name != artefact.MANIFEST},
        "model": last["model"],
        "task": task["id"],
    }
    read = load(made["model.safetensors"])
    assert read["linear.weight"].tolist() == [[1.0, -0.5, 2.0**-16, 0.0, 2.0**14]]
    assert read["linear.bias"].tolist() == -3 * 2.0**-16
    preparation = canonical.loads(made["preparation.json"])
    assert preparation["app"]["settings"]["learning_rate"] == "0.1"
    assert list(preparation["data"]["columns"]) == ["age", "sex"]
    card = canonical.loads(made["card.json"])
    assert (card["task"], card["rounds"], card["contributors"]) == (task["id"], 3, task["contributors"])
    assert (card["finished_ms"], card["metrics"]) == (1_800_000_000_000, last["metrics"])
    assert card["privacy"].startswith("No privacy scheme: every institution")


def test_the_card_for_people(specification):
    task, last, model = finished(specification)
    text = artefact.files(task, last, model)["card.md"].decode()
    assert text.startswith(
        "# heart disease\n\nTrained by 2 institutions in 3 rounds (horizontal), task `00112233445566aa`"
    )
    assert "| A | 4 | 0.750 | 1.000 | 0.500 |" in text
    assert "| B | 0 | - | - | - |" in text
    assert "| all together | 4 | 0.750 | 1.000 | 0.500 |" in text
    assert "exact within 0.000." in text
    assert "| B | 1 | 7 |" in text
    assert "No privacy scheme" in text


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**7))
def test_the_card_rounds_values_and_never_narrows_the_bound(specification, area, bound, loss):
    task, last, model = finished(specification)
    last["metrics"]["pooled"] |= {"auc_ppm": area, "auc_bound_ppm": bound, "loss_micro": loss}
    text = artefact.files(task, last, model)["card.md"].decode()
    (row,) = [line for line in text.splitlines() if line.startswith("| all together")]
    _, _, _, _, shown_area, shown_loss, _ = (cell.strip() for cell in row.split("|"))
    assert abs(Decimal(shown_area) * 10**6 - area) <= 500
    assert abs(Decimal(shown_loss) * 10**6 - loss) <= 500
    shown = Decimal(text.split("exact within ")[1].split(".\n")[0]) * 10**6
    assert bound <= shown < bound + 1_000


def test_pooled_columns_are_in_the_preparation_and_the_card_says_so(specification):
    task, last, model = finished(specification, data__columns__age__statistics="pooled")
    task["preparation"] = {"age": {"centre": "51.25", "spread": "9"}}
    made = artefact.files(task, last, model)
    column = canonical.loads(made["preparation.json"])["data"]["columns"]["age"]
    assert (column["centre"], column["spread"], column["statistics"]) == ("51.25", "9", "declared")
    assert canonical.loads(made["card.json"])["statistics"] == ["age"]
    assert "sum of squares of these columns stand on the ledger: age." in made["card.md"].decode()


def test_a_card_without_an_area(specification):
    task, last, model = finished(specification)
    last["metrics"] = summary(METRICS["binary/1"], None, {"A": Counts(0, 0, 0, (0,) * 64, (0,) * 64)})
    text = artefact.files(task, last, model)["card.md"].decode()
    assert "| all together | 0 | - | - | - |" in text
    assert "exact within" not in text


def test_golden_digest(specification):
    # every endorser makes these bytes: whatever changes them is a new version of a rule
    made = artefact.files(*finished(specification))
    assert codec.digest(made[artefact.MANIFEST]) == "019599c0ab83cd3d0d153c199caf5a4b8413d295bac8ebe95e49880d1aea20ae"
    assert made == artefact.files(*finished(specification))


@given(st.permutations(["app", "contributors", "finished_ms", "issuer", "spec", "rules"]))
def test_the_order_of_a_record_does_not_show(specification, order):
    task, last, model = finished(specification)
    other = {**{key: task[key] for key in order}, **json.loads(canonical.dumps(task))}
    assert artefact.files(other, json.loads(canonical.dumps(last)), model) == artefact.files(task, last, model)


hostile = st.text(alphabet="\\`*_{}[]<>#|&~!()$\"':/.;-+=^ abw1é", min_size=1, max_size=30).map(str.strip).filter(bool)


@given(hostile)
def test_a_hostile_name_is_only_a_name(specification, name):
    task, last, model = finished(specification, name=name)
    text = artefact.files(task, last, model)["card.md"].decode()
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = parser.parse(text)
    assert [token.type for token in tokens[:3]] == ["heading_open", "inline", "heading_close"]
    assert [token.type for token in tokens].count("table_open") == 2
    children = tokens[1].children or []
    assert {child.type for child in children} <= {"text", "text_special"}
    assert "".join(child.content for child in children) == name


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "[x](http://example.org)", "R&amp;D", "# a #", "a\\", "__a__", "1. a"]
)
def test_some_hostile_names(specification, name):
    test_a_hostile_name_is_only_a_name.hypothesis.inner_test(specification, name)
