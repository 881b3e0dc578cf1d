import importlib.util
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other Pythons write some signatures in other words")
def test_the_page_says_what_the_docstrings_say_now():
    spec = importlib.util.spec_from_file_location("api", DOCS / "api.py")
    api = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(api)
    assert (DOCS / "api.md").read_text() == api.page(), "run `make api`"
