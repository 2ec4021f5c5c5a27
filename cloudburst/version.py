"""The version of this package, from the metadata of the distribution ``cloudburst-run``."""

from importlib.metadata import version

__version__ = version("cloudburst-run")
