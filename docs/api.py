"""Writes docs/api.md, the page of what notebooks and programs may use, from the docstrings. Run by `make api`.

Signatures and docstrings are those that pdoc finds in the code.
"""

from importlib import import_module
from pathlib import Path
from textwrap import indent

import pdoc.doc
from jinja2 import Environment

import earmark

SECTIONS = {
    "The cache": [
        "cache.reader.open_cache",
        "cache.reader.Cache",
        "cache.store.Store",
        "cache.windows.labelled.LabelledWindows",
    ],
    "Features": [
        "featurize.features.logmel.logmel",
        "featurize.features.mfcc.mfcc",
        "featurize.features.raw.quantise",
    ],
    "Predictions": [
        "ensemble.predictions.open_predictions",
        "ensemble.predictions.PredictionsFolder",
        "ensemble.combine.geometric_mean",
        "ensemble.combine.combined_test_predictions",
        "ensemble.combine.combined_oof",
        "ensemble.optimise.fit_shares",
        "ensemble.metrics.accuracy",
        "ensemble.metrics.map3",
        "ensemble.metrics.best_labels",
        "ensemble.submission.submission",
        "ensemble.calibration.fit_temperature",
        "ensemble.calibration.tempered",
    ],
    "Tagging": ["tag.tagger.Tagger", "tag.timeline.Timeline"],
    "Figures": [f"report.plots.{name}" for name in earmark.plots.__all__],
}
_PAGE = """\
# From Python

What notebooks and programs may use, each under the name that it is imported by: `import earmark` for what begins
with it. [guide.ipynb](../guide.ipynb) shows it at work. `make api` writes this page from the docstrings.
{% for title, names in sections.items() %}
## {{ title }}
{% for item in map(found, names) %}
### {{ name_of(item) }}

```python
{{ stub(item) }}
```
{% endfor %}{% endfor %}"""
_SPECIAL = {"__call__", "__getitem__", "__len__"}  # methods that are used without their name


def found(name: str) -> pdoc.doc.Doc:
    """What has a dotted name."""
    module, _, own = name.rpartition(".")
    return pdoc.doc.Module(import_module(module)).get(own)


def name_of(item: pdoc.doc.Doc) -> str:
    """The shortest name to import it by."""
    for name in earmark.__all__:
        if getattr(earmark, name) is item.obj:
            return f"earmark.{name}"
    return item.fullname.replace("report.plots.", "earmark.plots.")


def stub(item: pdoc.doc.Doc) -> str:
    """A function, property or class as code that has docstrings and no bodies."""
    if isinstance(item, pdoc.doc.Function):
        return f"def {item.name}{item.signature}:\n{_docstring(item)}"
    if isinstance(item, pdoc.doc.Variable):
        return f"{item.name}{item.annotation_str}\n{_docstring(item)}"
    used = (member for member in item.own_members if member.docstring and _is_used(member))
    parts = [f"class {item.name}:\n{_docstring(item)}", *(indent(stub(member), "    ") for member in used)]
    return "\n\n".join(parts)


def _docstring(item: pdoc.doc.Doc) -> str:
    end = "\n" if "\n" in item.docstring else ""
    return indent(f'"""{item.docstring}{end}"""', "    ")


def _is_used(member: pdoc.doc.Doc) -> bool:
    return member.name in _SPECIAL or not member.name.startswith("_")


def page() -> str:
    """The page as Markdown."""
    template = Environment(keep_trailing_newline=True).from_string(_PAGE)
    return template.render(sections=SECTIONS, map=map, found=found, name_of=name_of, stub=stub)


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page())
