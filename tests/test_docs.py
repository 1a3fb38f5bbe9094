"""The code of the pages runs, and prints what they say."""

import doctest
import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_on_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "python.md").read_text()
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    test = doctest.DocTestParser().get_doctest(code, {}, "python.md", None, 0)
    complaints = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=complaints.append)
    assert not complaints, "".join(complaints)
    assert len(test.examples) > 20
