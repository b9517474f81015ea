from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from befl.rules import canonical
from befl.rules import view as views

some = st.lists(st.sampled_from("ABCD"), unique=True).map(tuple)


@given(
    st.sampled_from(["published", "running", "finished", "cancelled"]),
    st.sampled_from([None, "open", "closed", "void", "evaluated"]),
    some,
    some,
    some,
    st.integers(1, 99),
)
def test_a_view_survives_the_ledger(make_view, state, current, applicants, updates, reports, number):
    view = make_view(state, applicants, current=current, number=number, updates=updates, reports=reports)
    record = views.to_record(view)
    read = views.from_record(canonical.loads(canonical.dumps(record)))
    assert read == view
    assert views.to_record(read) == canonical.loads(canonical.dumps(record))


def test_what_a_view_shows(make_view):
    view = make_view(current="open", updates=("A",), number=3, done=2)
    assert (view.id, view.state, view.published_ms, view.done) == ("00112233445566aa", "running", 1_000_000, 2)
    assert view.applicants == view.roster == ("A", "B", "C")
    assert view.round is not None
    assert (view.round.number, view.round.state, view.round.updates, view.round.reports) == (3, "open", ("A",), ())
    assert make_view("published").roster == ()
    assert make_view("published").round is None


@pytest.mark.parametrize("key", ["updates", "reports"])
def test_without_a_round_nobody_has_delivered(make_view, key):
    assert views.to_record(make_view("published"))[key] == []
