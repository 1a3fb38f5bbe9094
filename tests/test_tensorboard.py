"""Runs and bands as a person sees them: a real TensorBoard in a browser, started once."""

import io
import subprocess
import sys

import numpy as np
import pytest
from helpers import browser, outcomes
from PIL import Image

from vaecli import Config
from vaecli.cli import hints
from vaecli.report.bands import bands, event_files
from vaecli.report.compare import compare
from vaecli.report.model import Question
from vaecli.runs.directory import run_path
from vaecli.runs.hparams import RunFacts
from vaecli.runs.logdir import write_logdir
from vaecli.runs.run_events import TensorBoardWriter

pytestmark = pytest.mark.skipif(browser.executable() is None, reason="no Chromium")

HEADS = {"logvar": 0.0, "abs_std": -6.0}
FACTS = RunFacts(["lr"], "MNIST ba891046", [*HEADS, *(f"head{k}" for k in range(12))])

# The elements of every shadow root, those within one of them, and what a person reads.
SHADOWS = """
const all = root => [...root.querySelectorAll('*')].flatMap(e => e.shadowRoot ? [e, ...all(e.shadowRoot)] : [e]);
const named = name => all(document).filter(e => e.localName === name);
const within = (e, selector) => all(e.shadowRoot ?? e).filter(i => i.matches(selector));
const seen = e => { const box = e.getBoundingClientRect(); return box.width > 0 && box.height > 0; };
const words = selector => all(document).filter(e => e.matches(selector) && seen(e)).map(e => e.textContent.trim());
"""


def scalars(head, seed, epoch):
    elbo = -105 + HEADS[head] - 20 / (1 + epoch) + 0.5 * seed
    return {"test/elbo": elbo, "test/kl": 25.0 + seed, "grad/unit_snr": 0.3 - 0.02 * epoch, "grad/snr/decoder": 2.0}


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    """Two heads of three seeds at one rate, as runs and as bands."""
    folder = tmp_path_factory.mktemp("logs")
    picture = io.BytesIO()
    Image.fromarray(np.full((20, 30), 200, np.uint8)).save(picture, "PNG")
    for head in HEADS:
        for seed in range(3):
            config = Config(param=head, seed=seed, epochs=4, lr=0.01)
            log = [{"step": 10 * epoch, "epoch": epoch, **scalars(head, seed, epoch)} for epoch in range(5)]
            outcomes.write(
                folder / "outcomes", scalars(head, seed, 4)["test/elbo"], log=log, param=head, seed=seed, epochs=4
            )
            path = run_path(folder / "runs", config, ["lr"])
            path.mkdir(parents=True)
            writer = TensorBoardWriter(path, config, {}, FACTS)
            for epoch in range(5):
                values = np.linspace(0.1, 1 + 0.1 * epoch, 50)
                writer.write(10 * epoch, epoch, scalars(head, seed, epoch), {"posterior/sigma": values})
            writer.write_picture(40, "prior/samples", picture.getvalue())
            writer.end("complete")
            writer.close()
    comparison = compare([folder / "outcomes"], Question())
    made, warnings = bands(comparison)
    assert not warnings
    write_logdir("--tensorboard", folder / "bands", event_files(comparison, made, 1e9))
    return folder


SERVE = """
import sys
from tensorboard import program
for folder in sys.argv[1:]:
    board = program.TensorBoard()
    board.configure(argv=["tensorboard", "--logdir", folder, "--port", "0"])
    print(board.launch(), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def tensorboard(logdir):
    """Addresses of TensorBoards on the runs, and on the bands, in one process."""
    folders = [str(logdir / folder) for folder in ("runs/mnist", "bands")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([sys.executable, "-c", SERVE, *folders], **pipes) as process:
        try:
            yield [process.stdout.readline().strip() for _ in folders]
        finally:
            process.kill()


@pytest.fixture(scope="module")
def tab():
    with browser.Browser(timeout=40) as opened:
        opened.size(1400, 1600)
        yield opened


def show(tab, address, dashboard):
    """Shows a dashboard; what is loaded of TensorBoard already is not loaded again."""
    if tab.evaluate("location.origin + '/'") == address:
        tab.evaluate(f"location.hash = '{dashboard}'")
    else:
        tab.open(f"{address}#{dashboard}")


def read(tab, expression):
    """The value of an expression once it is true, over all that a dashboard shows."""
    return tab.wait(f"(() => {{ {SHADOWS} {expression} }})()")


def test_the_address_of_vae_train_pins_what_matters(tab, tensorboard):
    tab.open(hints.address(by_head=True).replace("http://localhost:6006/", tensorboard[0]))
    cards = """
        const cards = named('metrics-pinned-view-component').flatMap(e => within(e, 'card-view')).map(e => ({
            title: e.querySelector('tb-truncated-path')?.textContent.trim(),
            columns: within(e, 'tb-data-table-header-cell').map(cell => cell.textContent.trim()),
            values: within(e, 'tb-data-table-content-cell').map(cell => cell.textContent.trim())}));
        return cards.length === 3 && cards.every(card => card.title && card.values.length) && cards;"""
    pinned = read(tab, cards)
    assert [card["title"] for card in pinned] == ["test/elbo", "test/kl", "grad/unit_snr"]
    assert "-109" in pinned[0]["values"]
    assert not any("Smoothed" in column for card in pinned for column in card["columns"])
    colours = read(tab, """
        return named('runs-data-table').flatMap(e => within(e, 'tb-data-table-content-row')).map(row => [
            row.querySelector('.table-column-run').textContent.trim(),
            row.querySelector('.run-color-swatch').style.background]);""")  # fmt: skip
    assert len(colours) == 6
    by_head = {head: {colour for run, colour in colours if run.startswith(head)} for head in HEADS}
    assert all(len(of_head) == 1 for of_head in by_head.values()), colours
    assert len(set.union(*by_head.values())) == 2


DASHBOARDS = {
    "scalars": "named('tf-scalar-card').some(e => within(e, 'path.line').length)",
    "custom_scalars": "named('tf-custom-scalar-multi-line-chart-card').some(e => within(e, 'path.line').length)",
    "images": "named('img').filter(e => seen(e) && e.naturalWidth === 30).length === 6",
    "distributions": "named('vz-distribution-chart').some(e => within(e, 'path').length)",
    "histograms": "named('vz-histogram-timeseries').some(e => within(e, 'path').length)",
    "text": "words('td').filter(text => /param = \"(logvar|abs_std)\"/.test(text)).length === 6",
}


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_every_dashboard_shows_its_content(tab, tensorboard, dashboard):
    show(tab, tensorboard[0], dashboard)
    assert read(tab, f"return {DASHBOARDS[dashboard]};")


def test_the_first_columns_are_the_head_the_seed_and_what_varies(tab, tensorboard):
    show(tab, tensorboard[0], "hparams")
    table = read(tab, "const cells = words('div.table-cell'); return cells.length > 20 && cells;")
    assert table[:5] == ["Trial ID", "Show Metrics", "param", "seed", "lr"]
    row = table.index("abs_std,lr=0.01/seed1")
    assert table[row + 1] == "abs_std"
    assert [float(cell) for cell in table[row + 2 : row + 4]] == [1, 0.01]


def test_a_band_for_each_head(tab, tensorboard):
    show(tab, tensorboard[1], "custom_scalars")
    charts = read(tab, """
        const charts = named('tf-custom-scalar-margin-chart-card').map(e => [
            e.title, within(e, 'path.area').map(area => area.getAttribute('fill'))]);
        return charts.length === 4 && charts.every(([title, fills]) => fills.length === 2) && charts;""")  # fmt: skip
    assert [title for title, _ in charts] == [
        "test/elbo (nats per image)",
        "test/kl (nats per image)",
        "grad/unit_snr",
        "test/elbo: difference from logvar, margin ±0.5 nats per image",
    ]
    colours = [set(fills) for _, fills in charts]
    assert colours[0] == colours[1] == colours[2]
    assert len(colours[0]) == 2
    # The reference has no difference; in its place is the margin.
    assert len(colours[3]) == 2
    assert len(colours[3] & colours[0]) == 1
