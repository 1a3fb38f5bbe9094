"""The page of a comparison and its figures, on made-up runs: as HTML, and in a browser."""

import html.parser
import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import browser
from helpers.outcomes import write
from matplotlib.figure import Figure
from PIL import Image

from vaecli.cli.next_runs import next_commands
from vaecli.report.compare import compare
from vaecli.report.curves import Curve
from vaecli.report.figures.curves import differences
from vaecli.report.figures.files import rendered
from vaecli.report.figures.forest import forest
from vaecli.report.figures.gradients import BLOCKS, gradients
from vaecli.report.figures.style import MOST, plain, shown, window, wrapped
from vaecli.report.model import BestRate, Comparison, Difference, Provenance, Question, RateRow, RunRow, VariantResult
from vaecli.report.page import MOST_ROWS, page
from vaecli.report.palette import GREY, GRID, ON_DARK, WHITE
from vaecli.report.pictures import picture_rows
from vaecli.report.statistics import adjust, paired_t_test, smallest_margins, verdict

HOSTILE = "<script>alert(1)</script>$x$&"
HEADS = ("logvar", "logstd", "softplus_square", "tanh_logstd", "natural", "exp_capped", "sigmoid_std", HOSTILE)
EFFECTS = (0.0, 0.03, 0.4, -60.0, 0.7, -0.2, 0.05, -0.6)


def fabricate(heads=HEADS, effects=EFFECTS, *, seeds=5, epochs=11, lost=("exp_capped",), grid=True, logged=True):
    """A comparison and its curves, as `vae compare` makes them, of runs that nobody trained."""
    rng = np.random.default_rng(3)
    luck = rng.normal(0, 0.3, seeds)
    time = np.arange(epochs)
    results, runs, curves = [], [], {}
    values = {}
    for head, effect in zip(heads, effects, strict=True):
        ends = -105.4 + luck + effect + rng.normal(0, 0.2, seeds)
        gone = {1: "gradient of scale_head is not finite at step 120"} if head in lost and seeds > 1 else {}
        elbo = ends[:, None] - 440 * np.exp(-1.6 * time) - 9 * np.exp(-time / 3)
        kl = 25 - 20 * np.exp(-time) + 0.1 * luck[:, None] + 0 * elbo
        scalars = {"test/elbo": elbo, "test/kl": kl}
        for number, block in enumerate(BLOCKS):
            scalars[f"grad/snr/{block}"] = 0.6 + 0.1 * number + 0.05 * rng.normal(size=elbo.shape)
            noise = 10.0 ** (len(head) % 4 - 4 * number + 0.1 * rng.normal(size=elbo.shape))
            scalars[f"grad/variance/{block}"] = noise
        for array in scalars.values():
            array[list(gone), epochs // 2 :] = math.nan
        curves[head] = {tag: Curve(tuple(range(seeds)), time.astype(float), array) for tag, array in scalars.items()}
        values[head] = {seed: float(ends[seed]) for seed in range(seeds) if seed not in gone}
        results.append(fabricate_result(head, heads[0], values, gone, seeds))
        for seed in range(seeds):
            value = values[head].get(seed)
            other = values[heads[0]].get(seed)
            difference = None if None in (value, other) or head == heads[0] else value - other
            status = "diverged" if seed in gone else "complete"
            runs.append(RunRow(f"runs/headline/{head}/seed{seed}", head, seed, status, value, difference))
    chosen = {seed: 0.003 if seed == 1 else 0.001 for seed in range(seeds)}
    comparison = Comparison(
        answer=fabricate_answer(heads),
        metric="test/elbo",
        unit="nats per image",
        direction=1,
        margin=0.5,
        alpha=0.05,
        at="best-lr" if grid else "each",
        reference=heads[0],
        allow_mixed=False,
        varies=["param"],
        epochs=epochs - 1,
        variants=[],
        results=results,
        runs=runs,
        best_rates={head: BestRate(0.001, -104.2, head == "natural", 1, chosen) for head in heads} if grid else None,
        rate_grid=fabricate_grid(heads, effects, seeds, lost) if grid else [],
        provenance=Provenance(
            versions={"python": "3.11.7", "jax": "0.10.2", "vaecli": "0.1.0"},
            git_commit=None,
            devices=["cpu"],
            data_sha256={"train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"},
            folders=["runs/headline"],
            commands=["vae compare runs/headline --margin 0.5 --html report.html"],
        ),
        warnings=["1 directory skipped: runs/headline/old/seed0 is still running"],
    )
    return comparison, curves if logged else {}


def fabricate_answer(heads):
    return (
        f"Yes, for 2 of {len(heads) - 1} heads compared with {heads[0]}: {heads[-1]} is worse by 31 nats per image; "
        f"{heads[1]} and 4 others make no difference that matters (less than 0.5)."
    )


def fabricate_result(head, reference, values, gone, seeds):
    """What came of a head, given the values of the survivors by head and seed."""
    kept = list(values[head].values())
    result = VariantResult(
        label=head,
        values={"param": head},
        reference=None,
        is_reference=head == reference,
        seeds=list(range(seeds)),
        runs=seeds,
        survived=len(kept),
        lost=gone,
        mean=float(np.mean(kept)),
        sd=float(np.std(kept, ddof=1)) if len(kept) > 1 else None,
        difference=None,
        unpaired=[],
        chaos_floor=0.06 if seeds > 1 else None,
        seeds_needed=None,
        verdict="reference",
        paths=[f"runs/headline/{head}/seed{seed}" for seed in range(seeds)],
        sentence=f"{head} is the reference.",
    )
    if head == reference:
        return result
    common = [seed for seed in values[head] if seed in values[reference]]
    test = paired_t_test(*([side[seed] for seed in common] for side in (values[head], values[reference])), margin=0.5)
    (family,) = adjust([test], 0.05)
    concluded = verdict(test, family, alpha=0.05, floor=None, direction=1)
    left = f"{len(kept)} of {seeds} runs survived"
    return replace(
        result,
        reference=reference,
        difference=Difference(
            **test._asdict(),
            p_holm=family.p_difference,
            p_equivalence_holm=family.p_equivalence,
            p_beyond_holm=family.p_beyond,
            smallest_margin=smallest_margins([test], 0.05)[0],
            p_survival=None,
            p_survival_holm=None,
            survival=0.0,
            survival_low=-0.4,
            survival_high=0.4,
        ),
        verdict=concluded,
        seeds_needed=12 if concluded == "undecided" and test.sd is not None else None,
        sentence=f"{head} is {concluded}: {test.mean:+.2f} nats from {reference}, {left}.",
    )


def fabricate_grid(heads, effects, seeds, lost):
    rates = [0.0001, 0.0003, 0.001, 0.003, 0.01]
    rows = []
    for head, effect in zip(heads, effects, strict=True):
        mean = [-105 + effect - 3 * math.log10(rate / 0.001) ** 2 for rate in rates]
        survived = [seeds] * 5
        if head in lost:
            mean[-1], survived = None, [seeds, seeds, seeds, seeds - 1, 0]
        rows.append(RateRow(head, rates, mean, [None] * 5, survived, [seeds] * 5))
    return rows


def full():
    """All that a page can show, of four heads: the reference, one far from it, one with a lost run, and an odd name."""
    places = 0, 3, 5, 7
    return fabricate([HEADS[place] for place in places], [EFFECTS[place] for place in places])


def minimal():
    return fabricate(HEADS[:2], EFFECTS[:2], seeds=1, lost=(), grid=False, logged=False)


# More than tables have rows, and than figures have panels.
VARIANTS = MOST_ROWS + 50


def huge():
    """As many variants as nobody should compare, each with a long label."""
    fields = [
        f"head_{number % 7},lr={0.001 * number:g},optimizer=adamw,weight_decay=0.0001" for number in range(VARIANTS)
    ]
    effects = [0.001 * (number % 400) for number in range(VARIANTS)]
    comparison, curves = fabricate(fields, effects, seeds=2, epochs=3, lost=(fields[3], fields[200]))
    # As many panels and dots again as there are of the ELBO would say no more, and take as long.
    return comparison, curves | {label: {"test/elbo": curves[label]["test/elbo"]} for label in fields[2:]}


def patchy():
    """Whatever may be missing is missing somewhere."""
    comparison, curves = fabricate()
    reference, first, second, third, *others = comparison.results
    first = replace(first, difference=None, mean=None, sd=None, survived=0, chaos_floor=None)
    second = replace(second, difference=Difference(1, 0.3, *[None] * 15, 0.0, -0.4, 0.4))
    third = replace(third, reference=None, difference=None, verdict="no reference")
    lost_line = replace(comparison.rate_grid[1], mean=[None] * 5, survived=[0] * 5)
    comparison = replace(
        comparison,
        epochs=None,
        unit="",
        reference=HOSTILE,
        results=[reference, first, second, third, *others],
        rate_grid=[comparison.rate_grid[0], lost_line, *comparison.rate_grid[2:]],
    )
    del curves[HEADS[4]]["grad/snr/encoder"], curves[HEADS[5]]
    for logged in curves[HEADS[6]].values():
        logged.values[:] = math.nan
    curves[HEADS[7]]["test/elbo"] = Curve(tuple(range(5)), np.zeros(0), np.zeros((5, 0)))
    curves["logstd"]["test/elbo"].values[0, 3] = math.nan
    curves["logstd"]["grad/variance/decoder"].values[:] = 0.0
    return comparison, curves


def test_the_block_of_a_likelihoods_scale_is_drawn_where_there_is_one():
    comparison, curves = fabricate()
    figure = gradients(comparison, curves, "snr")
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(BLOCKS)
    curves["logstd"]["grad/snr/decoder_scale"] = curves["logstd"]["grad/snr/decoder"]
    figure = gradients(comparison, curves, "snr")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [*BLOCKS, "decoder_scale"]


MADE = {"full": full, "minimal": minimal, "huge": huge, "patchy": patchy}


@pytest.fixture(scope="module")
def made():
    """Comparisons and their curves, which nothing changes."""
    return {name: make() for name, make in MADE.items()}


@pytest.fixture(scope="module")
def pages(made):
    return {name: page(*of_name) for name, of_name in made.items()}


@pytest.fixture(scope="module")
def readers(pages):
    return {name: Reader(markup) for name, markup in pages.items()}


class Reader(html.parser.HTMLParser):
    """Tags, ids, attributes that load something, and text by element; complains about what is not closed."""

    VOID = frozenset({"meta", "br", "wbr", "link", "img", "input", "hr"})
    PICTURE = "data:image/png;base64,"

    def __init__(self, markup):
        super().__init__()
        self.tags, self.ids, self.loads, self.text, self.open = [], [], [], [], []
        self.feed(markup)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for key, value in attrs if key == "id"]
        loads = [value for key, value in attrs if key in ("src", "href", "xlink:href", "data", "action")]
        self.loads += [value for value in loads if not (tag == "img" and value.startswith(self.PICTURE))]
        assert not any(key.startswith("on") for key, _ in attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("name", MADE)
def test_page_is_one_file_of_html(pages, readers, name):
    reader = readers[name]
    assert not {"script", "link", "iframe", "object"} & set(reader.tags)
    # A link leads to an id of the same page, which no other element has.
    assert len(set(reader.ids)) == len(reader.ids)
    assert all(load.startswith("#") and load[1:] in reader.ids for load in reader.loads)
    assert set(re.findall(r"url\(#([^)]+)\)", pages[name])) <= set(reader.ids)
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg\")", pages[name])
    assert reader.tags.count("style") == reader.tags.count("main") == reader.tags.count("h1") == 1


@pytest.mark.parametrize("name", MADE)
def test_page_says_every_answer_as_it_stands(made, readers, name):
    comparison, _ = made[name]
    text = re.sub(r"\s+", " ", "".join(readers[name].text))
    answers = [result for result in comparison.results if not result.is_reference]
    assert comparison.answer in text
    for result in answers[:MOST_ROWS]:
        assert result.sentence in text
        assert result.label in text
    for word in (*comparison.warnings, *comparison.provenance.commands):
        assert word in text
    assert text.count("more are left out here") == (3 if name == "huge" else 0)
    assert ("All 2 runs survived." in text) == (name == "minimal")
    assert (f"Figures show {MOST} of {VARIANTS} variants" in text) == (name == "huge")


@pytest.mark.parametrize("name", MADE)
def test_page_has_every_figure_that_there_are_numbers_for(pages, name):
    svg = [ElementTree.fromstring(markup) for markup in re.findall(r"<svg .*?</svg>", pages[name], re.DOTALL)]
    names = ["Differences from the reference", "Differences over epochs", "ELBO over epochs", "KL over epochs"]
    names += ["SNR of the gradient", "Variance of the gradient", "Metric against learning rate", "Survival of the runs"]
    assert [figure.attrib["aria-label"] for figure in svg] == (names[:1] if name == "minimal" else names)
    assert all(figure.attrib["role"] == "img" for figure in svg)
    # No text is a formula, or what is left of one that was averted.
    texts = [node.text for figure in svg for node in figure.iter() if node.tag.endswith("text")]
    assert texts
    assert not any("\\" in text for text in texts if text)
    assert (plain(HOSTILE, 20).replace("\\", "") in texts) == (name in ("full", "patchy"))


def test_forest_keeps_an_outlier_from_hiding_the_others():
    comparison, _ = fabricate()
    figure = forest(comparison)
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    assert -2.5 < low < -0.5
    assert 0.5 < high < 2.5
    texts = [text.get_text() for text in axes.texts]
    # Its number stands beside the axis, and so beside the margin.
    (beside,) = [text for text in axes.texts if text.get_text() == "◀ −60"]
    figure.draw_without_rendering()
    assert beside.get_window_extent().x1 <= axes.get_window_extent().x0
    assert beside.get_window_extent().x0 >= 0
    assert "4/5 survived" in texts
    assert plain(HOSTILE) in texts


def test_window():
    near = [0.1 * number for number in range(-5, 6)]
    low, high = window([*near, -60.0, math.nan])
    assert (low, high) == pytest.approx((-0.56, 0.56))
    # One that lies apart does not take one with it that need not be cut.
    low, high = window([*near, -2.0, -60.0])
    assert -3 < low < -2
    # Without outliers, all is within.
    low, high = window([*near, 2.0])
    assert high > 2
    assert window([], (-1.0, 1.0)) == pytest.approx((-1.12, 1.12))
    low, high = window([3.0, 3.0])
    assert low < 3 < high
    assert np.isfinite(window([])).all()


def test_differences_are_paired_at_each_epoch():
    """Against the numbers that made the curves, at the last epoch."""
    comparison, curves = fabricate()
    figure = differences(comparison, curves)
    assert figure is not None
    panels = dict(zip([result.label for result in comparison.results[1:]], figure.axes, strict=True))
    for result in comparison.results[1:]:
        drawn_line = [line for line in panels[result.label].lines if len(line.get_xdata()) == 11]
        assert len(drawn_line) == 1
        last = curves[result.label]["test/elbo"].values[:, -1]
        first = curves["logvar"]["test/elbo"].values[:, -1]
        wanted = np.mean([a - b for a, b in zip(last, first, strict=True) if not math.isnan(a)])
        assert drawn_line[0].get_ydata()[-1] == pytest.approx(wanted, abs=1e-9)
    assert np.ptp(figure.axes[0].get_ylim()) < 5


def test_shown_variants_have_their_references():
    one = fabricate()[0].results[1]
    results = [
        replace(one, label=str(number), reference="99" if number < 99 else None, verdict="equivalent")
        for number in range(100)
    ]
    labels = [result.label for result in shown(results)]
    assert len(labels) == MOST
    assert (labels[0], labels[-1]) == ("0", "99")
    # Those that a reader looks for are among them.
    results[50:98] = [replace(result, verdict="different") for result in results[50:98]]
    assert [result.label for result in shown(results)] == [*map(str, range(50, 73)), "99"]


def test_labels_are_drawn_as_they_stand():
    assert plain("a$x$b") == r"a\$x\$b"
    assert plain("a\x00\nb 漢") == "a b □"
    assert plain("abcdefghij", 5) == "ab…ij"
    assert wrapped("logvar", 10) == "logvar"
    assert wrapped("softplus_square,lr=0.001", 16) == "softplus_square,\nlr=0.001"
    # What Matplotlib makes of it: never a formula, whatever the dollars.
    labels = [HOSTILE, "$", r"\$x$", "a$b", "$$", r"$\frac{1}{2}$", "<&>\"'"]
    figure = Figure()
    for label in labels:
        figure.text(0.5, 0.5, plain(label))
    texts = [node.text for node in ElementTree.fromstring(rendered(figure, "svg")).iter() if node.tag.endswith("text")]
    assert texts == labels


def test_where_a_line_ends_off_the_scale_is_written_beyond_the_margin():
    figure = differences(*fabricate())
    figure.draw_without_rendering()
    (note,) = [text for axes in figure.axes for text in axes.texts if "ends at" in text.get_text()]
    assert note.get_text().startswith("↓ ends at −6")
    margin = note.axes.transData.transform([(0, -0.5)])[0, 1]
    assert note.get_window_extent().y1 < margin


def test_colours_can_be_read_on_a_dark_page(pages):
    """Every colour of a figure has another one there; text has a contrast of 4.5, lines one of 3 (WCAG 2.2)."""

    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    paper = luminance(ON_DARK[WHITE])
    contrast = {colour: (luminance(dark) + 0.05) / (paper + 0.05) for colour, dark in ON_DARK.items()}
    assert min(ratio for colour, ratio in contrast.items() if colour not in (WHITE, GRID, GREY)) > 4.5
    assert contrast[GREY] > 3
    used = set(re.findall(r"var\(--ink-[0-9a-f]{6}, (#[0-9a-f]{6})\)", pages["full"] + pages["patchy"]))
    assert used <= {colour.lower() for colour in ON_DARK}
    # None is left that is the same on every page.
    for markup in re.findall(r"<svg .*?</svg>", pages["full"], re.DOTALL):
        assert not re.search(r"(?<!, )#[0-9a-f]{6}\b", markup)


# The widest thing that sticks out, and every figure's box.
MEASURE = """(() => {
  const boxes = [...document.querySelectorAll('figure svg')].map(svg => {
    const box = svg.getBoundingClientRect();
    const beyond = [...svg.querySelectorAll('text')].filter(text => {
      const inner = text.getBoundingClientRect();
      return inner.left < box.left - 1 || inner.right > box.right + 1 || inner.bottom > box.bottom + 1;
    }).map(text => text.textContent);
    const small = Math.min(...[...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect().height));
    return {name: svg.getAttribute('aria-label'), left: box.left, right: box.right, height: box.height, beyond, small};
  });
  return {width: innerWidth, scroll: document.documentElement.scrollWidth, boxes};
})()"""


# What is written over something else: pairs of texts whose lines overlap by more than a pixel or two.
OVERLAPS = """(() => {
  const lines = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.data.trim() || getComputedStyle(node.parentElement).visibility === 'hidden') continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const scroll = node.parentElement.closest('.scroll')?.getBoundingClientRect();
    for (const box of range.getClientRects()) {
      const right = scroll ? Math.min(box.right, scroll.right) : box.right;
      // A line of text is taller than its letters.
      const slack = 0.2 * box.height;
      const text = node.data.trim().slice(0, 40);
      const line = {left: box.left, right, top: box.top + slack, bottom: box.bottom - slack, text, node};
      if (right - box.left > 1) lines.push(line);
    }
  }
  lines.sort((a, b) => a.top - b.top);
  const over = [];
  lines.forEach((one, place) => {
    for (let next = place + 1; next < lines.length && lines[next].top < one.bottom - 1; next++) {
      const other = lines[next];
      if (other.node !== one.node && one.left < other.right - 1.5 && other.left < one.right - 1.5)
        over.push([one.text, other.text]);
    }
  });
  return over;
})()"""

# What can be read without scrolling.
FIRST_SCREEN = """(() => {
  const words = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const box = range.getBoundingClientRect();
    if (box.height && box.bottom <= innerHeight) words.push(walker.currentNode.data);
  }
  return words.join(' ');
})()"""

# A4 without its margins, in CSS pixels.
PAPER = (688, 1000)


def emulate(tab, medium, scheme):
    tab.call("Emulation.setEmulatedMedia", media=medium, features=[{"name": "prefers-color-scheme", "value": scheme}])


@pytest.mark.skipif(browser.executable() is None, reason="no Chromium")
def test_page_in_a_browser(pages, study, tmp_path):
    with browser.Browser() as tab:
        for name, markup in {**pages, "study": study}.items():
            path = tmp_path / f"{name}.html"
            path.write_text(markup, encoding="utf-8")
            tab.requests.clear()
            tab.open(path)
            for size in [(390, 844), (1280, 900)] + [browser.PHONE] * (name == "full"):
                emulate(tab, "screen", "light")
                tab.size(*size)
                check_layout(tab.evaluate(MEASURE), size, name, markup)
                assert tab.evaluate(OVERLAPS) == [], (name, size)
                if name == "study":
                    check_questions(tab.evaluate(FIRST_SCREEN))
            emulate(tab, "screen", "dark")
            ink = "getComputedStyle(document.querySelector('#figure-forest text')).fill"
            assert tab.evaluate(ink) == "rgb(232, 232, 232)"
            if name != "huge":
                # Paper is white, whatever the screen is.
                emulate(tab, "print", "dark")
                tab.size(*PAPER)
                assert tab.evaluate(ink) == "rgb(0, 0, 0)"
                assert tab.evaluate(OVERLAPS) == [], name
                assert tab.evaluate("document.documentElement.scrollWidth") <= PAPER[0], name
            assert [request for request in tab.requests if not request.startswith("data:")] == [path.as_uri()]
            assert not tab.messages


def check_layout(measured, size, name, markup):
    assert measured["width"] == size[0]
    assert measured["scroll"] <= size[0], name
    assert len(measured["boxes"]) == markup.count("<svg ")
    assert len(measured["boxes"]) >= (1 if name in ("minimal", "study") else 8)
    for box in measured["boxes"]:
        assert 0 <= box["left"] < box["left"] + 50 < box["right"] <= size[0], (name, box)
        assert box["height"] > 50, (name, box)
        assert not box["beyond"], (name, box)
        assert box["small"] > 8, (name, box)


# The questions of docs/page.md, and what of the first screen answers each.
QUESTIONS = {
    "What was asked?": r"Does it matter how the encoder’s variance is parameterised\?",
    "What is the answer?": r"Yes, for 1 of 4 heads compared with logvar",
    "By how much?": r"abs_std is worse by 3\d nats per image",
    "Which head is best?": r"None is shown to be better than logvar",
    "What should I use?": r"logvar, or logprec or logstd, which make no difference that matters\. Not abs_std\.",
    "Can it be trusted?": r"6 seeds of each, paired; 29 of 30 runs survived; at most 5 % risk",
    "What was measured, on which data?": r"test ELBO after 10 epochs on MNIST, in nats per image; higher is better",
    "Which difference matters?": r"A difference of 0\.5 nats per image or more matters",
    "What should I run next?": r"vae sweep --param logvar natural .*--seed 6 --seeds \d+",
    "When was it made, and where is more?": r"2026-11-26.*1 warning.*below.*vae docs statistics",
}


def check_questions(screen):
    words = re.sub(r"\s+", " ", screen)
    for asked, answer in QUESTIONS.items():
        assert re.search(answer, words), (asked, words)


def test_the_questions_are_those_of_the_documentation():
    text = (Path(__file__).parents[2] / "docs" / "page.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (.*?\?) \|", text, re.MULTILINE) == list(QUESTIONS)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The page of five heads, as `vae compare` makes it of their runs, with pictures."""
    runs = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(3)
    luck = -105 + rng.normal(0, 0.3, 6)
    heads = {"logvar": (0, 0.02), "logstd": (0, 0.02), "logprec": (0.1, 0.02), "abs_std": (-33, 2), "natural": (0, 1)}
    picture = np.zeros((56, 448), np.uint8)
    for head, (mean, sd) in heads.items():
        for seed, value in enumerate(luck + rng.normal(mean, sd, 6)):
            lost = (head, seed) == ("abs_std", 2)
            path = write(
                runs, None if lost else value, param=head, seed=seed, status="diverged" if lost else "complete"
            )
            if head != "natural" and not lost:
                folder = path / "pictures"
                folder.mkdir()
                Image.fromarray(np.kron(picture, np.ones((2, 2), np.uint8))).save(folder / "samples_epoch0010.png")
                Image.fromarray(picture).save(folder / "reconstructions_epoch0010.png")
    comparison = compare([runs], Question()).with_warnings(["a warning"])
    comparison = replace(comparison, next_commands=next_commands(comparison, []))
    return page(comparison, {}, picture_rows(comparison), "2026-11-26")


def test_page_is_the_same_each_time(pages):
    assert page(*minimal()) == pages["minimal"]


def test_page_has_the_pictures_of_the_runs(study):
    assert study.count('<img src="data:image/png;base64,') == 2 * 4
    assert "its runs have none" in study
