"""A report can be corrected once, after the deadline: one faulty machine does not end a task that needs all."""

from __future__ import annotations

import pytest

from befl.ledger import ValidationCode
from befl.rules.errors import BeflError

FALSE, OTHER = "ee" * 32, "dd" * 32


@pytest.fixture
def split(make_consortium):
    """Gamma's machine made another model than the other two's."""

    def make(**changes):
        c = make_consortium()
        c.publish(participants__most=3, **changes)
        c.apply(*c.orgs)
        c.commit(c.opening())
        c.submit(*c.orgs)
        c.close()
        c.report("AlphaMSP", "BetaMSP")
        c.commit(c.reporting("GammaMSP", model=FALSE))
        return c

    return make


@pytest.fixture
def stalled(split):
    """Three of three are needed."""
    return split(participants__least=3, rounds__quorum=3)


def refused(made) -> str:
    with pytest.raises(BeflError) as caught:
        made()
    return caught.value.code


def test_the_task_goes_on_once_the_report_is_corrected(stalled):
    c = stalled
    assert refused(c.opening) == "BEFL-M-008"
    assert refused(lambda: c.reporting("GammaMSP")) == "BEFL-T-003", "before the deadline the others' reports may come"
    c.now += 30_001
    assert refused(c.opening) == "BEFL-M-008"
    c.commit(c.reporting("GammaMSP"))
    corrected = c.record("report", c.task, "000001", "GammaMSP")
    assert (corrected["corrects"], corrected["model"]) == (
        FALSE,
        c.record("report", c.task, "000001", "BetaMSP")["model"],
    )
    assert "corrects" not in c.record("report", c.task, "000001", "BetaMSP")
    c.commit(c.opening())
    assert c.round_record(1)["dissent"] == {}
    assert c.round_record(2)["start"] == corrected["model"]


def test_a_correction_names_another_model_and_is_the_only_one(stalled):
    c = stalled
    c.now += 30_001
    assert refused(lambda: c.reporting("GammaMSP", model=FALSE)) == "BEFL-T-003"
    c.commit(c.reporting("GammaMSP", model=OTHER))
    assert refused(lambda: c.reporting("GammaMSP")) == "BEFL-T-003"
    assert refused(lambda: c.reporting("GammaMSP", model=FALSE)) == "BEFL-T-003"
    assert refused(c.opening) == "BEFL-M-008"


def test_what_is_evaluated_is_corrected_no_more(split):
    c = split(participants__least=2)
    c.now += 30_001
    held_back = c.reporting("GammaMSP")
    c.commit(c.opening())
    before = c.everything()[:3]
    assert c.ledger.commit(held_back) == [ValidationCode.MVCC_READ_CONFLICT]
    assert c.everything()[:3] == before
    assert c.round_record(1)["dissent"] == {"GammaMSP": FALSE}
    assert refused(lambda: c.reporting("GammaMSP")) == "BEFL-T-004"
