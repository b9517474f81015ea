"""Text and JSON say the same; keys and rows of data are in neither."""

from __future__ import annotations

import io
import json
import logging
import unicodedata

import pytest

from befl.operations import logs
from befl.rules.errors import BeflError
from befl.rules.spec import from_toml
from befl.training.data import load

KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIPLANTED\n-----END EC PRIVATE KEY-----"


@pytest.fixture
def written():
    """Configure, log, give back the lines; the process's logging is put back afterwards."""
    root = logging.getLogger()
    kept = root.handlers[:], root.level
    stream = io.StringIO()

    def write(form, *calls):
        logs.configure(form, logging.INFO, stream)
        for call in calls:
            call(logging.getLogger("befl.test"))
        return stream.getvalue().splitlines()

    yield write
    root.handlers[:], root.level = kept[0], kept[1]


def about(log):
    log.info("submit, %d s", 3, extra={"task": "t1", "round": 2, "txid": "ab12"})


def test_text(written):
    [line] = written("text", about)
    assert line[10] == "T"
    assert line.split(" ", 1)[1] == "INFO befl.test task=t1 round=2 txid=ab12 submit, 3 s"


def test_json(written):
    [line] = written("json", about, lambda log: log.debug("not at this level"))
    content = json.loads(line)
    assert content.pop("time").endswith("Z")
    assert content == {
        "level": "INFO",
        "logger": "befl.test",
        "message": "submit, 3 s",
        "task": "t1",
        "round": 2,
        "txid": "ab12",
    }


def failing(log):
    try:
        raise ValueError(f"cannot use {KEY}")
    except ValueError:
        log.exception("a mistake\nover two lines")


@pytest.mark.parametrize("form", logs.FORMS)
def test_keys_and_passwords_are_taken_out(written, form):
    lines = written(
        form,
        failing,
        lambda log: log.warning("%s", KEY),
        lambda log: log.warning("half of one: %s", KEY[:50]),
        lambda log: log.warning("enrol at https://agent:planted-secret@ca.org:7054"),
    )
    text = "\n".join(lines)
    assert "PLANTED" not in text
    assert "planted-secret" not in text
    assert "(private key)" in text
    assert "https://agent:...@ca.org:7054" in text
    assert "Traceback" in text
    if form == "json":
        assert [json.loads(line)["level"] for line in lines] == ["ERROR", "WARNING", "WARNING", "WARNING"]


@pytest.mark.parametrize("form", logs.FORMS)
def test_nothing_that_steers_a_terminal_is_written(written, form):
    """A reason, a peer's refusal: words of other institutions. Nothing moves the cursor or sets the clipboard."""
    evil = "no staff\x1b[1A\x1b[2K\x9b2J\x1b]52;c;cm0=\x07\r\x08\x7f\x00, Zürich\tward"

    def fail(log):
        try:
            raise ValueError(evil)
        except ValueError:
            log.exception("%s", evil)

    text = "\n".join(written(form, fail, lambda log: log.info("%s", evil)))
    assert not [character for character in text if unicodedata.category(character) == "Cc" and character not in "\n\t"]
    assert "Zürich" in text
    assert "x9b2J" in text


def test_a_line_has_an_end(written):
    [line] = written("json", lambda log: log.info("x" * 10_000))
    assert json.loads(line)["message"].endswith("x... (10000 characters)")


SPEC = """\
befl = 1
name = "hearts"
mode = "horizontal"
[app]
name = "tabular"
[data]
alias = "heart"
label = "disease"
columns = { age = "number", sex = { type = "category", values = ["f", "m"] } }
[participants]
[rounds]
[aggregation]
rule = "fedavg"
[privacy]
scheme = "none"
"""


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ("planted-secret,f,0", "row 2, column age"),
        ("61,planted-secret,0", "row 2, column sex"),
        ("61,f,planted-secret", "row 2"),
        ("61,f,0,planted-secret", "row 2"),
    ],
)
def test_a_refusal_about_a_row_is_logged_without_what_stands_there(tmp_path, row, place):
    path = tmp_path / "hearts.csv"
    path.write_text(f"age,sex,disease\n50,f,1\n{row}\n")
    spec = from_toml(SPEC.encode())
    with pytest.raises(BeflError) as caught:
        load(path, spec.data)
    line = logs.for_log(caught.value)
    assert "planted-secret" not in line
    assert line.startswith(caught.value.code)
    assert place in line


def test_a_file_whose_header_is_a_row(tmp_path):
    path = tmp_path / "hearts.csv"
    path.write_text("50,f,planted-secret\n61,m,0\n")
    spec = from_toml(SPEC.encode())
    with pytest.raises(BeflError) as caught:
        load(path, spec.data)
    line = logs.for_log(caught.value)
    assert "planted-secret" in str(caught.value)
    assert "planted-secret" not in line
    assert "columns missing: " in line


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BeflError) as caught:
        load(tmp_path / "hearts.csv", from_toml(SPEC.encode()).data)
    assert str(tmp_path / "hearts.csv") in logs.for_log(caught.value)


def test_an_app_s_words_are_not_logged_and_other_refusals_are():
    assert "planted" not in logs.for_log(BeflError("BEFL-M-102", 'app "x": ValueError: planted'))
    assert logs.for_log(BeflError("BEFL-G-002", "no peer", "Look.")) == "BEFL-G-002: no peer Look."
