"""The picture of the demo's output: `docs/images/demo.svg`."""

import re
from pathlib import Path

from rich.console import Console

_COLUMNS = 80

# Width by height of a character: that of most monospaced fonts.
_ASPECT_RATIO = 0.602

# rich's own format loads a font from another host. This one uses the fonts of the machine.
# The members in braces are those that `Console.export_svg` fills in.
_FORMAT = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" \
aria-labelledby="title description">
<title id="title">make demo</title>
<desc id="description">The output of make demo in a terminal: the deliveries with their responses, \
and the queues with their messages.</desc>
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
}}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" \
clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix" xml:space="preserve">
{matrix}
</g>
</g>
</svg>
"""


def recorder() -> Console:
    """A console that prints, and remembers what it prints for `save`."""
    return Console(record=True, width=_COLUMNS)


def save(recorded: Console, file: Path) -> None:
    """Writes what `recorded` has printed to `file`, as SVG."""
    svg = recorded.export_svg(
        title="make demo",
        code_format=_FORMAT,
        font_aspect_ratio=_ASPECT_RATIO,
        unique_id="demo",
    )
    # An element for each line break shows nothing. A line for each other text keeps diffs short.
    svg = re.sub(r"<text [^>]*>\s*</text>", "", svg).replace("</text><text ", "</text>\n<text ")
    lines = [line.strip() for line in svg.splitlines()]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(filter(None, lines)) + "\n", "utf-8")
