"""How far the seeds get: fuzzing from seeds that all end at the first check looks at the first check only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEAST = 0.8
AUDIT = ("audit", "audit_parts", "replayed_parts", "block", "ledger_file", "configuration", "msp", "identity")
#: Run by themselves, so that no other test has imported the modules: a line is executed only once when imported.
PROGRAM = """
import json, sys
from pathlib import Path
import coverage
watch = coverage.Coverage(data_file=None, include=[str(Path(sys.argv[1], "*"))])
watch.start()
from tests.fuzz.targets import TARGETS
for name in sys.argv[2:]:
    for seed in TARGETS[name].seeds:
        TARGETS[name].accepts(seed)
watch.stop()
found = {}
for path in sorted(Path(sys.argv[1]).glob("*.py")):
    _, lines, _, missing, _ = watch.analysis2(str(path))
    found[path.name] = [len(lines), len(missing)]
print(json.dumps(found))
"""


def test_the_seeds_reach_the_audits_lines():
    import befl.audit.block

    package = Path(befl.audit.block.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(package), *AUDIT],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("COV_CORE")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    lines, missing = (sum(each[at] for each in found.values()) for at in (0, 1))
    assert 1 - missing / lines >= LEAST, found
    for name in ("validation.py", "state.py", "execution.py", "block.py", "lineage.py"):
        assert 1 - found[name][1] / found[name][0] >= LEAST, (name, found[name])
