"""`python -m tools`."""

from tools.cli import app
from tools.cli.output import write_any_character

write_any_character()
app(prog_name="python -m tools")
