"""The page: sections of text, figures and tables, made into one HTML file that needs nothing else.

A section is a list of blocks, plain dicts that the template knows by their keys: a figure has svg, a table columns,
a row of figures figures, cards of clips cards, a part that folds part, the confusion matrix matrix, a paragraph
text. Names from outside are escaped twice: what steers a terminal or a reading direction by `escaped`, HTML by
the template; and a policy in the page lets no script run but its own, and no request out.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.text import escaped
from report.plots import theme
from report.plots.theme import inline_svg, save

Block = dict[str, Any]
_CARD_IN = 3.4, 1.6  # width, and height of a row, of an example's figure


class Figures:
    """Draws figures for the page, and writes them to a folder where one is given."""

    def __init__(self, folder: Path | None = None):
        self._folder = folder
        self._cards: dict[int, Figure] = {}  # by how many axes they have

    @property
    def saves(self) -> bool:
        """Whether figures are also written to a folder."""
        return self._folder is not None

    def block(
        self, title: str, size: tuple[float, float], caption: str, draw: Callable[..., Axes], *data: Any
    ) -> Block:
        """One figure as a block.

        Args:
            size: inches. caption: what it shows, in words that do without it. draw: of `report.plots`, called with
                data and axes.
        """
        with theme():
            figure = Figure(size, layout="constrained")
            draw(*data, ax=figure.subplots())
            return {"title": title, "caption": caption, "svg": self._svg(figure, title, f"{title}. {caption}")}

    def card(self, name: str, alternative: str, draws: Sequence[Callable[[Axes], Axes]]) -> Markup:
        """The figure of an example: up to four axes, two in a row, each drawn by one of draws."""
        with theme():
            if len(draws) not in self._cards:
                n_rows = (len(draws) + 1) // 2
                self._cards[len(draws)] = figure = Figure((_CARD_IN[0], n_rows * _CARD_IN[1]))
                for ax in figure.subplots(n_rows, 2, squeeze=False).flat[len(draws) :]:
                    ax.set_axis_off()
                bottom, top = 0.39 / figure.get_figheight(), 1 - 0.25 / figure.get_figheight()
                figure.subplots_adjust(0.14, bottom, 0.985, top, 0.38, 0.6)
            card = self._cards[len(draws)]
            for draw, ax in zip(draws, card.axes, strict=False):
                for artist in (*ax.lines, *ax.collections, *ax.images):
                    artist.remove()  # not `clear`: making new axes and ticks would take most of the time
                draw(ax)
                ax.xaxis.set_label_coords(0.5, -0.23)  # given, so that no text is measured to find them
                ax.yaxis.set_label_coords(-0.25, 0.5)
            return self._svg(card, name, alternative)

    def _svg(self, figure: Figure, name: str, alternative: str) -> Markup:
        file_name = re.sub(r"[^a-z0-9]+", "-", escaped(name).lower()).strip("-")[:80]
        if self._folder is not None:
            save(figure, self._folder, file_name)
        return Markup(inline_svg(figure, file_name, escaped(alternative)))


def table(title: str, rows: pd.DataFrame, columns: str, titled: bool = True) -> Block:
    """A table as a block.

    Args:
        columns: of rows, in order, with " | " between, each "column", "column:format" or "column:format:heading".
            A format is text, clip (a row number or a list of them, shown as names with players), share (0 to 1,
            with a bar), or one for a number such as ",.2f". titled: whether the title is seen, or only read out.

    >>> table("Labels", pd.DataFrame({"n": [1200]}), "n:,d:clips")["rows"][0][0]["text"]
    '1,200'
    """
    parts = [column.split(":", 2) for column in columns.split(" | ")]
    names, headings = [part[0] for part in parts], [part[2] if len(part) > 2 else part[0] for part in parts]
    formats = [part[1] if len(part) > 1 else "text" for part in parts]
    kinds = [{"clip": "files", "text": "text", "share": "share"}.get(how, "number") for how in formats]
    lines = rows[names].astype(object).itertuples(index=False, name=None)
    cells = [[_cell(*cell) for cell in zip(line, kinds, formats, strict=True)] for line in lines]
    return {"title": title, "titled": titled, "columns": list(zip(headings, kinds, strict=True)), "rows": cells}


def _cell(value: Any, kind: str, how: str) -> Block:
    cell: Block = {"text": "", "sort": None, "share": None, "clips": None}
    if kind == "files":
        return cell | {"clips": [int(row) for row in np.atleast_1d(np.asarray(value, dtype=np.int64))]}
    if kind == "text":
        return cell | {"text": escaped(value)}
    if value is None or pd.isna(value):
        return cell | {"text": "-", "sort": ""}
    if kind == "share":
        return cell | {"text": f"{value:.1%}", "sort": round(float(value), 6), "share": round(float(value), 4)}
    shown = "-∞" if value == -np.inf else format(value, how)
    return cell | {"text": shown, "sort": -1e9 if value == -np.inf else value}


def side_by_side(*blocks: Block) -> Block:
    """Figures side by side, as far as the page is wide."""
    return {"figures": blocks}


def text(line: str, command: str = "", hint: bool = False) -> Block:
    """A paragraph, with a command to give where there is one."""
    return {"text": line, "command": command, "hint": hint}


def section(name: str, title: str, blocks: list[Block]) -> Block:
    """A section, with the name that links to it have."""
    return {"id": name, "title": title, "blocks": blocks}


def part(title: str, blocks: list[Block], is_open: bool = True) -> Block:
    """Blocks under a heading of their own that folds."""
    return {"part": escaped(title), "blocks": blocks, "open": is_open}


def json_for_script(values: Any) -> Markup:
    r"""Values as JSON that can stand inside a <script> element: nothing in it ends the element or opens another.

    >>> print(json_for_script(["</script>"]))
    ["\u003c/script\u003e"]
    """
    dumped = json.dumps(values, separators=(",", ":"), allow_nan=False)
    return Markup(re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", dumped))


def render(
    title: str,
    subtitle: str,
    facts: Sequence[tuple[str, str, str]],
    sections: Sequence[Block],
    names: Sequence[str],
    data: dict[str, Any],
    footer: str,
) -> str:
    """The page's HTML.

    Args:
        facts: name, value and a note each. sections: of `section`. names: of the clips, by row.
        data: for the script, see `report.content.data_for_script`.
    """
    folder = files("report") / "template"
    page, css, script = ((folder / f"page.{end}").read_text("utf-8") for end in ("html", "css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        f"form-action 'none'; script-src 'sha256-{digest}'"
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(page).render(
        title=title,
        subtitle=escaped(subtitle),
        facts=facts,
        sections=sections,
        names=[escaped(name) for name in names],
        data=json_for_script(data),
        footer=escaped(footer),
        policy=policy,
        css=Markup(css),
        script=Markup(script),
    )
