"""A short run of every fuzz target, with hypothesis: seeds, cut, spliced and altered. `make fuzz` runs them longer."""

from __future__ import annotations

import re
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .targets import LONGEST, TARGETS, array_bomb, hostile_archives, ledger_bombs

TOKENS = [
    b"",
    b"\0",
    b"\xff" * 8,
    b"{",
    b"[" * 1_200,
    b'"',
    b"-1",
    b"1e999",
    b"9" * 5_000,
    b"null",
    b"\xed\xa0\x80",
    b"../x",
]
SLOW_S = 5
"""Longer than this no decoder takes for an input of the length that is tried, on the slowest machine."""


@st.composite
def altered(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, 2**16)) % (len(data) + 1)
        end = min(len(data), start + draw(st.sampled_from([0, 1, 1, 1, 2, 4, 30, 2**16])))
        kind = draw(st.sampled_from(["byte", "bytes", "token", "copy", "seed"]))
        if kind == "byte" and end > start:
            data[start:end] = bytes([draw(st.integers(0, 255))]) * (end - start)
        elif kind == "bytes":
            data[start:end] = draw(st.binary(max_size=12))
        elif kind == "token":
            data[start:end] = draw(st.sampled_from(TOKENS))
        elif kind == "copy":
            data[start:start] = data[start:end]
        else:
            data[start:end] = draw(st.sampled_from(seeds))
    return bytes(data[:LONGEST])


@pytest.mark.parametrize("name", TARGETS)
def test_only_a_refusal_leaves_it(name):
    target = TARGETS[name]

    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(altered(list(target.seeds)))
    @example(b"")
    def attempt(content: bytes) -> None:
        tracemalloc.reset_peak()
        held, _ = tracemalloc.get_traced_memory()
        began = time.perf_counter()
        target.accepts(content)
        assert time.perf_counter() - began < SLOW_S
        assert tracemalloc.get_traced_memory()[1] - held < target.memory

    tracemalloc.start()
    try:
        attempt()
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", TARGETS)
def test_it_takes_a_seed(name):
    """Or the fuzzing would never get behind the first check."""
    assert any(TARGETS[name].accepts(seed) for seed in TARGETS[name].seeds)


@pytest.mark.parametrize("number", range(9))
def test_a_hostile_archive_is_none(number):
    archive = hostile_archives()[number]
    assert not TARGETS["app_archive"].accepts(archive)
    assert not TARGETS["app_file"].accepts(archive)


@pytest.mark.parametrize("number", range(4))
def test_a_bomb_is_no_ledger(number):
    bomb = ledger_bombs()[number]
    assert len(bomb) <= LONGEST, "the fuzzer begins with it"
    assert TARGETS["ledger_file"].accepts(bomb) == (number == 2)  # one transaction as large as may be


def test_a_bomb_is_no_file_of_arrays():
    assert len(array_bomb()) > 2**14
    assert not TARGETS["arrays_npz"].accepts(array_bomb())


#: Every module that decodes binary forms: by which targets its decoders are fuzzed, or why they need none.
DECODERS = {
    "chaincode/befl/shim/stub.py": "its own peer's answers and proposals, which that peer has decoded and checked",
    "clients/befl/audit/block.py": ("block", "audit_parts"),
    "clients/befl/audit/chain.py": ("audit", "audit_parts"),
    "clients/befl/audit/configuration.py": ("configuration", "audit"),
    "clients/befl/audit/definition.py": ("audit_parts",),
    "clients/befl/audit/execution.py": ("audit_parts", "replayed_parts"),
    "clients/befl/audit/msp.py": ("msp", "identity"),
    "clients/befl/audit/private.py": ("audit_parts",),
    "clients/befl/audit/query.py": ("block", "audit_parts"),
    "clients/befl/audit/source.py": ("ledger_file",),
    "clients/befl/audit/state.py": ("audit_parts",),
    "clients/befl/audit/validation.py": ("audit_parts",),
    "clients/befl/gateway/ask.py": ("peer_answers",),
    "clients/befl/gateway/client.py": "its own peer's answer, over TLS: the institution trusts that one",
    "clients/befl/gateway/errors.py": ("error_details",),
    "clients/befl/gateway/proposal.py": ("proposal", "prepared"),
    "clients/befl/gateway/steps.py": ("proposal", "prepared", "pending"),
    "clients/befl/simulate/parts.py": "the rows of whoever simulates",
    "clients/befl/training/app.py": ("app_archive", "app_file"),
    "clients/befl/training/arrays.py": ("arrays_npz", "arrays_safetensors"),
    "clients/befl/training/predict.py": ("model_folder",),
    "network/befl/network/channel.py": ("configuration_update",),
    "network/befl/network/files.py": "it writes packages and reads none",
    "network/befl/network/institution.py": "what a majority committed, as its own peer tells it over TLS",
}
_DECODES = re.compile(
    r"\.(Parse)?FromString\b|\.Unpack\(|\btarfile\.|\bzipfile\.|\bgzip\.|\bnp\.load\(|\b(from|import) safetensors"
)


def test_every_module_that_decodes_has_a_target_or_a_reason():
    root = Path(__file__).parents[2]
    found = {
        str(path.relative_to(root))
        for folder in ("chaincode", "clients", "network")
        for path in (root / folder).rglob("*.py")
        if _DECODES.search(path.read_text(encoding="utf-8"))
    }
    assert found == set(DECODERS)
    named = {name for why in DECODERS.values() if isinstance(why, tuple) for name in why}
    assert named <= set(TARGETS)


def test_there_is_a_target_for_every_kind_of_foreign_bytes():
    assert {
        *("task_toml", "task_json", "canonical", "update", "model", "app_archive", "model_folder", "block"),
        *("ledger_file", "certificate", "arrays_safetensors", "trainer_frame", "definition", "configuration_update"),
    } <= set(TARGETS)
