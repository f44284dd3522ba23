"""The lock files say what the *.in files ask for: nothing here asks an index of packages."""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
NAMES = ["requirements", "requirements-run", "requirements-dev", "requirements-older"]
DECLARED = (ROOT / ".python-version").read_text().strip()


@dataclass
class Lock:
    """A lock file: the version, the hashes and the marker of each package."""

    text: str
    versions: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, list[str]] = field(default_factory=dict)
    markers: dict[str, str] = field(default_factory=dict)


def _lines(file: Path) -> Iterator[str]:
    """What a requirements file says, a continued line as one, without comments."""
    text = file.read_text().replace("\\\n", " ")
    for line in text.splitlines():
        said = re.sub(r"(^|\s)#.*", "", line).strip()
        if said:
            yield said


def _lock(name: str) -> Lock:
    file = ROOT / f"{name}.txt"
    lock = Lock(file.read_text())
    for line in _lines(file):
        said, *hashes = line.split(" --hash=")
        requirement = Requirement(said)
        [exactly] = requirement.specifier
        assert exactly.operator == "=="
        package = canonicalize_name(requirement.name)
        assert package not in lock.versions
        lock.versions[package] = exactly.version
        lock.hashes[package] = [each.strip() for each in hashes]
        lock.markers[package] = str(requirement.marker or "")
    return lock


def _wanted(name: str) -> list[Requirement]:
    """The requirements of an *.in file, and of those that it refers to by `-r`."""
    wanted = []
    for line in _lines(ROOT / f"{name}.in"):
        if line.startswith("-r "):
            wanted += _wanted(line.removeprefix("-r ").removesuffix(".in"))
        elif not line.startswith("-c "):
            wanted.append(Requirement(line))
    return wanted


@pytest.mark.parametrize("name", NAMES)
def test_lock_satisfies_what_is_wanted(name: str) -> None:
    """Every line of an *.in file is satisfied by its lock file; else `make lock` is due."""
    versions = _lock(name).versions
    wanted = _wanted(name)
    assert wanted
    for requirement in wanted:
        package = canonicalize_name(requirement.name)
        assert package in versions, f"{requirement}: run `make lock`"
        assert requirement.specifier.contains(versions[package]), f"{requirement}: run `make lock`"


@pytest.mark.parametrize("name", NAMES)
def test_lock_has_nothing_unwanted(name: str) -> None:
    """Every package of a lock file is wanted by an *.in file or by another package."""
    directly = {canonicalize_name(requirement.name) for requirement in _wanted(name)}
    # uv says below each package who wants it, on the same line or on those that follow.
    entries = re.split(r"^(?=[a-z0-9])", _lock(name).text, flags=re.MULTILINE)[1:]
    for entry in entries:
        package = entry.partition("==")[0]
        by = set(re.findall(r"^    #(?: via)? +(\S+(?: requirements\S+)?)$", entry, re.MULTILINE))
        files = {each for each in by if each.startswith("-")}
        constraints = {"-c requirements.txt", "-c requirements-run.txt"}
        if files - constraints:
            assert canonicalize_name(package.partition("[")[0]) in directly, f"{package}: make lock"
        assert by - constraints, f"{package}: make lock"


@pytest.mark.parametrize("name", NAMES)
def test_every_pin_has_hashes(name: str) -> None:
    """pip installs a lock file with --require-hashes."""
    hashes = _lock(name).hashes
    assert hashes
    for package, of_package in hashes.items():
        assert of_package, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in of_package), package


@pytest.mark.parametrize("name", NAMES)
def test_locks_name_no_host(name: str) -> None:
    """A lock file fits every index of packages: it names no address of one."""
    assert not re.search(r"://|index-url|find-links|trusted-host", _lock(name).text)


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [("requirements", "requirements-run"), ("requirements-run", "requirements-dev")],
)
def test_larger_lock_has_smaller_set(smaller: str, larger: str) -> None:
    """What runs locally and what is tested is what is deployed: same versions and hashes."""
    small, large = _lock(smaller), _lock(larger)
    assert small.versions.items() < large.versions.items()
    assert small.hashes.items() < large.hashes.items()


def test_run_lock_lacks_development_packages() -> None:
    """What `make demo` installs has none of the packages that requirements-dev.in adds."""
    run = _lock("requirements-run").versions
    development = {
        canonicalize_name(requirement.name)
        for requirement in _wanted("requirements-dev")
        if requirement not in _wanted("requirements-run")
    }
    # PyJWT comes with azure-identity, which asks for tokens with it.
    assert development & run.keys() == {"pyjwt"}


def test_run_lock_has_tools_imports() -> None:
    """The tools import packages of requirements-run.txt alone, but for those of developers."""
    run = _lock("requirements-run").versions.keys()
    developers = {"bench", "mutants", "mutations"}
    distributions = packages_distributions()
    imported: dict[str, str] = {}
    for file in (ROOT / "tools").rglob("*.py"):
        if developers.isdisjoint((*file.relative_to(ROOT / "tools").parent.parts, file.stem)):
            for node in ast.walk(ast.parse(file.read_bytes())):
                match node:
                    case ast.ImportFrom(module=str(name)) | ast.Import(names=[ast.alias(name)]):
                        imported |= dict.fromkeys(
                            distributions.get(name.partition(".")[0], ()), name
                        )
    packages = {canonicalize_name(package): name for package, name in imported.items()}
    assert "aiohttp" in packages
    # On an older Python only what the unit tests need is installed.
    if sys.version_info >= (3, 13):
        assert packages.keys() > {"typer", "rich", "croniter", "azure-functions-runtime-v1"}
    assert packages.keys() <= run


def test_older_agrees_with_deployed() -> None:
    """On older Pythons too the unit tests meet what is deployed, but for the programming model."""
    deployed, older = _lock("requirements").versions, _lock("requirements-older").versions
    model = {"azure-functions"}
    assert deployed.keys() <= older.keys()
    others = deployed.keys() - model
    assert {name: deployed[name] for name in others} == {name: older[name] for name in others}
    assert older["azure-functions"].startswith("1.")


def test_deployed_set_is_for_declared_python() -> None:
    """No marker drops the programming model where Python is too old for it: pip refuses then."""
    lock = _lock("requirements")
    assert f"--python-version {DECLARED} " in lock.text
    assert lock.versions["azure-functions"].startswith("2.")
    assert lock.markers["azure-functions"] == ""
    assert not [marker for marker in lock.markers.values() if "python_version" in marker]
    for name in ("requirements-run", "requirements-dev"):
        assert f"--python-version {DECLARED} " in _lock(name).text


def test_wanted_files_are_not_deployed() -> None:
    """Of the requirements, requirements.txt alone is published."""
    ignored = (ROOT / ".funcignore").read_text().split()
    files = {file.name for file in ROOT.glob("requirements*")} - {"requirements.txt"}
    assert files <= set(ignored)


def test_templates_read_declared_python() -> None:
    """The app in Azure runs the Python of .python-version."""
    template = (ROOT / "infra" / "app.bicep").read_text()
    assert "version: trim(loadTextContent('../.python-version'))" in template
