"""earmark from Python, and the installed command `earmark`.

    cache = earmark.open_cache("work/cache")          # stores of features, memory-mapped
    cache.waveform("x.wav"); cache.mfcc("x.wav")      # a clip's features by its name, or by its row in cache.clips
    cache.windows("raw", seconds=2.0)                 # windows with label ids, for Keras, PyTorch, scikit-learn
    earmark.mfcc(samples, sample_rate)                # the features, as functions on plain arrays
    tagger = earmark.Tagger.open("work")              # what was trained, on new recordings
    earmark.load_predictions("work/predictions_2d_conv")
    earmark.plots.confusion(...)                      # the report's figures

What a name stands for is imported when it is first used: only `Tagger` imports Keras.
"""

import runpy
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

_WHERE = {
    "Tagger": "tag.tagger",
    "Timeline": "tag.timeline",
    "load_predictions": "ensemble.predictions",
    "logmel": "featurize.features.logmel",
    "mfcc": "featurize.features.mfcc",
    "open_cache": "cache",
    "plots": "report.plots",
    "quantise": "featurize.features.raw",
}
_OWN_NAMES = {"load_predictions": "open_predictions"}  # where the other room has another name for it
COMMANDS = ("featurize", "train", "ensemble", "report", "tag", "cache")
_PACKAGES = (*COMMANDS, "common")

__all__ = ["COMMANDS", "main", *_WHERE]


def __getattr__(name: str) -> object:
    """Import what a name of this module stands for."""
    if name not in _WHERE:
        raise AttributeError(f"module earmark has no {name}; it has {', '.join(sorted(_WHERE))}")
    if name == "Tagger" and "keras" not in sys.modules:
        import_module("train.environment").started_keras()  # quietly
    module = import_module(_WHERE[name])
    return module if name == "plots" else getattr(module, _OWN_NAMES.get(name, name))


def __dir__() -> list[str]:
    return sorted(__all__)


def hidden_packages() -> list[str]:
    """The files that Python would import in place of packages of ours, such as a user's own cache.py."""
    here = Path(__file__).parent
    found = []
    for name in _PACKAGES:
        spec = find_spec(name)
        origin = Path(spec.origin or next(iter(spec.submodule_search_locations))) if spec else None
        if origin is not None and origin.resolve() != (here / name / "__init__.py").resolve():
            found.append(str(origin))
    return found


def refuse_hidden_packages() -> None:
    """End the command with one line where a file of the user's hides a package of ours."""
    if hidden := hidden_packages():
        print(
            f"earmark: {', '.join(hidden)}: hides a package of earmark's; run the command in another folder, or as "
            "`earmark NAME`, or rename the file",
            file=sys.stderr,
        )
        raise SystemExit(2)


def main() -> None:
    """`earmark NAME ...`: the same as `python -m NAME ...`, whatever files lie in the current folder."""
    names = ", ".join(COMMANDS)
    usage = f"usage: earmark {{{','.join(COMMANDS)}}} ...\n\nThe same as python -m NAME; each has a --help."
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(usage, file=sys.stderr if len(sys.argv) < 2 else sys.stdout)
        raise SystemExit(0 if len(sys.argv) > 1 else 2)
    name = sys.argv.pop(1)
    if name not in COMMANDS:
        print(f"earmark: command must be one of {names}, got {name!r}; see earmark --help", file=sys.stderr)
        raise SystemExit(2)
    root, here = str(Path(__file__).parent), ("", str(Path.cwd()))
    path = [place for place in sys.path if place not in here]
    # the packages of an editable install lie in none of these places, and would be found after the current folder's
    sys.path[:] = [*path, *([] if root in path else [root]), ""]
    refuse_hidden_packages()
    runpy.run_module(name, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
