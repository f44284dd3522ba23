"""The conventions of CONTRIBUTING.md that ruff cannot check."""

import ast
import re
import shutil
import subprocess

import pytest

from tests.support.documents import ROOT

_MAX_NAME_WORDS = 6
_MAX_DOCSTRING_WORDS = 25
_MAX_MODULE_LINES = 250
_MAX_TEST_MODULE_LINES = 400

_CODE = ("AcrReconcile", "AcrWebhook", "Health", "QueueDepth", "shared", "tools", "tests")
_LOCK_FILES = re.compile(r"package-lock\.json|requirements(?:-\w+)?\.txt")

# Words that docs/glossary.md replaces.
_OLD_WORDS = re.compile(r"\b(?:the road|last net|whoever|told|shown again)\b", re.IGNORECASE)

# Lines that quote such words, each with its reason.
_QUOTATIONS = {
    f'_OLD_WORDS = re.compile(r"{_OLD_WORDS.pattern}", re.IGNORECASE)': "the pattern itself",
}


def _modules(*folders: str) -> list[str]:
    """The Python modules in `folders`, as paths from the root of the project."""
    files = (file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    return sorted(file.relative_to(ROOT).as_posix() for file in files)


def _tests(module: str) -> list[tuple[str, str | None]]:
    """The test functions of a module, those in classes too, with their docstrings."""
    tree = ast.parse((ROOT / module).read_bytes())
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    return [
        (node.name, ast.get_docstring(node))
        for body in bodies
        for node in body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    ]


def _is_sentence(docstring: str | None) -> bool:
    """Whether a docstring is one sentence that is not too long."""
    text = " ".join((docstring or "").split())
    inner_ends = re.findall(r"[.!?][\"'`)]* (?=\S)", text)
    return text.endswith(".") and not inner_ends and len(text.split()) <= _MAX_DOCSTRING_WORDS


@pytest.mark.parametrize("name", [each for each in _modules("tests") if "/test_" in each])
def test_test_functions_follow_the_conventions(name: str) -> None:
    """A test function has a name of at most six words, and one sentence as its docstring."""
    tests = _tests(name)
    words = {test: len(test.removeprefix("test_").split("_")) for test, _ in tests}
    assert {test: count for test, count in words.items() if count > _MAX_NAME_WORDS} == {}
    assert [each for each in tests if not _is_sentence(each[1])] == []


@pytest.mark.parametrize("name", _modules(*_CODE))
def test_modules_are_short(name: str) -> None:
    """No module has over 250 lines, and no module in tests/ over 400."""
    limit = _MAX_TEST_MODULE_LINES if name.startswith("tests/") else _MAX_MODULE_LINES
    assert len((ROOT / name).read_text().splitlines()) <= limit


def test_tracked_files_use_the_vocabulary() -> None:
    """No tracked file has a word that the glossary replaces, except where a quotation is listed."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed, so the tracked files are not known")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    names = [name for name in listed.stdout.decode().split("\0") if name]
    if "pyproject.toml" not in names:
        pytest.skip(f"git does not track this folder: {listed.stderr.decode().strip()}")
    found = [
        f"{name}:{number}: {line.strip()}"
        for name in names
        if not _LOCK_FILES.fullmatch(name) and (ROOT / name).is_file()
        # An image is no text. What it decodes to has none of the words.
        for number, line in enumerate((ROOT / name).read_text(errors="replace").splitlines(), 1)
        if _OLD_WORDS.search(line) and line.strip() not in _QUOTATIONS
    ]
    assert found == []
