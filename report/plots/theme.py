"""What all figures share: colours, axes, and their form in the page.

The colours are Okabe and Ito's, which colour-blind readers can tell apart. In the page, figures are inline SVG
whose colours are CSS variables, so that one figure serves the light and the dark theme; saved figures are on white.

Source: M. Okabe, K. Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/
"""

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from common.text import escaped

BLUE, ORANGE, GREEN, PINK = COLORS = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
INK, MUTED, GRID, PAPER = "#1d2331", "#5b6573", "#e3e6eb", "#ffffff"
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "line", PAPER: "paper"} | {
    color: f"c{number}" for number, color in enumerate(COLORS, 1)
}
_STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": matplotlib.cycler(color=COLORS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.titley": 1.0,  # given: finding it takes a tenth of the time
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "font.family": "sans-serif",
    "grid.linewidth": 0.6,
    "legend.edgecolor": "none",
    "legend.framealpha": 1,
    "legend.facecolor": PAPER,
    "svg.fonttype": "none",
    "xtick.bottom": False,
    "ytick.left": False,
    "text.parse_math": False,  # a label may have dollar signs
}
for _value, _names in {
    8: "axes.labelsize font.size legend.fontsize xtick.labelsize ytick.labelsize",
    INK: "axes.titlecolor text.color",
    MUTED: "axes.labelcolor legend.labelcolor xtick.labelcolor ytick.labelcolor",
    GRID: "axes.edgecolor grid.color xtick.color ytick.color",
}.items():
    _STYLE |= dict.fromkeys(_names.split(), _value)


@contextmanager
def theme() -> Iterator[None]:
    """Draw and save in the page's style inside the block.

    >>> with theme():
    ...     figure = Figure((3, 2))
    """
    with matplotlib.rc_context(_STYLE):
        yield


def axes_or_current(ax: Axes | None) -> Axes:
    """The axes to draw on: those given, or pyplot's current ones, as seaborn does it."""
    return pyplot.gca() if ax is None else ax


def name(label: object, most: int = 26) -> str:
    """A label for an axis: harmless, and not longer than so many characters.

    >>> name("a" * 30, most=5)
    'aaaa…'
    """
    text = escaped(label)
    return text if len(text) <= most else text[: most - 1] + "…"


def inline_svg(figure: Figure, salt: str, alternative: str) -> str:
    """A figure as an <svg> element for the page.

    Args:
        salt: another one for each figure, so that no two elements of the page share an id.
        alternative: what a reader who does not see the figure is told.
    """
    file = io.StringIO()
    with matplotlib.rc_context():
        matplotlib.rcParams["svg.hashsalt"] = salt
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"""font-family: [^;"]*;? ?| transform="rotate\(-0 [^"]*\)\"""", "", svg)
    svg = re.sub(r' d="[^"]*"', lambda match: re.sub(r"(?<=\.\d)\d+", "", match[0]).replace("\nL ", "L"), svg)
    svg = re.sub(r">\s+<", "><", svg).replace("<g/>", "")
    svg = re.sub(r"#[0-9a-f]{6}", lambda match: _variable(match[0]), svg)
    svg = re.sub(r"data:image/png;base64,\s*([^\"]*)", lambda match: _jpeg(match[1]), svg)
    width = figure.get_figwidth() * 96
    head = f'<svg role="img" aria-label="{escape(alternative)}" style="--w:{width:.0f}px" viewBox'
    return re.sub(r"<svg.*?viewBox", lambda match: head, svg, count=1, flags=re.DOTALL)


def save(figure: Figure, folder: Path, file_name: str) -> None:
    """Write a figure as PNG and SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("png", "svg"):
        figure.savefig(folder / f"{file_name}.{suffix}", dpi=160, facecolor=PAPER)


def _variable(color: str) -> str:
    return f"var(--{_VARIABLES[color]})" if color in _VARIABLES else color


def _jpeg(png: str) -> str:
    """A picture inside a figure, in a tenth of the bytes."""
    file = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
