"""The composition root: makes the app from the environment, once for each process."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from shared import __version__, log
from shared.core.routing import Routes
from shared.pipeline import Pipeline
from shared.settings import Settings, SettingsError
from shared.storage.queues import StorageQueues


@dataclass(frozen=True, slots=True)
class App:
    """The objects that the functions share: one set for each process."""

    settings: Settings
    routes: Routes
    queues: StorageQueues
    pipeline: Pipeline

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "App":
        """The app with the settings in `environment`. Raises RoutesError, SettingsError."""
        settings = Settings.read(environment)
        try:
            queues = StorageQueues(settings.storage)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        routes = Routes.load(environment)
        return cls(settings, routes, queues, Pipeline(settings, routes, queues))


@cache
def app() -> App:
    """The app of this process, made on first use. Raises RoutesError, SettingsError."""
    made = App.from_environment(os.environ)
    log.started({"version": __version__})
    return made
