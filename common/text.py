"""Text for a terminal: names from outside made harmless, short lists, tables, durations and sizes."""

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

_NARROWEST = 8  # that a table shortens a column to
_NAMED = 8  # names that a line gives before it only counts
_HARMFUL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, direction marks, lone surrogates, line ends


def escaped(text: object) -> str:
    r"""Text with everything that could steer a terminal written as in JSON.

    >>> print(escaped("\x1b[2Jrain\n.wav"))
    \u001b[2Jrain\u000a.wav
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _HARMFUL else c for c in text)


def listed(names: Iterable[object], most: int = _NAMED) -> str:
    """Names with commas between, at most so many of them, and how many more there are.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(escaped, names[:most])) + more


def table(
    header: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[int] = (), width: int | None = None
) -> list[str]:
    """The lines of a table whose columns are as wide as they need to be.

    Args:
        right: numbers of the columns that are aligned to the right.
        width: that lines must not exceed; unless given, the terminal's where standard output is one, else none. The
            cells of the widest columns that are aligned to the left are shortened in the middle to keep it.

    >>> print(*table(["net", "folds"], [["conv1d", 10]], right=[1]), sep="\\n")
    net     folds
    conv1d     10
    """
    lines, right = [[escaped(cell) for cell in line] for line in (header, *rows)], set(right)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if width is None and sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
    left = [column for column in range(len(widths)) if column not in right]
    while width and left and sum(widths) + 2 * (len(widths) - 1) > width:
        widest = max(left, key=widths.__getitem__)
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return [
        "  ".join(
            cell.rjust(space) if column in right else _shortened(cell, space).ljust(space)
            for column, (cell, space) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def help_text(text: str) -> str:
    """A command's description for a terminal of 80 columns; paragraphs are set apart by empty lines.

    tyro wraps none of it, and joins lines but for those that begin with a space.

    >>> print(help_text("a b " * 30 + "\\n\\nc\\nd"))
    a b a b a b a b a b a b a b a b a b a b a b a b a b a b a b a b a b a b a b a b
     a b a b a b a b a b a b a b a b a b a b
    <BLANKLINE>
    c d
    """
    return "\n\n".join(textwrap.fill(part, 79, subsequent_indent=" ") for part in text.split("\n\n"))


def duration(seconds: float) -> str:
    """Seconds in words, to the second or the minute.

    >>> duration(75), duration(7260)
    ('1 min 15 s', '2 h 01 min')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def megabytes(n_bytes: float) -> str:
    """Bytes in words.

    >>> megabytes(12_345_678)
    '12.3 MB'
    """
    return f"{n_bytes / 1e6:,.1f} MB"


def _shortened(cell: str, width: int) -> str:
    """A cell of at most width characters: its beginning and its end, which tell paths apart."""
    if len(cell) <= width:
        return cell
    end = (width - 1) * 2 // 3
    return f"{cell[: width - 1 - end]}…{cell[-end:]}"


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
