"""Predicting with a model folder: ``befl.training.predict`` for those who use befl, without network or ledger."""

from __future__ import annotations

from befl.training.app import AppCode, read_app
from befl.training.predict import Model, Predictions, load_model

__all__ = ["AppCode", "Model", "Predictions", "load_model", "read_app"]
