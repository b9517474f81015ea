"""The reference page of records says what the contracts write: every key, every field, every writer."""

from __future__ import annotations

import importlib.util
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from befl.contracts.stub import split_composite_key
from befl.rules import canonical

from .conftest import STAGES
from .test_happy_road import HAPPY

PAGE = Path(__file__).parents[2] / "docs/_ext/records.py"
FORMS = {"number": int, "text": str, "list": list, "object": dict}


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location("befl_docs_records", PAGE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def written(request, consortium):
    """All public writes of every transaction where it is possible, and all records of every stage of a task."""
    found = []
    name = request.param
    if name in HAPPY:
        stage, arguments, options, _, _ = HAPPY[name]
        consortium.at(stage)
        endorsed = consortium.endorse(name, *arguments(consortium), **options(consortium))
        found += [(key, value) for key, value in endorsed.writes.public.items()]
    else:
        consortium.at(name)
        found += list(consortium.ledger.state().items())
    return name, found


EVERYTHING = [*(name for name, row in HAPPY.items() if row[3]), *STAGES]


@pytest.mark.parametrize("written", EVERYTHING, indirect=True)
def test_each_record_is_as_the_page_says(page, written):
    for key, value in written[1]:
        kind, parts = split_composite_key(key)
        described = page.RECORDS[kind]
        assert len(parts) == len(described.key), kind
        if value is None:
            assert written[0] in described.deleted
            continue
        if written[0] in HAPPY:
            assert written[0] in described.written
        record = canonical.loads(value)
        assert (record.pop("kind"), record.pop("v")) == (kind, 1)
        always = {name for name in described.fields if not name.startswith("+")}
        assert always <= set(record) <= {name.lstrip("+") for name in described.fields}, kind
        forms = {name.lstrip("+"): form for name, (form, _) in described.fields.items()}
        for name, content in record.items():
            assert content is None or type(content) is FORMS[forms[name]], f"{kind}.{name}"


def test_the_page_says_no_more_than_that(page, consortium):
    """Each kind, each field and each writer that it names is seen."""
    assert {kind for row in HAPPY.values() for kind in row[3]} == set(page.RECORDS)
    writers = defaultdict(set)
    for name, row in HAPPY.items():
        for kind in row[3]:
            writers[kind].add(name)
    for kind, described in page.RECORDS.items():
        # Apply deletes a departure, Leave an application, where there is one
        assert set(described.written) | set(described.deleted) >= writers[kind], kind
        assert set(described.written) <= writers[kind], kind
    consortium.at("finished")
    last = {name for key, value in consortium.ledger.state().items() for name in named(key, value)}
    later = {f"{kind}.{name.lstrip('+')}" for kind, it in page.RECORDS.items() for name in it.fields if "+" in name}
    assert later - last == {"report.corrects", "task.cancelled_ms", "task.reason"}


def named(key, value):
    kind, _ = split_composite_key(key)
    return [f"{kind}.{name}" for name in canonical.loads(value)]


def test_private_values(page, consortium):
    consortium.at("finished")
    consortium.add_app()
    for collection, kinds in page.PRIVATE.items():
        keys = [split_composite_key(key) for key in consortium.ledger.private_state(collection)]
        assert {kind: len(parts) for kind, parts in keys} == {kind: len(parts) for kind, parts in kinds.items()}
