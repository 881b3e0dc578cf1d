"""What every command needs: whole files, one-line errors, tables and progress on a terminal."""

from common.errors import EarmarkError

__all__ = ["EarmarkError"]
