"""From probabilities to the counts that an institution reports, and the exact area under the ROC curve."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from befl.rules.errors import BeflError
from befl.rules.metrics import BINS

_LEAST_PROBABILITY: Final = 1e-6


def counts(probabilities: NDArray[np.float32], y: NDArray[np.int64]) -> dict[str, Any]:
    """Count what ``befl.rules.metrics`` makes metrics from.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (rows, 2)
        Probability of each class.
    y : ndarray of int64, shape (rows,)
        The true class, 0 or 1.

    Returns
    -------
    dict
        The JSON form of :class:`befl.rules.metrics.Counts`: ``rows``, ``correct`` (at equal probabilities the first
        class is the answer), ``loss_micro`` (the sum of -ln p of the true class in millionths, p at least 1e-6), and
        ``negatives`` and ``positives``, histograms of the second class' probability in 64 equal bins.

    Raises
    ------
    BeflError
        ``BEFL-M-005`` when the shapes do not belong together.
    """
    if probabilities.shape != (len(y), 2):
        raise BeflError("BEFL-M-005", f"probabilities of shape {probabilities.shape} for {len(y)} rows of two classes")
    exact = probabilities.astype(np.float64)
    true = exact[np.arange(len(y)), y]
    loss = np.rint(-1e6 * np.log(np.clip(true, _LEAST_PROBABILITY, 1.0))).astype(np.int64)
    bins = np.clip((exact[:, 1] * BINS).astype(np.int64), 0, BINS - 1)
    return {
        "rows": len(y),
        "correct": int((exact.argmax(axis=1) == y).sum()),
        "loss_micro": int(loss.sum()),
        "negatives": np.bincount(bins[y == 0], minlength=BINS).tolist(),
        "positives": np.bincount(bins[y == 1], minlength=BINS).tolist(),
    }


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
