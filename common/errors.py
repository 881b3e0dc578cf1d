"""The error that a user can mend."""


class EarmarkError(ValueError):
    """Wrong input or usage; the message is one line: what, the rule, the value found, what to do.

    Every room has its own subclass. A command prints the line and exits with code 2.
    """
