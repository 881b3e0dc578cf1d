"""The error that a user can mend."""

from collections.abc import Sequence


class EarmarkError(ValueError):
    """Wrong input or usage; the message is one line: what, the rule, the value found, what to do.

    Every room has its own subclass. A command prints the line, and those of `more` below it, and exits with code 2.
    """

    more: Sequence[str] = ()
