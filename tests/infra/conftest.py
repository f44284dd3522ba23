"""What the tests of the templates share."""

import pytest

from tests.support.bicep import Compiler


@pytest.fixture(scope="session")
def bicep(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Compiler:
    """Microsoft's compiler. The workers of a test run share what it predicted."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "bicep"
    folder.mkdir(exist_ok=True)
    return Compiler(folder)
