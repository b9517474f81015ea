from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from befl.rules.errors import CODES, BeflError

line = st.text().map(lambda text: " ".join(text.split()))


@given(st.sampled_from(sorted(CODES)), line, st.text())
def test_an_error_survives_a_process_border(code, message, hint):
    error = BeflError(code, message, hint)
    found = BeflError.parse(f"endorser peer0 said: chaincode response 500, {error}")
    assert found is not None
    assert (found.code, found.message, found.hint) == (code, message, hint)


@given(st.sampled_from(sorted(CODES)), st.text())
def test_a_message_is_one_line(code, message):
    assert not set(BeflError(code, message).message) & set("\n\r\t\v\f\x85\u2028\u2029")


@pytest.mark.parametrize("text", ["", "connection refused", "BEFL-Z-999: of another release", "BEFL-T-1: short"])
def test_other_text_is_no_error_of_befl(text):
    assert BeflError.parse(text) is None


def test_a_code_that_is_not_in_the_table_is_a_mistake():
    with pytest.raises(KeyError):
        BeflError("BEFL-T-999", "what?")


def test_retryable_is_the_codes():
    assert BeflError("BEFL-T-005", "too early").retryable
    assert not BeflError("BEFL-T-006", "too late").retryable


def test_the_table_is_sorted_and_every_page_says_something():
    assert list(CODES) == sorted(CODES)
    for code in CODES.values():
        assert re.fullmatch(r"BEFL-[ACGMNPTX]-\d{3}", code.id)
        assert 5 < len(code.title) <= 90
        assert len(code.page) > len(code.title)
        assert "  " not in code.page
