"""The notebook's cells, as they stand, on the real network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from .hospitals import hospitals, task_toml

NOTEBOOK = Path(__file__).parents[2] / "examples/notebook/watch.ipynb"


def test_the_notebook(consortium, tmp_path, monkeypatch):
    mpl.use("Agg")
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    lines = [line for cell in cells if cell["cell_type"] == "code" for line in cell["source"] if line.strip()]
    assert len(lines) <= 10
    with hospitals(consortium, tmp_path, "notebook") as agents:
        for each in agents:
            each.start()
        task_toml(tmp_path, "notebook").rename(tmp_path / "TASK.toml")
        shutil.copy(agents[1].rows, tmp_path / "rows.csv")
        (tmp_path / "network").symlink_to(consortium.directory)
        monkeypatch.chdir(tmp_path)
        names: dict[str, object] = {}
        for cell in cells:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)  # noqa: S102 - our own notebook
        names["issuer"].close()
    assert len(names["losses"]) == 2
    [line] = plt.gca().get_lines()
    assert list(line.get_ydata()) == names["losses"]
    plt.close()
    assert set(names["model"].predict("rows.csv").predicted) <= {"no", "yes"}
