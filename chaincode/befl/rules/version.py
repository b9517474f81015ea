"""The version of the release, read by the build and by ``befl version``."""

__version__ = "0.1.0"
