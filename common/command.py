"""How every command begins, speaks and ends.

Results go to standard output and everything else to standard error, each line escaped, since lines name files and
labels from outside. Exit codes: 0 done, 1 done but something failed, 2 wrong input or usage, 130 stopped by Ctrl-C
or SIGTERM, 141 the reader of a pipe is gone. Nobody sees a traceback unless they ask for it with --debug.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence

from common.errors import EarmarkError
from common.text import escaped

DONE, SOME_FAILED, WRONG, STOPPED, READER_GONE = 0, 1, 2, 130, 141
_DEBUG = "--debug"


class Command:
    """One command at work: its name, what it says, and how it ends."""

    def __init__(self, name: str, resume: str = "rerun the command"):
        """name: the package's, before every line on standard error. resume: what to do after Ctrl-C."""
        self.name, self.resume = name, resume

    def say(self, line: str) -> None:
        """Write one line to standard error."""
        print(f"{self.name}: {escaped(line)}", file=sys.stderr, flush=True)

    @staticmethod
    def result(lines: str | Sequence[str]) -> None:
        """Write lines of a result to standard output."""
        for line in [lines] if isinstance(lines, str) else lines:
            print(escaped(line), flush=True)

    def run(self, act: Callable[[list[str]], int], arguments: Sequence[str] | None = None) -> int:
        """Call act with the arguments of the command line; every way in which it can end becomes an exit code.

        Args:
            act: parses its arguments, works, and returns an exit code; raises EarmarkError for what a user can
                mend. arguments: those of this process unless given; --debug is taken out of them.
        """
        arguments = list(sys.argv[1:] if arguments is None else arguments)
        debug = _DEBUG in arguments
        given = [argument for argument in arguments if argument != _DEBUG]
        _prepare()
        try:
            code = act(given)
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            return _reader_is_gone()
        except KeyboardInterrupt:
            self.say(f"stopped; {self.resume}")
            return STOPPED
        except Exception as error:
            if debug:
                traceback.print_exc()
            for line in (in_one_line(error, debug), *getattr(error, "more", ())):
                self.say(line)
            return WRONG


def in_one_line(error: Exception, debug: bool = False) -> str:
    """What a user is told of an error."""
    if isinstance(error, EarmarkError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    if isinstance(error, MemoryError):
        return "not enough memory; free some, or ask for less at a time"
    text = " ".join(str(error).split()) or "no message"
    more = "" if debug else "; give --debug for the traceback"
    return f"unexpected {type(error).__name__}: {text[:300]}{more}"


def ctrl_c_ends_at_once() -> None:
    """Let Ctrl-C just end the process while libraries are imported; `Command.run` puts the interrupt back."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _prepare() -> None:
    if os.environ.get("NO_COLOR"):
        import tyro  # it does not hear NO_COLOR; only here, as Ctrl-C must work while a command imports it

        tyro._experimental_options["ansi_codes"] = False
    for stream in (sys.stdout, sys.stderr):  # a terminal without UTF-8 shows escapes for what it cannot show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _reader_is_gone() -> int:
    """End as a command that a closed pipe kills: quietly, as the shell's 128 + SIGPIPE."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READER_GONE
