"""The code of the pages runs, and prints what they say."""

import doctest
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize(("page", "least"), [("python.md", 20), ("any-logs.md", 4)])
def test_the_code_of_a_page(tmp_path, monkeypatch, page, least):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text()
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    test = doctest.DocTestParser().get_doctest(code, {}, page, None, 0)
    complaints = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=complaints.append)
    assert not complaints, "".join(complaints)
    assert len(test.examples) > least
