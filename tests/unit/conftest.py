"""Unit tests use no network."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Disables sockets in every test of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("disable_socket")
