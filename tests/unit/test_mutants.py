"""The mutants of the mutation test, and the list of modules that it changes."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools.mutants import LIST, ROOT, modules
from tools.mutations import mutants


@pytest.mark.parametrize(
    ("statement", "changes"),
    [
        ("a < b", {"a <= b", "a >= b"}),
        ("a == b", {"a != b"}),
        ("a and b and c", {"b and c", "a and c", "a and b"}),
        ("not a", {"a"}),
        ("a + 1", {"a - 1", "a + 2"}),
        ("f(True, 'x', b'y')", {
            "f(False, 'x', b'y')", "f(True, 'xXX', b'y')", "f(True, 'x', b'yXX')",
        }),
        ("any(a)", {"all(a)"}),
        ("a.strip()", {"a"}),
        ("[a for a in b if c]", {"[a for a in b]"}),
        ("a if b else c", {"a if not b else c"}),
    ],
)  # fmt: skip
def test_each_operator_has_its_mutants(statement: str, changes: set[str]) -> None:
    """The mutator changes each expression once in each place, and in no other way."""
    found = {mutant.source for mutant in mutants("m", f"x = {statement}")}
    assert found == {f"x = {change}" for change in changes}


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        ("return f(a)", "return None"),
        ("a[b] = c", "pass"),
        ("raise E", "pass"),
        ("f(a)", "pass"),
        ("while a:\n        break", "while a:\n        pass"),
        ("if a:\n        pass", "if not a:\n        pass"),
        ("try:\n        pass\n    except (A, B):\n        pass",
         "try:\n        pass\n    except (A,):\n        pass"),
    ],
)  # fmt: skip
def test_statements_are_removed_or_return_nothing(body: str, changed: str) -> None:
    """One mutant of each statement removes the effect of the statement."""
    found = {mutant.source for mutant in mutants("m", f"def f():\n    {body}")}
    assert f"def f():\n    {changed}" in found


def test_docstrings_and_annotations_have_no_mutants() -> None:
    """Docstrings, annotations and decorators have no mutants."""
    source = '"""Text."""\n\n@d(a=True)\nclass C:\n    """Text."""\n    a: "x"\n'
    assert list(mutants("m", source)) == []


def test_key_stays_when_lines_move() -> None:
    """A mutant's key holds its function and its line's text, and a number if these repeat."""
    source = "def f(a):\n    return a[1]\n\nclass C:\n    b = [1, 1]\n"
    keys = [mutant.key for mutant in mutants("m", source)]
    assert keys == [
        "m.f | return a[1] | return None",
        "m.f | return a[1] | 1 -> 2",
        "m.C | b = [1, 1] | 1 -> 2",
        "m.C | b = [1, 1] | 1 -> 2 (#2)",
    ]
    assert [mutant.key for mutant in mutants("m", "import re\n\n\n" + source)] == keys


def test_mutant_replaces_its_module() -> None:
    """A process imports the mutant under the module's name, and `__file__` stays the same."""
    code = (
        "import sys; from pathlib import Path; from tools.mutants import Finder, ROOT\n"
        "sys.meta_path.insert(0, Finder(ROOT / 'shared/core/limits.py', 'MAX_MESSAGE_BYTES = 1'))\n"
        "from shared.core import limits, text; print(limits.MAX_MESSAGE_BYTES, limits.__file__)\n"
        "print(text.clip('abc', 2))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == [f"1 {ROOT / 'shared/core/limits.py'}", "a…"]


def test_every_pattern_names_modules() -> None:
    """Every pattern in the list matches a module, and each module has tests of its own."""
    settings = tomllib.loads(LIST.read_text())
    assert all(any(ROOT.glob(pattern)) for pattern in settings["files"])
    jobs = modules(settings)
    assert settings["tests"].keys() <= jobs.keys()
    assert [name for name, job in jobs.items() if len(job.parts) < 2] == []
    for name, tests in settings["tests"].items():
        assert [Path(test).stem for test in jobs[name].parts[0]] == sorted(
            f"test_{t}" for t in tests
        )
