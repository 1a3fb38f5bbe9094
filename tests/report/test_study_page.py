"""The page of a study: one file of HTML in which every cell of the map leads to its evidence."""

import dataclasses
import html.parser
import re

import pytest
from helpers import browser
from helpers.maps import comparison, study

from vaecli.report.curves import study_curves
from vaecli.report.findings import findings, one_family
from vaecli.report.map import map_of_study
from vaecli.report.page import page
from vaecli.report.study_page import study_page

HEADS = ("logstd", "logprec", "softplus_std", "softplus_square", "natural", "<b>$x$&")
LOST = [("natural", seed) for seed in range(6)]


def conditions():
    effects = dict.fromkeys(HEADS, 0.0)
    return {
        "default": comparison(effects, epochs=4),
        "narrow-start": comparison({**effects, "logprec": -33.0, "softplus_square": 1.2}, lost=LOST, epochs=4),
        "f16": comparison({**effects, "logstd": 0.4}, lost=[("logvar", 7)], epochs=1),
        "not yet": comparison({"logstd": 0.0, "logprec": -0.7}),
    }


@pytest.fixture(scope="module")
def made():
    one = study(conditions(), invalid={"f16": "matched logstd is not exactly 0"}, why="A reason of its own.", family=30)
    return dataclasses.replace(one, warnings=["a warning"], notes=["a note of the study"])


@pytest.fixture(scope="module")
def markup(made):
    curves, warnings = study_curves(made)
    assert warnings == []
    commands = {
        one.name: {result.label: [f"vae train --param '{result.label}'"] for result in one.comparison.results}
        for one in made.conditions
    }
    return study_page(made, curves, commands, "2026-11-27")


class Reader(html.parser.HTMLParser):
    """Tags, ids, links, and the text of every element that has an id."""

    VOID = frozenset({"meta", "wbr", "br"})

    def __init__(self, markup):
        super().__init__()
        self.tags, self.ids, self.links, self.open, self.text = [], [], [], [], []
        self.within = {}
        self.feed(markup)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append((tag, dict(attrs).get("id")))

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for key, value in attrs if key == "id"]
        self.links += [value for key, value in attrs if key in ("href", "src", "xlink:href")]
        assert not any(key.startswith("on") for key, _ in attrs)

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.text.append(data)
        for _, id in self.open:
            if id:
                self.within[id] = self.within.get(id, "") + data


def words(text):
    return re.sub(r"\s+", " ", text)


def test_page_is_one_file_of_html(markup):
    reader = Reader(markup)
    assert not {"script", "link", "iframe", "object", "img"} & set(reader.tags)
    assert len(set(reader.ids)) == len(reader.ids)
    assert all(link.startswith("#") and link[1:] in reader.ids for link in reader.links)
    assert set(re.findall(r"url\(#([^)]+)\)", markup)) <= set(reader.ids)
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg\")", markup)
    assert reader.tags.count("style") == reader.tags.count("main") == reader.tags.count("h1") == 1


def test_every_cell_opens_its_evidence(made, markup):
    reader = Reader(markup)
    (table,) = re.findall(r'<div class="scroll heat".*?</table>', markup, re.DOTALL)
    links = re.findall(r'<td class="([\w-]+)"><a href="#([\w-]+)">', table)
    results = [result for one in made.conditions for result in one.comparison.results if result.reference]
    # A row for each condition, in the order of the heads.
    assert len(links) == len(results) == 6 * 3 + 2
    for (_, id), result in zip(links, results, strict=True):
        evidence = words(reader.within[id])
        assert result.sentence in evidence
        assert result.label in evidence
        assert f"{result.survived} of {result.runs} runs survived" in evidence
        assert f"vae train --param '{result.label}'" in evidence
        for reason in result.lost.values():
            assert reason in evidence
    styles = [style for style, _ in links]
    assert styles.count("heat-invalid") == 6
    assert "heat-worse-3" in styles
    # An empty cell for each head that was not trained.
    assert table.count("<td></td>") == 4
    assert table.count('scope="row"') == 4
    assert table.count('scope="col"') == len(HEADS) + 2


def test_page_says_what_was_found_and_for_what_it_stands(made, markup):
    map = map_of_study(made)
    text = words("".join(Reader(markup).text))
    for part in findings(map).split(". "):
        assert part.rstrip(".") in text
    assert one_family(map) in text
    for word in ("a warning", "a note of the study", "A reason of its own.", "matched logstd is not exactly 0"):
        assert word in text
    assert "logvar 1/8 lost" in text


def test_curves_are_drawn_where_there_are_any(made, markup):
    drawn = re.findall(r'aria-label="Differences of (.*?) over epochs (\d+) to (\d+)"', markup)
    # Those of `not yet` were not logged.
    assert len(drawn) == 6 * 3
    assert {last for _, _, last in drawn} == {"4", "1"}
    points = re.findall(r'<polyline class="mean" points="([^"]*)"', markup)
    assert all(0 <= float(y) <= 60 for line in points for y in re.findall(r",(-?[\d.]+)", line))


def test_a_study_without_runs_of_a_condition_or_with_one_only():
    one = comparison({"logstd": 0.0})
    alone = dataclasses.replace(one, results=[result for result in one.results if result.is_reference])
    bare = study_page(study({"a": one, "b": alone}), {}, {})
    assert "There are no runs to compare yet." in words("".join(Reader(bare).text))
    # Nor does it need curves or commands.
    assert "<polyline" not in bare
    assert bare.count('<li id="condition') == 1


# A quarter of it has a quarter of the size.
@pytest.mark.parametrize("conditions", [3, pytest.param(12, marks=pytest.mark.long)])
def test_the_page_of_a_thousand_runs_is_small(conditions):
    heads = {f"head_{number}": 0.1 * number for number in range(10)}
    one = comparison(heads, seeds=9, epochs=6)
    many = study({f"condition-{number}": one for number in range(conditions)})
    assert 12 * sum(result.runs for result in one.results) >= 1000
    curves, _ = study_curves(many)
    command = "vae train " + 30 * "--setting value "
    commands = {one.name: {head: [command] for head in heads} for one in many.conditions}
    assert len(study_page(many, curves, commands).encode()) < 2_000_000 * conditions / 12


def test_a_comparison_with_a_map_has_it_on_its_page():
    one = comparison(dict.fromkeys(HEADS[:2], 0.0))
    results = [
        dataclasses.replace(
            result,
            label=f"{result.label},lr={lr}",
            values={**result.values, "lr": lr},
            reference=f"{result.reference},lr={lr}" if result.reference else None,
        )
        for lr in (0.001, 0.01)
        for result in one.results
    ]
    both = dataclasses.replace(one, results=results, varies=["param", "lr"])
    markup = page(both, {})
    reader = Reader(markup)
    assert all(link[1:] in reader.ids for link in reader.links)
    (table,) = re.findall(r'<div class="scroll heat".*?</table>', markup, re.DOTALL)
    links = re.findall(r'<a href="#(answer-\d)">', table)
    assert len(links) == 4
    compared = [result for result in results if result.reference]
    for id, result in zip(links, compared, strict=True):
        assert result.sentence in words(reader.within[id])
    assert "heat" not in re.sub("<style>.*</style>", "", page(one, {}), flags=re.DOTALL)


LAYOUT = """(() => ({
  scroll: document.documentElement.scrollWidth,
  row: document.querySelector('.heat tbody th').getBoundingClientRect().left,
  small: Math.min(...[...document.querySelectorAll('.heat td a')].map(a => a.getBoundingClientRect().height)),
  first: document.querySelector('.heat').getBoundingClientRect().top,
}))()"""


@pytest.mark.skipif(browser.executable() is None, reason="no Chromium")
def test_page_in_a_browser(markup, tmp_path):
    path = tmp_path / "study.html"
    path.write_text(markup, encoding="utf-8")
    with browser.Browser() as tab:
        tab.open(path)
        for size in (browser.PHONE, browser.DESKTOP):
            tab.size(*size)
            layout = tab.evaluate(LAYOUT)
            assert layout["scroll"] <= size[0]
            # A cell is large enough for a finger (WCAG 2.2, 2.5.8).
            assert layout["small"] >= 24
            # The name of a condition stays where it is when the heads are scrolled.
            tab.evaluate("document.querySelector('.heat').scrollLeft = 200")
            assert tab.evaluate(LAYOUT)["row"] >= 0
            tab.evaluate("document.querySelector('.heat').scrollLeft = 0")
        tab.evaluate("document.querySelector('.heat td a').click()")
        assert -2 < tab.wait("document.querySelector(':target')?.getBoundingClientRect().top") < browser.DESKTOP[1]
        colour = "getComputedStyle(document.querySelector('.heat-worse-3')).backgroundColor"
        shades = []
        for scheme in ("light", "dark"):
            tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            shades.append(tab.evaluate(colour))
        assert shades == ["rgb(198, 88, 7)", "rgb(251, 129, 58)"]
        assert [request for request in tab.requests if not request.startswith("data:")] == [path.as_uri()]
        assert not tab.messages
