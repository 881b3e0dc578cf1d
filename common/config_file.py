"""Flags from a TOML file, `--config FILE.toml`, and the file that repeats a run.

Keys are the flags' names: `epochs = 40`, `batch-size = 8` or `batch_size = 8`, `features = "logmel"`. A flag that
takes None on the command line takes the text "None" here. What the file says takes the place of the flags'
defaults, so the command line wins.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from common.errors import EarmarkError

_RULES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path in quotes"}


class ConfigError(EarmarkError):
    """A --config file that cannot be used."""


class Flag(NamedTuple):
    """What a key of the file stands for: a field of a dataclass of flags, and its type."""

    field: str
    kind: Any


def flags_of(*groups: type) -> dict[str, Flag]:
    """The flags of dataclasses that tyro parses, by key: the name that `tyro.conf.arg` gives, or the field's."""
    found = {}
    for group in groups:
        kinds, annotated = get_type_hints(group), get_type_hints(group, include_extras=True)
        for field in fields(group):
            names = [getattr(more, "name", None) for more in getattr(annotated[field.name], "__metadata__", ())]
            key = next((name for name in names if name), field.name.replace("_", "-"))
            found[key] = Flag(field.name, kinds[field.name])
    return found


def read_config(arguments: Sequence[str], flags: Mapping[str, Flag], once: Iterable[str] = ()) -> dict[str, Any]:
    """What the file says that the command line's --config names, by field; {} where it names none.

    Args:
        flags: the keys that there are. once: those that only the command line may give.
    Raises:
        ConfigError: the file cannot be read or is no TOML, an unknown key, or a value of another type.
    """
    if (path := _path(arguments)) is None:
        return {}
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a TOML file with --config") from error
    except (ValueError, RecursionError) as error:  # bytes that are no text are a ValueError too
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path}: must be TOML, lines such as epochs = 40, got an error: {reason}") from error
    found = {}
    for written, value in values.items():
        key = written.replace("_", "-")
        if key in once:
            raise ConfigError(f"{path}: {written} is for one run, on the command line; remove it from the file")
        if key not in flags:
            close = get_close_matches(key, flags, 1)
            hint = f"did you mean {close[0]}?" if close else "see --help for the flags"
            raise ConfigError(f"{path}: {written!r} must be the name of a flag; {hint}")
        if flags[key].field in found:
            raise ConfigError(f"{path}: {written} must be there once, got it twice; remove one")
        found[flags[key].field] = _converted(value, flags[key].kind, f"{path}: {written}")
    return found


def filled(group: type, values: Mapping[str, Any]) -> Any:
    """A dataclass of flags, with those of some values, by field, that are its own."""
    return group(**{field.name: values[field.name] for field in fields(group) if field.name in values})


def config_text(title: str, groups: Iterable[type], values: Mapping[str, Any]) -> str:
    """The TOML of some flags, each group under what its docstring says; read_config gives the values back.

    Args:
        title: a comment. values: by field; flags that are not among them are left out.
    """
    lines = [f"# {title}"]
    for group in groups:
        own = {key: values[flag.field] for key, flag in flags_of(group).items() if flag.field in values}
        if own:
            about = (group.__doc__ or "").partition("\n")[0]
            lines += ["", f"# {about}", *(f"{key} = {_toml(value)}" for key, value in own.items())]
    return "\n".join(lines) + "\n"


def _path(arguments: Sequence[str]) -> str | None:
    """The last --config of a command line, which is the one that counts."""
    found = None
    for number, argument in enumerate(arguments):
        if argument == "--config" and number + 1 < len(arguments):
            found = arguments[number + 1]
        elif argument.startswith("--config="):
            found = argument.partition("=")[2]
    return found


def _converted(value: Any, kind: Any, what: str) -> Any:
    if value == "None" and type(None) in get_args(kind):
        return None
    try:
        return msgspec.convert(value, kind, dec_hook=lambda wanted, given: wanted(given))
    except (msgspec.ValidationError, TypeError) as error:
        got = "a table" if isinstance(value, dict) else _toml(value)[:80]
        raise ConfigError(f"{what} must be {_rule(kind)}, got {got}; correct it") from error


def _rule(kind: Any) -> str:
    """What a value must be, in words."""
    if get_origin(kind) is Literal:
        return " or ".join(f'"{value}"' for value in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        *kinds, none = sorted(get_args(kind), key=lambda part: part is type(None))
        return " or ".join([*map(_rule, kinds), '"None"' if none is type(None) else _rule(none)])
    if get_origin(kind) is tuple:
        return f"a list, in which each is {_rule(get_args(kind)[0])}"
    return _RULES[kind]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")  # a text of TOML is one of JSON
