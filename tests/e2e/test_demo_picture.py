"""What the demo prints is what README.md and its picture show."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.apps import copy_with_azurite
from tests.support.documents import block
from tests.support.pictures import IMAGES, terminal_lines

_RECORD = "python -m tools demo --picture docs/images/demo.svg"


def test_demo_prints_documented_output(tmp_path: Path) -> None:
    """`make demo` prints exactly what README.md and docs/images/demo.svg show."""
    result = subprocess.run(
        [sys.executable, "-m", "tools", "demo"],
        cwd=copy_with_azurite(tmp_path),
        # A terminal as wide as the output in the documents, without colors.
        env={"PATH": os.environ["PATH"], "COLUMNS": "80", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    printed = [line.rstrip() for line in result.stdout.splitlines()]
    command, *documented = block("README.md", "console", "make demo").splitlines()
    assert command == "$ make demo"
    assert printed == documented
    assert printed == terminal_lines(IMAGES / "demo.svg"), f"Record it again: {_RECORD}"
