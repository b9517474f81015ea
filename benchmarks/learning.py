"""How well institutions learn together: real data sets, each against all its rows in one place.

``python benchmarks/run.py heart bits mnist wisdm a9a nsl_kdd`` measures them one by one; the tables of
docs/explanation/accuracy.md and aggregation.md are what it prints. Everything runs by ``befl.client.simulate``: with
the contracts, rules and apps of a real network. The data are read from the folder that ``BEFL_BENCH_DATA`` names
(``../shared/data`` by default); what is not there is left out, and said.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from befl.client import simulate
from befl.rules.seeds import initial_seed
from befl.rules.spec import TaskSpec, from_toml
from befl.simulate import split_file
from befl.training import Trainer, builtin_apps
from befl.training.data import load, problem
from befl.training.metrics import auc
from befl.training.predict import load_model

DATA = Path(os.environ.get("BEFL_BENCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
HEAD = """\
befl = 1
name = "{name}"
mode = "horizontal"
[participants]
least = {institutions}
most = {institutions}
[rounds]
count = {rounds}
{more_rounds}
[aggregation]
{aggregation}
[privacy]
scheme = "none"
[app]
name = "{app}"
[app.settings]
{settings}
[data]
alias = "rows"
held_back = {held_back}
{data}
"""

Score = Callable[[NDArray[np.float32], NDArray[np.int64]], float]


@dataclass
class Learned:
    """One line of a table."""

    data: str
    partition: str
    how: str
    scores: list[float]

    @property
    def score(self) -> float:
        return statistics.mean(self.scores)


class NotHereError(Exception):
    """The data are not on this machine."""


def path_of(*parts: str) -> Path:
    path = DATA.joinpath(*parts)
    if not path.exists():
        raise NotHereError(f"{path} is not there")
    return path


def accuracy(probabilities: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    return float((probabilities.argmax(axis=1) == y).mean())


def area(probabilities: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    found = auc(y, probabilities[:, 1])
    assert found is not None
    return found


def task(
    name: str,
    institutions: int,
    *,
    rounds: int,
    app: str,
    settings: str,
    data: str,
    aggregation: str = 'rule = "fedavg"',
    more_rounds: str = "",
    held_back: int = 10,
) -> str:
    """Return the text of a TASK.toml."""
    return HEAD.format(**locals())


def together(toml: str, files: dict[str, Path], test: Path, score: Score, seed: int = 0) -> float:
    """Train as institutions and score the model folder on the test file; the task's id is what chance follows from."""
    with tempfile.TemporaryDirectory(prefix="befl-learn-") as folder:
        place = Path(folder)
        (place / "TASK.toml").write_text(toml)
        simulate(place / "TASK.toml", data=files, output=place / "run", id=f"{seed:016x}")
        model = load_model(place / "run/model")
        table = load(test, model.data)
        return score(model.predict(test).probabilities, table.y)


def in_one_place(toml: str, files: Iterable[Path], test: Path, score: Score, passes: int) -> float:
    """Train the same app on all rows, with as many passes over them, and score it on the test file."""
    spec: TaskSpec = from_toml(toml.encode())
    tables = [load(path, spec.data) for path in files]
    x, y = np.concatenate([each.x for each in tables]), np.concatenate([each.y for each in tables])
    kept = load(test, spec.data)
    settings = {**spec.app.settings, "epochs": passes}
    settings.pop("steps", None)
    settings.pop("proximal", None)
    with Trainer(builtin_apps()[spec.app.name], settings, problem(spec.data)) as trainer:
        layout, start = trainer.init(initial_seed(spec))
        model = trainer.train(layout, start, x, y, 1)
        return score(trainer.predict(layout, model, kept.x), kept.y)


def write_csv(path: Path, header: list[str], rows: Iterable[list[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return path


def stratified(labels: list[str], share: float, chance: np.random.Generator) -> set[int]:
    """Return the rows of a test set with each class in its share."""
    chosen: set[int] = set()
    for value in sorted(set(labels)):
        rows = [row for row, label in enumerate(labels) if label == value]
        chosen |= {int(row) for row in chance.permutation(rows)[: round(share * len(rows))]}
    return chosen


def numbers(rows: list[list[str]], header: list[str], columns: Iterable[str]) -> str:
    """Declare number columns with round figures for centre and spread, as somebody who knows the data would."""
    declared = []
    for name in columns:
        values = np.array([float(cell) for row in rows if (cell := row[header.index(name)])])
        spread = values.std()
        if spread:
            centre, spread = (float(f"{value:.2g}") for value in (values.mean(), spread))
            declared.append(f'"{name}" = {{ type = "number", centre = {centre:.10f}, spread = {spread:.10f} }}')
    return "\n".join(declared)


def read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    header, *rows = csv.reader(text.splitlines())
    return header, rows


# --- the hospitals, as FLamby has them ------------------------------------------------------------------------------

#: FLamby (du Terrail et al. 2022): without slope, ca and thal, rows with missing values left out, a third for the test.
HEART = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak")
HEART_DATA = """\
label = "label"
[data.columns]
age = { type = "number", centre = 53, spread = 9 }
trestbps = { type = "number", centre = 132, spread = 18 }
chol = { type = "number", centre = 220, spread = 90 }
thalach = { type = "number", centre = 140, spread = 25 }
oldpeak = { type = "number", centre = 0.9, spread = 1.1 }
sex = { type = "category", values = ["0.0", "1.0"] }
cp = { type = "category", values = ["1.0", "2.0", "3.0", "4.0"] }
fbs = { type = "category", values = ["0.0", "1.0"] }
restecg = { type = "category", values = ["0.0", "1.0", "2.0"] }
exang = { type = "category", values = ["0.0", "1.0"] }
"""
#: FLamby's test rows: bit n of a hospital's number stands for its n-th whole row. They are what its dataset.py draws,
#: per hospital: scikit-learn's ``train_test_split(numpy.arange(rows), test_size=1 - 0.66, train_size=0.66,
#: random_state=43, stratify=labels)``, without ``stratify`` where a label has two rows or fewer (Switzerland).
HEART_TEST = {
    "cleveland": 0x27D73800471F06489219A5A80E2150180C29358003E1081203A0ADC05123B9A3CD0405012020,
    "hungarian": 0xC5D08940188205C96F4481212C8228B198961C9008AB00E11342B821D3E210088,
    "switzerland": 0x301315C61E0,
    "va": 0x1A2E5C0061120DA1D7040A6DA24001262,
}
HEART_RULES = {
    "FedAvg": ('rule = "fedavg"', "epochs = 2\nlearning_rate = 0.3\nl2 = 0.02"),
    "FedProx": ('rule = "fedavg"', "epochs = 4\nlearning_rate = 0.2\nl2 = 0.02\nproximal = 0.3"),
    "FedAdam": ('rule = "fedadam"\nserver_learning_rate = 0.02', "epochs = 2\nlearning_rate = 0.2\nl2 = 0.02"),
    "FedYogi": ('rule = "fedyogi"\nserver_learning_rate = 0.02', "epochs = 2\nlearning_rate = 0.2\nl2 = 0.02"),
    "SCAFFOLD": ('rule = "scaffold"', "steps = 2\nlearning_rate = 0.3\nl2 = 0.02"),
}


@contextmanager
def hospitals() -> Iterator[tuple[dict[str, Path], Path]]:
    """Write FLamby's split: each hospital's rows to train on, and the test rows of all."""
    header, rows = read_csv(path_of("heart_disease_4sites", "heart_disease_4sites.csv"))
    kept = ["site", *HEART, "label"]
    places = [header.index(name) for name in kept]
    whole = [cells for row in rows if all(cells := [row[place] for place in places])]
    with tempfile.TemporaryDirectory(prefix="befl-heart-") as folder:
        files, test = {}, []
        for site, tested in HEART_TEST.items():
            own = [row[1:] for row in whole if row[0] == site]
            test += [row for number, row in enumerate(own) if tested >> number & 1]
            train = [row for number, row in enumerate(own) if not tested >> number & 1]
            files[site] = write_csv(Path(folder) / f"{site}.csv", kept[1:], train)
        yield files, write_csv(Path(folder) / "test.csv", kept[1:], test)


def heart(seeds: int = 5) -> list[Learned]:
    """Four hospitals, logistic regression: accuracy on the pooled test set of FLamby's split, by training seed."""
    found: dict[str, list[float]] = {name: [] for name in (*HEART_RULES, "in one place")}
    with hospitals() as (files, held_back):
        for seed in range(seeds):
            for name, (rule, settings) in HEART_RULES.items():
                toml = task("heart", 4, rounds=20, app="tabular", settings=settings, data=HEART_DATA, aggregation=rule)
                found[name].append(together(toml, files, held_back, accuracy, seed))
                if name == "FedAvg":
                    found["in one place"].append(in_one_place(toml, files.values(), held_back, accuracy, 40))
    return [Learned("heart, 4 hospitals", "by hospital", name, scores) for name, scores in found.items()]


#: What is saved on the way, with FedAvg: how it is called, then more of [aggregation] and of [rounds].
SAVINGS = {
    "32 bits, all trainers": ("", ""),
    "16 bits": ("bits = 16", ""),
    "12 bits": ("bits = 12", ""),
    "10 bits": ("bits = 10", ""),
    "8 bits": ("bits = 8", ""),
    "8 bits, clip 1": ("bits = 8\nclip = 1", ""),
    "half of the trainers": ("", "fraction = 50\nquorum = 2"),
}


def bits(seeds: int = 5) -> list[Learned]:
    """The hospitals with fewer bits a value, and with half of the trainers in a round: accuracy and area."""
    found: list[Learned] = []
    with hospitals() as (files, held_back):
        for name, (aggregation, rounds) in SAVINGS.items():
            rule, settings = HEART_RULES["FedAvg"]
            toml = task(
                *("heart", 4),
                rounds=20,
                app="tabular",
                settings=settings,
                data=HEART_DATA,
                aggregation=f"{rule}\n{aggregation}",
                more_rounds=rounds,
            )
            areas: list[float] = []

            def score(probabilities: NDArray[np.float32], y: NDArray[np.int64], areas: list[float] = areas) -> float:
                areas.append(area(probabilities, y))
                return accuracy(probabilities, y)

            accuracies = [together(toml, files, held_back, score, seed) for seed in range(seeds)]
            found.append(Learned("heart, 4 hospitals", "accuracy", name, accuracies))
            found.append(Learned("heart, 4 hospitals", "area under the curve", name, areas))
    return found


# --- digits ---------------------------------------------------------------------------------------------------------

DIGITS = """\
label = "digit"
form = "array"
shape = [1, 28, 28]
centre = 33
spread = 78
classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
"""
_CNN = "channels = 8\nhidden = 32\nbatch = 32\nlearning_rate = 0.03\nclip_gradient = 2\n"
DIGIT_RULES = {
    "FedAvg": (15, 'rule = "fedavg"', _CNN + "epochs = 1"),
    "FedProx": (15, 'rule = "fedavg"', _CNN + "epochs = 1\nproximal = 0.05"),
    "SCAFFOLD": (15, 'rule = "scaffold"', _CNN + "steps = 25"),
    "FedAdam": (15, 'rule = "fedadam"\nserver_learning_rate = 0.01', _CNN + "epochs = 1"),
    "FedAvgM, 40 rounds": (40, 'rule = "fedavgm"\nmomentum = 0.9', _CNN + "epochs = 1"),
}


def mnist() -> list[Learned]:
    """Ten institutions with unlike digits, a small convolutional network: accuracy on 2,000 other digits."""
    with np.load(path_of("mnist_10k", "mnist_10k.npz")) as file:
        x, y = file["images"][:, None], file["labels"]
    found = []
    with tempfile.TemporaryDirectory(prefix="befl-mnist-") as name:
        folder = Path(name)
        order = np.random.default_rng(0).permutation(len(y))
        np.savez(folder / "test.npz", x=x[order[:2_000]], y=y[order[:2_000]])
        np.savez(folder / "all.npz", x=x[order[2_000:]], y=y[order[2_000:]])
        for concentration in ("0.1", "0.5", "1.0"):
            parts = split_file(folder / "all.npz", f"dirichlet:{concentration}", 10, "y", folder / concentration)
            for how, (rounds, rule, settings) in DIGIT_RULES.items():
                toml = task("digits", 10, rounds=rounds, app="image", settings=settings, data=DIGITS, aggregation=rule)
                scores = [together(toml, parts, folder / "test.npz", accuracy)]
                found.append(Learned("mnist_10k, 10 institutions", f"Dirichlet({concentration})", how, scores))
        toml = task("digits", 10, rounds=15, app="image", settings=DIGIT_RULES["FedAvg"][2], data=DIGITS)
        scores = [in_one_place(toml, [folder / "all.npz"], folder / "test.npz", accuracy, 15)]
        found.append(Learned("mnist_10k, 10 institutions", "-", "in one place", scores))
    return found


# --- 36 people with a telephone in the pocket -----------------------------------------------------------------------


def wisdm() -> list[Learned]:
    """36 users, logistic regression of six activities: accuracy on a fifth of each user's rows."""
    header, rows = read_csv(path_of("wisdm_36users", "wisdm.csv.gz"))
    user, label = header.index("user"), header.index("activity")
    names = [name for name in header if name not in ("id", "user", "activity")]
    places = [header.index(name) for name in names]
    classes = sorted({row[label] for row in rows})
    chance = np.random.default_rng(0)
    settings = "learning_rate = 0.5\nepochs = 4\nbatch = 32"
    with tempfile.TemporaryDirectory(prefix="befl-wisdm-") as name:
        folder, files, test = Path(name), {}, []
        for who in sorted({row[user] for row in rows}, key=int):
            own = [[row[place] for place in (*places, label)] for row in rows if row[user] == who]
            chosen = stratified([row[-1] for row in own], 0.2, chance)
            test += [row for number, row in enumerate(own) if number in chosen]
            train = [row for number, row in enumerate(own) if number not in chosen]
            files[f"user{who}"] = write_csv(folder / f"user{who}.csv", [*names, "activity"], train)
        tested = write_csv(folder / "test.csv", [*names, "activity"], test)
        columns = numbers(rows, header, names)
        data = f'label = "activity"\nclasses = {json.dumps(classes)}\n[data.columns]\n{columns}\n'
        toml = task("activities", len(files), rounds=30, app="tabular", settings=settings, data=data)
        return [
            Learned("wisdm, 36 users", "by user", "FedAvg", [together(toml, files, tested, accuracy)]),
            Learned(
                "wisdm, 36 users", "-", "in one place", [in_one_place(toml, files.values(), tested, accuracy, 120)]
            ),
        ]


# --- incomes --------------------------------------------------------------------------------------------------------


def a9a() -> list[Learned]:
    """Two halves of Adult, logistic regression: area under the curve on its own test set."""
    with tempfile.TemporaryDirectory(prefix="befl-a9a-") as name:
        folder, files = Path(name), {}
        for part in ("p0", "p1", "test"):
            files[part] = folder / f"{part}.npz"
            x, y = libsvm(path_of("fedtree_a9a", f"a9a_horizontal_{part}.libsvm.gz"), 123)
            np.savez(files[part], x=x, y=y)
        test = files.pop("test")
        data = 'label = "income"\nform = "array"\nshape = [123]\n'
        settings = "learning_rate = 0.5\nepochs = 2\nbatch = 64"
        toml = task("incomes", 2, rounds=10, app="tabular", settings=settings, data=data)
        return [
            Learned("a9a, 2 halves", "halves", "FedAvg", [together(toml, files, test, area)]),
            Learned("a9a, 2 halves", "-", "in one place", [in_one_place(toml, files.values(), test, area, 20)]),
        ]


def libsvm(path: Path, features: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read a file of binary features, numbered from 1."""
    with gzip.open(path, "rt") as file:
        lines = [line.split() for line in file]
    x = np.zeros((len(lines), features), np.uint8)
    for row, cells in enumerate(lines):
        for cell in cells[1:]:
            place, _, value = cell.partition(":")
            x[row, int(place) - 1] = float(value)
    return x, np.array([int(float(cells[0]) > 0) for cells in lines])


# --- attacks --------------------------------------------------------------------------------------------------------


def nsl_kdd() -> list[Learned]:
    """Services as institutions, logistic regression of attack or not: accuracy on the data's own, later test set."""
    header, rows = read_csv(path_of("nsl_kdd", "nsl_kdd_train20.csv.gz"))
    _, later = read_csv(path_of("nsl_kdd", "nsl_kdd_test.csv.gz"))
    service, attack = header.index("service"), header.index("attack")
    left_out = ("service", "attack", "difficulty", "protocol_type", "flag")
    columns = numbers(rows, header, [name for name in header if name not in left_out])
    for name in ("protocol_type", "flag"):
        values = sorted({row[header.index(name)] for row in (*rows, *later)})
        columns += f'\n{name} = {{ type = "category", values = {json.dumps(values)} }}'
    kinds = Counter((row[service], row[attack] == "normal") for row in rows)
    names = {row[service] for row in rows}
    alone = sorted(name for name in names if min(kinds[name, True], kinds[name, False]) >= 20)

    def labelled(rows: list[list[str]]) -> list[list[str]]:
        return [[*row, str(int(row[attack] != "normal"))] for row in rows]

    with tempfile.TemporaryDirectory(prefix="befl-nsl-") as name:
        folder, files = Path(name), {}
        for each in (*alone, "others"):
            own = [row for row in rows if row[service] == each or (each == "others" and row[service] not in alone)]
            word = each.replace("_", "-")
            files[word] = write_csv(folder / f"{word}.csv", [*header, "label"], labelled(own))
        test = write_csv(folder / "test.csv", [*header, "label"], labelled(later))
        data = f'label = "label"\n[data.columns]\n{columns}\n'
        settings = "learning_rate = 0.1\nepochs = 2\nbatch = 64\nl2 = 0.001"
        toml = task("attacks", len(files), rounds=15, app="tabular", settings=settings, data=data)
        what = f"nsl_kdd, {len(files)} services"
        return [
            Learned(what, "by service", "FedAvg", [together(toml, files, test, accuracy)]),
            Learned(what, "-", "in one place", [in_one_place(toml, files.values(), test, accuracy, 30)]),
        ]


STUDIES: dict[str, Callable[[], list[Learned]]] = {
    "heart": heart,
    "bits": bits,
    "mnist": mnist,
    "wisdm": wisdm,
    "a9a": a9a,
    "nsl_kdd": nsl_kdd,
}


def table(lines: list[Learned]) -> str:
    """Return what was learned as a table of Markdown."""
    rows = [
        f"| {each.data} | {each.partition} | {each.how} | {each.score:.3f} | "
        f"{' '.join(f'{score:.3f}' for score in each.scores) if len(each.scores) > 1 else ''} |"
        for each in lines
    ]
    return "\n".join(["| data | partition | how | score | each seed |", "|---|---|---|---:|---|", *rows])


def main(names: list[str]) -> None:
    """Print the tables of the named studies."""
    found: list[Learned] = []
    for name in names or STUDIES:
        try:
            found += STUDIES[name]()
        except NotHereError as error:
            print(f"{name}: left out, {error}")
    print(table(found))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
