"""The page of a comparison: one HTML file that needs no other file, no network and no script."""

import re
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple
from xml.etree import ElementTree

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from vaecli.config.texts import printable
from vaecli.report import formatting
from vaecli.report.comparable import several_quantities
from vaecli.report.curves import Curves
from vaecli.report.figures.curves import differences, progress
from vaecli.report.figures.defaults import matplotlib_defaults
from vaecli.report.figures.files import rendered
from vaecli.report.figures.forest import effects_forest, forest
from vaecli.report.figures.gradients import gradients
from vaecli.report.figures.learning_rates import learning_rates
from vaecli.report.figures.lost_runs import lost_runs
from vaecli.report.figures.style import MOST
from vaecli.report.glance import glance, question
from vaecli.report.heat_table import heat_table
from vaecli.report.map import map_of_comparison
from vaecli.report.model import Comparison
from vaecli.report.palette import ON_DARK, SHADES, VERDICTS
from vaecli.report.pictures import PictureRow

# The most rows of a table; beyond, a browser labours and nobody reads.
MOST_ROWS = 200

_TEMPLATES = resources.files("vaecli.report").joinpath("templates")

_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"


class Drawing(NamedTuple):
    """A figure of the page: its title, and its SVG."""

    title: str
    svg: Markup


def page(comparison: Comparison, curves: Curves, pictures: Sequence[PictureRow] = (), date: str = "") -> str:
    """Returns the HTML of a comparison.

    Args:
      comparison: what is shown.
      curves: what its variants logged over their epochs.
      pictures: those of its variants.
      date: the day of the comparison, as the page shows it.
    """
    lead, colon, clauses = comparison.answer.partition(": ")
    results = comparison.results
    answers = [result for result in results if not result.is_reference]
    ids = {result.label: f"answer-{place}" for place, result in enumerate(answers[:MOST_ROWS], 1)}
    map = map_of_comparison(comparison)
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            comparison=comparison,
            drawings=_drawings(comparison, curves),
            pictures=pictures,
            date=date,
            question=question(comparison),
            lead=lead + colon.rstrip(),
            clauses=f" {clauses}" if clauses else "",
            glance=glance(comparison),
            answers=answers[:MOST_ROWS],
            ids=ids if map else {},
            table=heat_table(map, lambda row, result: ids.get(result.label, "")) if map else None,
            compared=len(answers),
            results=results[:MOST_ROWS],
            runs=comparison.runs[:MOST_ROWS],
            total_runs=sum(result.runs for result in results),
            survivors=sum(result.survived for result in results),
            losses=[result for result in results if result.lost][:MOST_ROWS],
        )
    )


def environment() -> jinja2.Environment:
    """Returns what renders the templates of the pages."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _TEMPLATES.joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters |= {
        "number": formatting.number,
        "p": formatting.probability,
        "breakable": lambda label: Markup("<wbr>").join(re.split(r"(?<=[,=])", printable(label))),
        "breakable_name": lambda name: Markup("<wbr>").join(re.split(r"(?<=[_:,=])", printable(name))),
    }
    environment.globals |= {
        "dark": ON_DARK,
        "shades": SHADES,
        "verdicts": VERDICTS,
        "most": MOST,
        "most_rows": MOST_ROWS,
        "level": formatting.level,
        "interval": formatting.interval,
        "of_survivors": formatting.of_survivors,
        "effects_title": formatting.effects_title,
        "variable": _variable,
        "margin_above": lambda difference: formatting.rounded_up(difference.smallest_margin, difference.sd),
    }
    return environment


@matplotlib_defaults()
def _drawings(comparison: Comparison, curves: Curves) -> dict[str, Drawing | None]:
    """Draws all figures, by the names that the template has for them; None for one that there are no numbers for."""
    time = "steps" if comparison.of_logs else "epochs"
    figures = {
        "forest": ("Differences from the reference", forest(comparison)),
        "differences": (f"Differences over {time}", differences(comparison, curves)),
        "metric": (f"{comparison.metric} over steps", progress(comparison, curves, comparison.metric))
        if comparison.of_logs
        else ("", None),
        "elbo": ("ELBO over epochs", _progress(comparison, curves, "test/elbo")),
        "kl": ("KL over epochs", _progress(comparison, curves, "test/kl")),
        "snr": ("SNR of the gradient", gradients(comparison, curves, "snr")),
        "variance": ("Variance of the gradient", gradients(comparison, curves, "variance")),
        "rates": ("Metric against learning rate", learning_rates(comparison)),
        "survival": ("Survival of the runs", lost_runs(comparison)),
    }
    for place, grid in enumerate((comparison.effects or ())[:MOST], 1):
        title = formatting.effects_title(grid.label, grid.levels)
        figures[f"effects-{place}"] = title, effects_forest(comparison, grid)
    return {
        name: Drawing(title, inline(figure, name, title)) if figure else None
        for name, (title, figure) in figures.items()
    }


def _progress(comparison: Comparison, curves: Curves, tag: str) -> Figure | None:
    """Draws a metric over epochs, if it is one quantity for all variants or is the one that was asked for."""
    if comparison.of_logs:
        return None
    configs = [variant.config for variant in comparison.trained]
    apart = tag != comparison.metric and several_quantities(tag, configs)
    return None if apart else progress(comparison, curves, tag)


def inline(figure: Figure, name: str, title: str) -> Markup:
    """Returns a figure as an `<svg>` element to stand in a page.

    Args:
      figure: what is drawn.
      name: what is put before its ids, which makes them unique in the page.
      title: what a screen reader calls it.
    """
    root = ElementTree.fromstring(rendered(figure, "svg"))
    used = set(re.findall(r"url\(#([^)]+)\)", ElementTree.tostring(root, "unicode")))
    used |= {node.attrib[_LINK][1:] for node in root.iter() if _LINK in node.attrib}
    for parent in list(root.iter()):
        for child in list(parent):
            # A style element would apply to the whole page, and metadata to nothing.
            if child.tag in (f"{_SVG}style", f"{_SVG}metadata"):
                parent.remove(child)
    for node in root.iter():
        node.tag = node.tag.removeprefix(_SVG)
        if _LINK in node.attrib:
            node.attrib["href"] = f"#{name}-{node.attrib.pop(_LINK)[1:]}"
        for key, value in node.attrib.items():
            node.attrib[key] = _with_variables(re.sub(r"url\(#", f"url(#{name}-", value))
        if (old := node.attrib.pop("id", None)) in used:
            node.attrib["id"] = f"{name}-{old}"
    width, height = root.attrib.pop("width"), root.attrib.pop("height")
    root.attrib |= {"xmlns": _SVG[1:-1], "viewBox": f"0 0 {width.removesuffix('pt')} {height.removesuffix('pt')}"}
    # What has no colour of its own is black on paper, and light on a dark page.
    root.attrib |= {"fill": "currentColor"}
    root.attrib |= {"role": "img", "aria-label": title, "stroke-linejoin": "round", "stroke-linecap": "butt"}
    return Markup(ElementTree.tostring(root, "unicode", short_empty_elements=True))


def _with_variables(value: str) -> str:
    """Returns an attribute with each colour as a variable of the page, which has another value where it is dark."""
    return re.sub(r"#[0-9a-f]{6}\b", lambda match: f"var({_variable(match[0])}, {match[0]})", value)


def _variable(colour: str) -> str:
    return f"--ink-{colour[1:].lower()}"
