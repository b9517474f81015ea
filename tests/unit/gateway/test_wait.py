"""The one wait helper."""

from __future__ import annotations

import time

import pytest

from befl.gateway.wait import until
from befl.rules.errors import BeflError


def test_the_first_true_answer_is_returned():
    answers = iter([None, 0, "there"])
    assert until(lambda: next(answers), timeout=5, interval=0.001, what="it") == "there"


def test_what_is_waited_for_is_named():
    with pytest.raises(BeflError, match=r"BEFL-G-001: waited 0.05 s in vain for: the moon") as caught:
        until(lambda: None, timeout=0.05, interval=0.01, what="the moon")
    assert caught.value.retryable


def test_there_is_a_last_question_when_the_time_is_over():
    asked = []

    def check():
        asked.append(time.monotonic())
        return len(asked) > 1

    until(check, timeout=0.05, interval=60, what="it")
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 0.05


def test_no_time_is_one_question():
    assert until(lambda: 1, timeout=0, what="it") == 1


def test_an_error_of_the_question_is_the_callers():
    def check():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        until(check, timeout=1, what="it")
