"""The app's one road, shared by its functions: one set of clients for each process."""

import os
from functools import cache

from shared import __version__, log
from shared.pipeline import Ingest


@cache
def ingest() -> Ingest:
    """The road, made of the environment on first use. Raises RoutesError, SettingsError."""
    made = Ingest.from_environment(os.environ)
    log.started({"version": __version__})
    return made
