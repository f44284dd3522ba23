"""The composition root: makes the app from the environment, once for each process."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from shared import __version__, log
from shared.core.misconfiguration import Misconfiguration, bounded
from shared.core.routing import Routes, RoutesError
from shared.pipeline import Pipeline
from shared.settings import Settings, SettingsError, misconfigured
from shared.storage.queues import StorageQueues


@dataclass(frozen=True, slots=True)
class App:
    """The objects that the functions share: one set for each process.

    `misconfigured` is what cannot work, by the check of `Health` that it fails.
    """

    settings: Settings
    routes: Routes
    queues: StorageQueues
    pipeline: Pipeline
    misconfigured: Mapping[str, Sequence[Misconfiguration]]

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], *, registry_waits: bool = True
    ) -> "App":
        """The app with the settings in `environment`.

        `registry_waits`: as in `Settings.read`. A receiver goes on without valid routes, and keeps
        every event on the dead-letter queue. Raises SettingsError; RoutesError where no registry
        waits.
        """
        settings = Settings.read(environment, registry_waits=registry_waits)
        try:
            queues = StorageQueues(settings.storage)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        try:
            routes = Routes.load(environment)
        except RoutesError as error:
            if not registry_waits:
                raise
            routes = Routes.unusable(error, environment)
            settings = replace(settings, keep_unrouted=True)
        found = {
            "settings": bounded(misconfigured(environment, routes.app_settings)),
            "routes": bounded(routes.misconfigured),
        }
        return cls(settings, routes, queues, Pipeline(settings, routes, queues), found)


@cache
def app() -> App:
    """The app of this process, made on first use. Raises SettingsError."""
    made = App.from_environment(os.environ)
    log.started({"version": __version__, "routesDigest": made.routes.digest})
    for found in made.misconfigured.values():
        for each in found:
            log.misconfigured({"place": each.place, "problem": each.detail})
    return made
