"""The server's configuration file: each mistake is named, and the process ends with status 2."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from befl.rules.errors import BeflError
from befl.shim.config import load, read_pem

GOOD = {
    "chaincode_id": "befl:1",
    "address": "127.0.0.1:7052",
    "certificate": "tls/server.crt",
    "key": "/abs/server.key",
    "client_ca": "tls/ca.crt",
    "code_digest": "a" * 64,
    "time_tolerance_s": 60,
    "log_level": "WARNING",
}


def write(folder, value):
    path = folder / "server.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_a_good_file(tmp_path):
    config = load(write(tmp_path, GOOD))
    assert config.certificate == str(tmp_path / "tls/server.crt")
    assert config.key == "/abs/server.key"
    assert (config.chaincode_id, config.time_tolerance_s, config.log_level) == ("befl:1", 60, "WARNING")


def test_what_may_be_left_out(tmp_path):
    config = load(write(tmp_path, {key: GOOD[key] for key in list(GOOD)[:5]}))
    assert (config.code_digest, config.time_tolerance_s, config.log_level) == (None, 300, "INFO")


BAD = {
    "json": ("{", "is no JSON"),
    "deep json": ("[" * 5_000, "is no JSON"),
    "object": ([], "is no JSON object"),
    "missing": ({key: value for key, value in GOOD.items() if key != "key"}, "key is missing"),
    "empty": (GOOD | {"chaincode_id": ""}, "chaincode_id is missing"),
    "type": (GOOD | {"address": 7052}, "address is missing or no text"),
    "unknown": (GOOD | {"port": 1}, "unknown field port"),
    "no port": (GOOD | {"address": "127.0.0.1"}, "is not host:port"),
    "big port": (GOOD | {"address": "h:65536"}, "is not host:port"),
    "tolerance": (GOOD | {"time_tolerance_s": 0}, "time_tolerance_s must be"),
    "tolerance type": (GOOD | {"time_tolerance_s": True}, "time_tolerance_s is no whole number"),
    "level": (GOOD | {"log_level": "LOUD"}, "log_level is none of"),
    "level type": (GOOD | {"log_level": 1}, "log_level is no text"),
    "digest": (GOOD | {"code_digest": "abc"}, "code_digest is not 64"),
    "digest type": (GOOD | {"code_digest": 1}, "code_digest is neither"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_named(tmp_path, case):
    value, words = BAD[case]
    with pytest.raises(BeflError, match="BEFL-G-026") as refused:
        load(write(tmp_path, value))
    assert words in refused.value.message


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(BeflError, match="BEFL-G-026"):
        load(tmp_path / "absent.json")
    with pytest.raises(BeflError, match=r"BEFL-G-026: key: .*absent"):
        read_pem(str(tmp_path / "absent"), "key")
    (tmp_path / "noise").write_bytes(b"noise")
    with pytest.raises(BeflError, match="is no PEM"):
        read_pem(str(tmp_path / "noise"), "key")


@pytest.mark.parametrize(("change", "code"), [({"address": "x"}, "BEFL-G-026"), ({}, "BEFL-G-027")])
def test_the_process_does_not_start_and_says_why(tmp_path, change, code):
    path = write(tmp_path, GOOD | change)
    command = [sys.executable, "-m", "befl.shim", "--config", str(path)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert ran.stderr.startswith(code)
    assert "Traceback" not in ran.stderr
