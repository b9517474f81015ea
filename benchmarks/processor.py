"""Where the processor time of whole rounds goes: by process, and inside peers, chaincode servers and agents.

Fabric's peers say it themselves (``peer.profile.enabled``; pprof, a hundred samples a second), Python processes by
:mod:`sampler`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import rounds as whole_rounds
import sampler
from consortium import names

import befl.network
from befl.gateway import wait
from befl.network import fabric
from befl.network.layout import Layout
from befl.rules.errors import BeflError

INSTITUTIONS = 3
#: What is less of a kind's processor time goes under "else".
SMALLEST = 0.02
#: What a peer does, by the first of these functions that stands in a sample's stack.
PEER: dict[str, str] = {
    "formatting log messages": "FabricLogger",
    "allocating and collecting memory": r"runtime\.(gcBgMarkWorker|bgsweep|bgscavenge|gcAssistAlloc|mallocgc)",
    "checking and making signatures": r"crypto/(internal/fips140/)?ecdsa|bccsp/sw.*(Verify|Sign)",
    "TLS": r"crypto/tls\.",
    "hashing": r"crypto/(internal/fips140/)?sha(256|512)|crypto/sha3",
    "private values: reading and storing them": r"pvtdatastorage|transientstore|pvtdatapolicy|ledger/pvtdata|privdata",
    "committing blocks": r"kvledger|blkstorage|txmgr|committer/txvalidator|gossip/state",
    "talking to the chaincode": "core/chaincode",
    "endorsing": "core/endorser",
    "the gateway": "internal/pkg/gateway",
    "gossip": "/gossip/",
    "gRPC": r"google\.golang\.org/grpc",
    "the scheduler of Go": r"runtime\.(mcall|schedule|findRunnable|sysmon|mstart|systemstack|park_m|goexit0)",
}


def measure(folder: Path, parameters: int, rounds: int, seconds: int) -> dict[str, tuple[float, dict[str, float]]]:
    """Return the processor seconds a round of all institutions' processes of a kind, and its parts.

    ``seconds`` is how long the peers are looked at, from the beginning of the first round's task.
    """
    orgs = names(INSTITUTIONS)
    outputs = {org: folder / org / "chaincode-profile.json" for org in orgs}
    ports = _profiled(folder, outputs)
    began = _served(outputs)  # what starting took
    agents = sampler.Sampler()
    before = _used(folder)
    agents.start()
    with ThreadPoolExecutor(INSTITUTIONS) as pool:
        profiles = [pool.submit(_fetch, port, folder / f"{org}.pprof", seconds) for org, port in ports.items()]
        whole_rounds.measure(folder, parameters, INSTITUTIONS, rounds)
        agents.stop()
        used = {kind: (after - before[kind]) / (rounds + 1) for kind, after in _used(folder).items()}
        stacks = _stacks([each.result() for each in profiles])
    parts = {"peer": stacks, "chaincode": _served(outputs) - began, "agent": agents.found}
    return {kind: (total, _parts(total, parts.get(kind, {}), rounds + 1, kind)) for kind, total in used.items()}


def table(found: Mapping[str, tuple[float, dict[str, float]]]) -> str:
    """Show the parts of each kind of process."""
    whole = sum(total for total, _ in found.values())
    lines = [f"processor seconds of a round, all {INSTITUTIONS} institutions together: {whole:.2f}"]
    for kind, (total, parts) in sorted(found.items(), key=lambda each: -each[1][0]):
        lines.append(f"{kind:<10} {total:6.3f} s {100 * total / whole:5.1f} %")
        lines += [f"           {part:6.3f} s {100 * part / whole:5.1f} %  {name}" for name, part in parts.items()]
    return "\n".join(lines)


def _parts(total: float, found: Mapping[str, float], rounds: int, kind: str) -> dict[str, float]:
    """Scale the parts, the largest first: a peer's are counted in samples, a Python process's in seconds."""
    if kind == "peer":
        parts = {name: total * part / sum(found.values()) for name, part in found.items()}
    else:
        parts = {name: part / rounds for name, part in found.items()}
        if parts:
            parts["outside Python's threads (gRPC's own, and the sampler)"] = max(0.0, total - sum(parts.values()))
    large = {name: part for name, part in parts.items() if part >= SMALLEST * total and name != "else"}
    ordered = dict(sorted(large.items(), key=lambda each: -each[1]))
    return ordered | ({"else": sum(parts.values()) - sum(large.values())} if parts else {})


def _served(outputs: Mapping[str, Path]) -> Counter[str]:
    """Add up what the chaincode servers have used until now; they say so every second."""
    now, found = time.time(), Counter[str]()
    for output in outputs.values():
        wait.until(lambda each=output: each.stat().st_mtime > now, timeout=20, what=f"{output} up to date")
        found.update(json.loads(output.read_text()))
    return found


def _profiled(folder: Path, outputs: Mapping[str, Path]) -> dict[str, int]:
    """Start each institution's peer and chaincode server again, so that they say what they do; return pprof's ports."""
    layout, ports = Layout(folder), {}
    for org, output in outputs.items():
        services = layout.home(org).services
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports[org] = probe.getsockname()[1]
        peer = json.loads((services / "peer.json").read_text())
        peer["env"] |= {
            "CORE_PEER_PROFILE_ENABLED": "true",
            "CORE_PEER_PROFILE_LISTENADDRESS": f"127.0.0.1:{ports[org]}",
        }
        chaincode = json.loads((services / "chaincode.json").read_text())
        chaincode["argv"][1:1] = [sampler.__file__, str(output)]
        for name, service in (("peer", peer), ("chaincode", chaincode)):
            (services / f"{name}.json").write_text(json.dumps(service))
    os.kill(befl.network.status(folder).supervisor_pid, signal.SIGHUP)

    def ready() -> bool:
        return all(map(_answers, ports.values())) and all(each.exists() for each in outputs.values())

    wait.until(ready, timeout=60, interval=0.5, what="peers and chaincode servers that are profiled")
    wait.until(lambda: befl.network.status(folder).ready, timeout=60, interval=0.5, what="the network")
    return ports


def _answers(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/debug/pprof/cmdline", timeout=5):
        return True
    return False


def _fetch(port: int, output: Path, seconds: int) -> Path:
    address = f"http://127.0.0.1:{port}/debug/pprof/profile?seconds={seconds}"
    with urllib.request.urlopen(address, timeout=seconds + 30) as answer:
        output.write_bytes(answer.read())
    return output


def _stacks(profiles: list[Path]) -> Counter[str]:
    """Count what the samples of peers were about, in milliseconds."""
    go = fabric.find_go()
    if go is None:
        raise BeflError("BEFL-N-001", "the peers' profiles have to be read and there is no `go` command")
    found: Counter[str] = Counter()
    for profile in profiles:
        command = [go, "tool", "pprof", "-traces", "-unit=ms", str(profile)]
        found.update(_count(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout))
    return found


def _count(traces: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for block in re.split(r"^-+\+-+$", traces, flags=re.MULTILINE)[1:]:
        value = re.match(r"\s*(\d+)ms", block)
        if value is not None:
            about = next((name for name, stack in PEER.items() if re.search(stack, block)), "else")
            found[about] += int(value[1])
    return found


def _used(folder: Path) -> Counter[str]:
    """Return the processor seconds of all institutions' processes by kind; all agents are in this process."""
    ticks, found = os.sysconf("SC_CLK_TCK"), Counter({"agent": time.process_time()})
    for institution in befl.network.status(folder).institutions:
        for process in institution.processes:
            stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            found[process.name] += (int(stat[11]) + int(stat[12])) / ticks
    return found
