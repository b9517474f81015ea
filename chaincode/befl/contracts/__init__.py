"""Thin contracts over the rules: they read records, let a rule decide, and write records.

Each kind of record is written by one module: tasks and applications by ``task``, rounds, updates and reports by
``round``, models by ``model``. They see the interface of ``stub`` and never a network.
"""
