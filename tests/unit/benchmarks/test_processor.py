"""What ``make bench NAMES=profile_1m`` makes of samples; the measuring itself is tests/network/test_bench.py."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
TRACES = """\
File: peer
Type: cpu
-----------+-------------------------------------------------------
      30ms   fmt.(*pp).doPrintf
             fmt.Sprintf
             github.com/hyperledger/fabric-lib-go/common/flogging.(*FabricLogger).Debugf
             github.com/hyperledger/fabric/gossip/comm.(*commImpl).Send
-----------+-------------------------------------------------------
      10ms   crypto/internal/fips140/nistec.p256Mul
             crypto/ecdsa.VerifyASN1
             github.com/hyperledger/fabric/core/endorser.(*Endorser).ProcessProposal
-----------+-------------------------------------------------------
      10ms   somebody.else
-----------+-------------------------------------------------------
"""
BUSY = """\
import time
from befl.rules import codec
end = time.process_time() + 2
while time.process_time() < end:
    codec.digest(bytes(10_000_000))
"""


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_a_sample_belongs_to_the_first_thing_that_its_stack_is_about(bench):
    found = bench("processor")._count(TRACES)
    assert found == {"formatting log messages": 30, "checking and making signatures": 10, "else": 10}


def test_parts_are_scaled_to_the_whole_and_small_ones_put_together(bench):
    parts = bench("processor")._parts
    assert parts(2.0, {"a": 1, "b": 98, "else": 1}, 5, "peer") == {
        "b": pytest.approx(1.96),
        "else": pytest.approx(0.04),
    }
    outside = "outside Python's threads (gRPC's own, and the sampler)"
    assert parts(2.0, {"a": 2.5, "b": 5}, 5, "agent") == {"b": 1.0, "a": 0.5, outside: 0.5, "else": 0.0}
    assert parts(2.0, {}, 5, "ca") == {}


def test_a_program_is_sampled_by_befls_functions(tmp_path):
    (tmp_path / "busy_program.py").write_text(BUSY)
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    output = tmp_path / "out.json"
    subprocess.run(
        [sys.executable, str(BENCHMARKS / "sampler.py"), str(output), "-m", "busy_program"],
        env={**os.environ, "PYTHONPATH": paths},
        check=True,
        timeout=120,
    )
    found = json.loads(output.read_text())
    assert max(found, key=found.__getitem__) == "rules.codec.digest"
    assert 0.3 < found["rules.codec.digest"] < 2.5
