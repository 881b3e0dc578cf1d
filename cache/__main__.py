"""`python -m cache ls | info | verify | rm | compact | pack | unpack`."""

import os
import sys
from typing import Annotated

import tyro
from tyro.conf import subcommand

from cache.commands.compact import Compact
from cache.commands.info import Info
from cache.commands.ls import Ls
from cache.commands.pack import Pack
from cache.commands.rm import Rm
from cache.commands.unpack import Unpack
from cache.commands.verify import Verify
from cache.errors import CacheError

_COMMANDS = (
    Annotated[Ls, subcommand("ls")]
    | Annotated[Info, subcommand("info")]
    | Annotated[Verify, subcommand("verify")]
    | Annotated[Rm, subcommand("rm")]
    | Annotated[Compact, subcommand("compact")]
    | Annotated[Pack, subcommand("pack")]
    | Annotated[Unpack, subcommand("unpack")]
)


def main() -> int:
    """Parse, run, and turn errors into one line and an exit code."""
    description = (
        "Look after a feature cache. Exit codes: 0 done, 1 verify found something, 2 wrong input or usage, "
        "130 stopped by Ctrl-C."
    )
    config = (tyro.conf.FlagCreatePairsOff,)
    try:
        command = tyro.cli(_COMMANDS, prog="python -m cache", description=description, config=config)
        lines = command.run()
        while True:
            print(next(lines), flush=True)
    except StopIteration as end:
        return end.value
    except BrokenPipeError:
        return _reader_is_gone()
    except CacheError as error:
        print(f"cache: {error}", file=sys.stderr)
    except OSError as error:
        print(f"cache: {error.filename or command.folder()}: {error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("cache: stopped; run the same command again", file=sys.stderr)
        return 130
    return 2


def _reader_is_gone() -> int:
    """End as a command that a closed pipe kills: quietly, as the shell's 128 + SIGPIPE."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


if __name__ == "__main__":
    sys.exit(main())
