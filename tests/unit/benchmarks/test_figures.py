"""What ``make bench`` says about its figures; the measuring itself is tests/network/test_bench.py."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_every_bar_belongs_to_a_figure_that_says_whether_it_is_met(bench):
    figure = bench("figure")
    assert figure.Figure("round_10k_s", 0.5, "s", []).met is True
    assert figure.Figure("round_10k_s", 0.51, "s", []).met is False
    assert figure.Figure("submit_ratio_to_go", 0.95, "", []).met is True
    assert figure.Figure("submit_ratio_to_go", 0.94, "", []).met is False
    assert figure.Figure("network_memory_4orgs_mb", 1, "MB", []).met is None
    assert figure.Figure("ledger_tax", 1.0, "", []).to_json()["bar"] == "<= 1.1"


def test_the_table_shows_bars_first_and_what_is_missed(bench):
    figure = bench("figure")
    lines = figure.table(
        [
            figure.median("without a bar", [1.0, 3.0, 2.0], "MB"),
            figure.median("round_1m_s", [4.0], "s"),
            figure.median("round_10k_s", [0.4], "s"),
        ]
    ).splitlines()
    assert [line.split()[0] for line in lines] == ["figure", "round_1m_s", "round_10k_s", "without"]
    assert lines[1].split()[1:] == ["4", "s", "<=", "3", "NOT", "MET"]
    assert lines[2].split()[1:] == ["0.4", "s", "<=", "0.5", "met"]
    assert lines[3].split()[-2:] == ["2", "MB"]


@pytest.mark.parametrize(
    ("samples", "grows"),
    [
        ([50.0, 90.0, 100.0, 100.0, 100.0, 101.0, 100.0, 99.0, 101.0, 100.0], False),  # caches fill, then nothing
        ([100.0, 100.0, 100.0, 100.0, 140.0, 100.0, 101.0, 140.0, 100.0, 100.0], False),  # a heap before its collection
        ([100.0 + 5 * number for number in range(10)], True),
    ],
)
def test_memory_grows_when_the_second_half_rises(bench, samples, grows):
    assert (bench("memory").growth(samples) > bench("figure").BARS["memory_growth_per_cent"][1]) is grows


def test_each_figure_says_its_commit_machine_and_command(bench, monkeypatch, tmp_path):
    run, figure = bench("run"), bench("figure")

    def two(*, quick):
        beside = figure.median("beside", [1.0 + quick], "")
        beside.baseline, beside.ratio = "round_10k_s", 4.4444
        return [figure.median("round_10k_s", [0.5, 0.4], "s"), beside]

    monkeypatch.setitem(run.FIGURES, "two", two)
    found = run.measure(["two"], tmp_path / "made" / "bench.json", quick=True)
    first, second = json.loads((tmp_path / "made" / "bench.json").read_text())
    assert [each.value for each in found] == [0.45, 2.0]
    assert first["machine"]["processors"] >= 1
    assert first["versions"].keys() >= {"python", "fabric", "numpy"}
    for key in ("commit", "uncommitted_changes", "started", "machine", "versions"):
        del first[key]
    assert first == {
        "name": "round_10k_s",
        "value": 0.45,
        "unit": "s",
        "samples": [0.5, 0.4],
        "baseline": "",
        "baseline_command": "",
        "ratio": None,
        "steps": {},
        "bar": "<= 0.5",
        "met": True,
        "command": "python benchmarks/run.py two",
        "quick": True,
    }
    assert (second["baseline"], second["ratio"]) == ("round_10k_s", 4.4444)
    assert second["baseline_command"] == "python benchmarks/run.py round_10k_s"


def test_a_baseline_measured_in_turns_is_measured_by_the_same_command(bench):
    run = bench("run")
    assert run.command("ratios_to_go", "submit_go_per_s") == "python benchmarks/run.py ratios_to_go"
    assert run.command("round_10k_8orgs_s", "round_10k_s") == "python benchmarks/run.py round_10k_s"


def test_a_run_replaces_what_it_measures_and_keeps_all_else(bench, monkeypatch, tmp_path):
    run, figure = bench("run"), bench("figure")
    output, values = tmp_path / "bench.json", iter(range(1, 9))
    for name in ("one", "two"):
        monkeypatch.setitem(
            run.FIGURES, name, lambda *, quick, name=name: [figure.median(name, [float(next(values))], "s")]
        )

    def kept():
        return {each["name"]: each["value"] for each in json.loads(output.read_text())}

    run.measure(["one", "two"], output, quick=True)
    assert kept() == {"one": 1, "two": 2}
    run.measure(["two"], output, quick=False)
    assert kept() == {"one": 1, "two": 3}
    run.measure(["one", "two"], output, quick=True)
    assert kept() == {"one": 4, "two": 3}, "few samples replace no figure that has all"
    output.write_text("[{")
    run.measure(["one"], output, quick=True)
    assert kept() == {"one": 6}
    assert list(tmp_path.iterdir()) == [output]


def test_what_is_interrupted_keeps_what_was_measured(bench, monkeypatch, tmp_path, capsys):
    run, figure = bench("run"), bench("figure")

    def interrupted(*, quick):
        raise KeyboardInterrupt

    monkeypatch.setitem(run.FIGURES, "one", lambda *, quick: [figure.median("round_10k_s", [0.5], "s")])
    monkeypatch.setitem(run.FIGURES, "two", interrupted)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["run.py", "one", "two", "--output", str(tmp_path / "bench.json")])
    assert run.main() == 130
    assert "nothing is left running" in capsys.readouterr().err
    assert [each["name"] for each in json.loads((tmp_path / "bench.json").read_text())] == ["round_10k_s"]


def test_an_unknown_figure_is_refused_with_those_there_are(bench, monkeypatch, capsys):
    run = bench("run")
    monkeypatch.setattr("sys.argv", ["run.py", "speed"])
    with pytest.raises(SystemExit) as end:
        run.main()
    assert end.value.code == 2
    assert "no such figure: speed; there are network_up_4orgs_s" in capsys.readouterr().err


def test_a_data_set_that_is_not_there_is_left_out_and_said(bench, monkeypatch, tmp_path, capsys):
    learning, run = bench("learning"), bench("run")
    monkeypatch.setattr(learning, "DATA", tmp_path)
    for study in learning.STUDIES:
        assert run.learned(study)(quick=False) == []
        assert capsys.readouterr().out.startswith(f"{study}: left out, ")


def test_a_difference_to_one_place_has_a_bar(bench, monkeypatch, capsys):
    run, learning, figure = bench("run"), bench("learning"), bench("figure")
    how = "FedAvgM, 40 rounds"

    def study(score):
        return lambda: [
            learning.Learned("mnist", "Dirichlet(0.5)", how, [score]),
            learning.Learned("mnist", "Dirichlet(0.1)", how, [0.5]),
            learning.Learned("mnist", "-", "in one place", [0.977]),
        ]

    for score, points, said in ((0.966, 1.1, "met"), (0.955, 2.2, "NOT MET")):
        monkeypatch.setitem(learning.STUDIES, "mnist", study(score))
        made = run.learned("mnist")(quick=False)
        [behind] = [each for each in made if each.bar]
        assert (behind.name, behind.value) == (f"mnist Dirichlet(0.5) {how}, points behind", points)
        assert figure.table(made).splitlines()[1].endswith(said)


def test_a_job_too_short_for_the_bar_is_refused(bench):
    tax = bench("ledger_tax")
    assert tax.ratio({"with": [6.0, 6.6, 7.0], "without": [5.9, 6.0, 6.1]}) == pytest.approx(1.1)
    with pytest.raises(SystemExit, match=r"took 2\.50 s, .* EPOCHS = 100 in"):
        tax.ratio({"with": [3.0], "without": [2.5]})
    assert f"epochs = {tax.EPOCHS}\n" in tax.TASK


@pytest.mark.slow
def test_what_the_studies_promise(bench):
    """The hospitals by one seed, and a9a: each figure with a bar is met."""
    run, learning = bench("run"), bench("learning")
    held = {}
    for name, study in (("heart", lambda: learning.heart(seeds=1)), ("a9a", learning.a9a)):
        try:
            lines = study()
        except learning.NotHereError as error:
            pytest.skip(str(error))
        held |= {each.name: each.met for each in run.figures_of(name, lines) if each.bar}
    assert held == {"heart by hospital FedAvg": True, "a9a halves FedAvg": True}


def test_the_hospitals_test_rows_are_a_third_of_each(bench):
    counted = {site: rows.bit_count() for site, rows in bench("learning").HEART_TEST.items()}
    assert counted == {"cleveland": 104, "hungarian": 89, "switzerland": 16, "va": 45}
