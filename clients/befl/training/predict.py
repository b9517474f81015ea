"""Using a model folder: read it, check it against its manifest, predict. No network, no ledger, no keys."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from befl.rules import canonical
from befl.rules.artefact import MANIFEST
from befl.rules.errors import BeflError
from befl.rules.layout import Tensor, read_layout
from befl.rules.metrics import METRICS
from befl.rules.reader import read
from befl.rules.seeds import rows_seed
from befl.rules.spec import DataSpec
from befl.training.app import AppCode, builtin_apps
from befl.training.data import Table, load, problem, split
from befl.training.metrics import COUNTING
from befl.training.trainer import Trainer

WEIGHTS: Final = "model.safetensors"
PREPARATION: Final = "preparation.json"
NO_MODEL: Final = f"A model folder has {MANIFEST} in it: model-TASK of befl model fetch, DIR/model of befl simulate."


@dataclass(frozen=True)
class Predictions:
    """What a model says of the rows of a file.

    Parameters
    ----------
    classes : tuple of str
        The label's values; empty when it is a number.
    probabilities : ndarray of float32, shape (rows, classes)
        Probability of each class.
    numbers : ndarray of float64, shape (rows,)
        The number of each row, in the label's units; empty when there are classes.
    """

    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    numbers: NDArray[np.float64]

    @property
    def predicted(self) -> list[str] | list[float]:
        """The most probable class of each row, or its number."""
        if not self.classes:
            return [float(value) for value in self.numbers]
        return [self.classes[index] for index in self.probabilities.argmax(axis=1)]


@dataclass(frozen=True)
class Model:
    """A trained model, ready to predict.

    Parameters
    ----------
    app_name, app_digest : str
        The app it was trained with.
    settings : dict
        The app's settings.
    data : DataSpec
        How rows become features.
    layout : tuple of Tensor
        Names and shapes of its tensors.
    vector : ndarray of float32, shape (n,)
        The tensors one after another.
    metrics_rule : str
        The rule of metrics, such as ``binary/1``.
    digest : str
        SHA-256 of the manifest, which the ledger records.
    task : str
        The task's id, from which it follows which rows were held back.
    """

    app_name: str
    app_digest: str
    settings: dict[str, Any]
    data: DataSpec
    layout: tuple[Tensor, ...]
    vector: NDArray[np.float32]
    metrics_rule: str
    digest: str
    task: str

    def predict(self, path: str | Path, *, app: AppCode | None = None, python: str | None = None) -> Predictions:
        """Predict each row of a file; the label need not be there and is not read.

        Parameters
        ----------
        path : Path
            The file.
        app : AppCode or None
            The app's code; found among the apps that come with befl when None.
        python : str or None
            Interpreter for the app; this one by default.

        Raises
        ------
        BeflError
            ``BEFL-M-108`` the app is another one; ``BEFL-C-101`` to ``BEFL-C-108`` the file does not fit; and
            ``BEFL-M-101`` to ``BEFL-M-107`` the app fails.
        """
        code = self._app(app)
        found = self._run(load(Path(path), self.data, labelled=False), code, python)
        if self.data.target == "class":
            return Predictions(self.data.classes, found, np.zeros(0))
        numbers = found[:, 0].astype(np.float64) * float(self.data.label_spread) + float(self.data.label_centre)
        return Predictions((), np.zeros((len(found), 0), np.float32), numbers)

    def evaluate(
        self, path: str | Path, *, held_back: bool = False, app: AppCode | None = None, python: str | None = None
    ) -> dict[str, int | None]:
        """Return the metrics of the model on a labelled file, counted as an institution counts.

        Parameters
        ----------
        path : Path
            The file.
        held_back : bool
            Whether only on those rows that an institution with this file held back from training: then, with the file
            as its agent used it, these are exactly what the card says of the institution.
        app, python
            As for :meth:`predict`.

        Raises
        ------
        BeflError
            As :meth:`predict`; ``BEFL-C-109`` for labels; with ``held_back`` as an agent that splits its rows,
            ``BEFL-C-110`` and ``BEFL-C-111``.
        """
        code, rule = self._app(app), METRICS[self.metrics_rule]
        table = load(Path(path), self.data)
        if held_back:
            table = split(table, self.data, rows_seed(self.task))[1]
        found = self._run(table, code, python)
        counts = rule.read_counts(COUNTING[self.metrics_rule](found, table.y), self.data)
        return rule.metrics(counts, self.data)

    def export(self, *, app: AppCode | None = None, python: str | None = None) -> bytes:
        """Return the model in the ONNX form, for programs without befl.

        Its input ``x`` are rows as ``preparation.json`` says, float32, the row's number first; its output
        ``predictions`` are the probability of each class, or the prepared number.

        Raises
        ------
        BeflError
            ``BEFL-M-108`` the app is another one; ``BEFL-M-112`` it cannot write the form; and ``BEFL-M-101`` to
            ``BEFL-M-106`` it fails.
        """
        with Trainer(self._app(app), self.settings, problem(self.data), python=python) as trainer:
            return trainer.export(self.layout, self.vector)

    def _run(self, table: Table, code: AppCode, python: str | None) -> NDArray[np.float32]:
        with Trainer(code, self.settings, problem(self.data), python=python) as trainer:
            return trainer.predict(self.layout, self.vector, table.x)

    def _app(self, given: AppCode | None) -> AppCode:
        found = given or builtin_apps().get(self.app_name)
        if found is None:
            raise BeflError(
                "BEFL-M-108",
                f'befl has no app "{self.app_name}"',
                f"Name it: --app PATH, in Python app=read_app(PATH). Its SHA-256 must be {self.app_digest}.",
            )
        if found.digest != self.app_digest:
            raise BeflError(
                "BEFL-M-108",
                f'app "{found.name}" has SHA-256 {found.digest}, the model was trained with {self.app_digest}',
                "Name the app that the model was trained with: --app PATH, in Python app=read_app(PATH).",
            )
        return found


def load_model(folder: str | Path) -> Model:
    """Read a model folder and check every file against its manifest.

    Whether the manifest is the ledger's is another question: ``befl model verify`` answers it.

    Raises
    ------
    BeflError
        ``BEFL-C-006`` when the folder is no model's, ``BEFL-M-009`` when a file is missing, altered or cannot be
        understood.
    """
    folder = Path(folder)
    manifest, files = read_folder(folder)
    try:
        preparation = canonical.loads(files[PREPARATION])
        app, spec = preparation["app"], read(DataSpec, preparation["data"], "data")
        layout, vector = _tensors(files[WEIGHTS])
        return Model(
            app_name=str(app["name"]),
            app_digest=str(app["digest"]),
            settings=dict(app["settings"]),
            data=spec,
            layout=layout,
            vector=vector,
            metrics_rule=str(preparation["metrics"]),
            digest=hashlib.sha256(canonical.dumps(manifest)).hexdigest(),
            task=manifest["task"],
        )
    except (BeflError, KeyError, TypeError, ValueError) as error:
        raise _refuse(f"{folder}: its files cannot be understood: {error}") from None


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return a model folder's manifest, and its files, each of which has the SHA-256 that the manifest says.

    Raises
    ------
    BeflError
        ``BEFL-C-006`` when the folder has no manifest that can be read; ``BEFL-M-009`` when it is none, or when a file
        is missing or altered; the message names the file.
    """
    place = folder / MANIFEST
    try:
        content = place.read_bytes()
    except OSError as error:
        raise BeflError("BEFL-C-006", f"{place}: {error.strerror or type(error).__name__}", NO_MODEL) from None
    try:
        manifest: dict[str, Any] = canonical.loads(content)
        listed: dict[str, str] = dict(manifest["files"])
        names = {*listed, WEIGHTS, PREPARATION}
        if not all(isinstance(manifest[name], str) for name in ("task", "model")):
            raise TypeError("a text is none")
        if any(Path(name).name != name for name in names):
            raise ValueError("a name is a path")
    except (BeflError, KeyError, TypeError, ValueError):
        raise _refuse(f"{place}: is not the manifest of a model") from None
    files = {}
    for name in sorted(names):
        try:
            files[name] = (folder / name).read_bytes()
        except OSError as error:
            raise _refuse(f"{folder / name}: {error.strerror or type(error).__name__}") from None
        if hashlib.sha256(files[name]).hexdigest() != listed.get(name):
            raise _refuse(f"{folder / name}: its SHA-256 is not the one in {MANIFEST}")
    return manifest, files


def _tensors(content: bytes) -> tuple[tuple[Tensor, ...], NDArray[np.float32]]:
    """Read the tensors; their order is of no account, for an app takes them by name."""
    try:
        from safetensors import SafetensorError  # noqa: PLC0415 - comes with befl[train]
        from safetensors import numpy as arrays  # noqa: PLC0415 - as above
    except ImportError:
        raise BeflError("BEFL-M-101", "the safetensors library is not installed", "pip install 'befl[train]'") from None
    try:
        found = arrays.load(content)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    layout = read_layout([{"name": name, "shape": list(array.shape)} for name, array in found.items()])
    return layout, np.concatenate([array.astype(np.float32).reshape(-1) for array in found.values()])


def _refuse(message: str) -> BeflError:
    return BeflError("BEFL-M-009", message, "Fetch the model again with befl model fetch.")
