"""The page of a comparison: one HTML file that needs no other file, no network and no script."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any
from xml.etree import ElementTree

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from vaecli.report import formatting
from vaecli.report.figures import curves as curve_figures
from vaecli.report.figures import endpoints
from vaecli.report.figures.plots import drawn
from vaecli.report.figures.style import MOST, VERDICTS

# Rows of a table; beyond, a browser labours and nobody reads.
MOST_ROWS = 200

_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"


def page(report: Mapping[str, Any], curves: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The HTML of a comparison.

    Args:
      report: what `vae compare --json` prints.
      curves: for each label and tag, `epochs`, `seeds` and `values`, (seeds, epochs) with None for what is missing.
    """
    draw: dict[str, tuple[str, Callable[[], Figure | None]]] = {
        "forest": ("Differences from the reference", lambda: endpoints.forest(report)),
        "differences": ("Differences over epochs", lambda: curve_figures.differences(report, curves)),
        "elbo": ("ELBO over epochs", lambda: curve_figures.progress(report, curves, "test/elbo")),
        "kl": ("KL over epochs", lambda: curve_figures.progress(report, curves, "test/kl")),
        "snr": ("SNR of the gradient", lambda: curve_figures.gradients(report, curves, "snr")),
        "variance": ("Variance of the gradient", lambda: curve_figures.gradients(report, curves, "variance")),
        "rates": ("Metric against learning rate", lambda: endpoints.learning_rates(report)),
        "survival": ("Survival of the runs", lambda: endpoints.lost_runs(report)),
    }
    svg = {}
    for name, (title, make) in draw.items():
        figure = make()
        svg[name] = (title, inline(figure, name, title)) if figure else None
    settings = report["settings"]
    answers = [setting for setting in settings if not setting["is_reference"]]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {
        "number": formatting.number,
        "p": formatting.probability,
        "spread": formatting.level,
        "interval": formatting.interval,
    }
    environment.filters["breakable"] = lambda label: Markup(",<wbr>").join(label.split(","))
    template = resources.files("vaecli.report").joinpath("page.html.jinja").read_text("utf-8")
    return environment.from_string(template).render(
        report=report,
        svg=svg,
        verdicts=VERDICTS,
        answers=answers[:MOST_ROWS],
        compared=len(answers),
        heads=len({setting["settings"]["param"] for setting in settings}),
        counts=Counter(setting["verdict"] for setting in answers),
        settings=settings[:MOST_ROWS],
        runs=report["runs"][:MOST_ROWS],
        total_runs=sum(setting["runs"] for setting in settings),
        survivors=sum(setting["survived"] for setting in settings),
        losses=[setting for setting in settings if setting["lost"]][:MOST_ROWS],
        most=MOST,
        most_rows=MOST_ROWS,
    )


def inline(figure: Figure, name: str, title: str) -> Markup:
    """A figure as an `<svg>` element to stand in a page.

    Args:
      figure: what is drawn.
      name: put before its ids, which are unique in the page therefore.
      title: what a screen reader calls it.
    """
    root = ElementTree.fromstring(drawn(figure, "svg"))
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
            node.attrib[key] = re.sub(r"url\(#", f"url(#{name}-", value)
        if (old := node.attrib.pop("id", None)) in used:
            node.attrib["id"] = f"{name}-{old}"
    width, height = root.attrib.pop("width"), root.attrib.pop("height")
    root.attrib |= {"xmlns": _SVG[1:-1], "viewBox": f"0 0 {width.removesuffix('pt')} {height.removesuffix('pt')}"}
    root.attrib |= {"role": "img", "aria-label": title, "stroke-linejoin": "round", "stroke-linecap": "butt"}
    return Markup(ElementTree.tostring(root, "unicode", short_empty_elements=True))
