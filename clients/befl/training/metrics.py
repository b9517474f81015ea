"""From probabilities to the counts that an institution reports, and the exact area under the ROC curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from befl.rules.errors import BeflError
from befl.rules.metrics.binary import BINS
from befl.rules.metrics.regression import MOST

_LEAST_PROBABILITY: Final = 1e-6


def binary(probabilities: NDArray[np.float32], y: NDArray[np.int64]) -> dict[str, Any]:
    """Count what ``binary/1`` makes metrics from.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (rows, 2)
        Probability of each class.
    y : ndarray of int64, shape (rows,)
        The true class, 0 or 1.

    Returns
    -------
    dict
        The JSON form of :class:`befl.rules.metrics.binary.Counts`: ``rows``, ``correct`` (at equal probabilities the
        first class is the answer), ``loss_micro`` (the sum of -ln p of the true class in millionths, p at least 1e-6),
        ``negatives`` and ``positives``, histograms of the second class' probability in 64 equal bins.

    Raises
    ------
    BeflError
        ``BEFL-M-005`` when the shapes do not belong together.
    """
    if probabilities.shape != (len(y), 2):
        raise BeflError("BEFL-M-005", f"probabilities of shape {probabilities.shape} for {len(y)} rows of two classes")
    exact = probabilities.astype(np.float64)
    bins = np.clip((exact[:, 1] * BINS).astype(np.int64), 0, BINS - 1)
    return {
        "rows": len(y),
        "correct": int((exact.argmax(axis=1) == y).sum()),
        "loss_micro": _loss_micro(exact, y),
        "negatives": np.bincount(bins[y == 0], minlength=BINS).tolist(),
        "positives": np.bincount(bins[y == 1], minlength=BINS).tolist(),
    }


def multiclass(probabilities: NDArray[np.float32], y: NDArray[np.int64]) -> dict[str, Any]:
    """Count what ``multiclass/1`` makes metrics from.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (rows, classes)
        Probability of each class.
    y : ndarray of int64, shape (rows,)
        Index of the true class.

    Returns
    -------
    dict
        The JSON form of :class:`befl.rules.metrics.multiclass.Counts`; at equal probabilities the first class is the
        answer, and a probability counts as at least 1e-6.

    Raises
    ------
    BeflError
        ``BEFL-M-005`` when the shapes do not belong together.
    """
    if probabilities.ndim != 2 or len(probabilities) != len(y):
        raise BeflError("BEFL-M-005", f"probabilities of shape {probabilities.shape} for {len(y)} rows")
    classes = probabilities.shape[1]
    answers = probabilities.argmax(axis=1) if len(y) else np.zeros(0, np.int64)
    return {
        "rows": len(y),
        "loss_micro": _loss_micro(probabilities.astype(np.float64), y),
        "true": np.bincount(y, minlength=classes).tolist(),
        "predicted": np.bincount(answers, minlength=classes).tolist(),
        "hit": np.bincount(y[answers == y], minlength=classes).tolist(),
    }


def regression(predicted: NDArray[np.float32], y: NDArray[np.float32]) -> dict[str, Any]:
    """Sum what ``regression/1`` makes metrics from.

    Parameters
    ----------
    predicted, y : ndarray of float32, shape (rows, 1) and (rows,)
        The prepared label, as predicted and as it is.

    Returns
    -------
    dict
        The JSON form of :class:`befl.rules.metrics.regression.Counts`.

    Raises
    ------
    BeflError
        ``BEFL-M-005`` when the shapes do not belong together.
    """
    if predicted.shape != (len(y), 1):
        raise BeflError("BEFL-M-005", f"predictions of shape {predicted.shape} for {len(y)} rows of one number")
    true = y.astype(np.float64)
    errors = _whole(predicted[:, 0].astype(np.float64) - true)
    values = _whole(true)
    return {
        "rows": len(y),
        "squared": sum(value * value for value in errors),
        "absolute": sum(abs(value) for value in errors),
        "label": sum(values),
        "label_squared": sum(value * value for value in values),
    }


#: How an institution counts, by the rule of metrics that reads it.
COUNTING: Final[Mapping[str, Callable[[NDArray[np.float32], NDArray[Any]], dict[str, Any]]]] = {
    "binary/1": binary,
    "multiclass/1": multiclass,
    "regression/1": regression,
}


def _loss_micro(probabilities: NDArray[np.float64], y: NDArray[np.int64]) -> int:
    true = probabilities[np.arange(len(y)), y]
    return int(np.rint(-1e6 * np.log(np.clip(true, _LEAST_PROBABILITY, 1.0))).astype(np.int64).sum())


def _whole(values: NDArray[np.float64]) -> list[int]:
    """Round to millionths, as Python's integers: their squares would not fit 64 bits."""
    return [int(value) for value in np.rint(np.clip(values * 1e6, -float(MOST), float(MOST)))]


def auc(y: NDArray[np.int64], scores: NDArray[np.floating[Any]]) -> float | None:
    """Return the exact area under the ROC curve (Mann-Whitney statistic; equal scores share their mean rank).

    Parameters
    ----------
    y : ndarray of int64, shape (rows,)
        0 or 1.
    scores : ndarray of float, shape (rows,)
        Any score that grows with the probability of class 1.

    Returns
    -------
    float or None
        None when one class is absent.
    """
    positives = int((y == 1).sum())
    negatives = len(y) - positives
    if positives == 0 or negatives == 0:
        return None
    _, inverse, tied = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(tied)
    ranks = (ends - (tied - 1) / 2)[inverse]
    return float((ranks[y == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))
