"""The ``befl`` command: a print over :mod:`befl.client`, :mod:`befl.agent` and :mod:`befl.network`."""
