"""Fuzz the targets with atheris, each in a process of its own: ``python tests/fuzz/run.py [TARGET ...]``.

``FUZZ_SECONDS`` is the time a target gets (30). What a target finds interesting is kept in ``build/fuzz/TARGET`` (in
another folder than ``build/fuzz`` when ``FUZZ_FOLDER`` names one) and is where the next run begins; an input that
crashes it, hangs it or needs more memory than the target declares, beside what it begins with, is written there too,
its name says which. Then the exit status is 1.
"""

from __future__ import annotations

import importlib
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = Path(os.environ.get("FUZZ_FOLDER") or ROOT / "build" / "fuzz")
SECONDS = int(os.environ.get("FUZZ_SECONDS", "30"))
HANG_S = 10
SPARE_MB = 96
"""What libFuzzer and the interpreter take beside a target: inputs, coverage, memory that was given back late."""
INSTRUMENTED = ["befl", "json", "tomllib", "csv", "zipfile", "gzip", "safetensors"]


def fuzz(name: str) -> None:
    """Fuzz one target until its time is over; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        targets = importlib.import_module("tests.fuzz.targets")
    target = targets.TARGETS[name]
    begun_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # libFuzzer looks at the peak too
    folder = BUILD / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (folder / f"seed-{number}").write_bytes(seed[: targets.LONGEST])
    options = [
        f"-max_total_time={SECONDS}",
        f"-max_len={targets.LONGEST}",
        f"-timeout={HANG_S}",
        f"-rss_limit_mb={begun_mb + target.memory // 2**20 + SPARE_MB}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([name, *options, str(folder)], target.accepts)
    atheris.Fuzz()


def main(names: list[str]) -> int:
    """Run the targets one after another and print what each did; return the exit status."""
    names = names or list(importlib.import_module("tests.fuzz.targets").TARGETS)
    print(f"{'target':22} {'inputs':>9} {'a second':>9} {'MB':>6}  ({SECONDS} s each; at most {HANG_S} s an input)")
    failed = []
    for name in names:
        # libFuzzer ends its process without a clean-up: what that wrote into its temporary folder goes from here
        with tempfile.TemporaryDirectory(prefix="befl-fuzz-run-") as folder:
            done = subprocess.run(
                [sys.executable, __file__, "--one", name],
                env={**os.environ, "TMPDIR": folder},
                capture_output=True,
                text=True,
                check=False,
            )
        figures = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
        ran, rate, peak = (
            figures.get(key, "-") for key in ("number_of_executed_units", "average_exec_per_sec", "peak_rss_mb")
        )
        print(f"{name:22} {ran:>9} {rate:>9} {peak:>6}  {'ok' if done.returncode == 0 else 'FAILED'}", flush=True)
        if done.returncode:
            failed.append(name)
            said = (done.stdout + done.stderr).splitlines()
            print(*(line for line in said if not line.startswith(("INFO:", "WARNING:"))), sep="\n", flush=True)
    print(f"{len(names)} targets, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2])
    else:
        sys.exit(main(sys.argv[1:]))
