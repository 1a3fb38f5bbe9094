"""What a person sees while a run trains: a bar on a terminal, plain lines elsewhere, both on stderr."""

from collections.abc import Callable, Sequence
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from vaecli.config.texts import message, minus, printable
from vaecli.training.fitting import ProgressLine, TimeLeft, fit
from vaecli.training.terminal import print_in_place, print_message, stderr_console

_NOTEBOOK = 100
"""Columns of the output of a notebook's cell, which has no width of its own."""


class Observer(Protocol):
    """A follower of a run while it trains."""

    def data(self, lines: Sequence[str]) -> None:
        """Is given, before `begin`, what the data are and what a person should know of them."""
        ...

    def begin(self, title: str, epochs: int) -> None:
        """Is called when training is about to start."""
        ...

    def epoch(self, epoch: int, elbo: float | None, images_per_second: float) -> None:
        """Is called after an epoch.

        Args:
          epoch: its number.
          elbo: the test ELBO, its mean over the seeds where it is finite; None where it was not measured.
          images_per_second: the speed; 0 where it is not known yet.
        """
        ...

    def note(self, text: str) -> None:
        """Is given what a person should know."""
        ...

    def end(self) -> None:
        """Is called when training is over, one way or another."""
        ...


class Silent:
    """An observer that shows nothing."""

    def data(self, lines: Sequence[str]) -> None:
        pass

    def begin(self, title: str, epochs: int) -> None:
        pass

    def epoch(self, epoch: int, elbo: float | None, images_per_second: float) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def end(self) -> None:
        pass


class _State:
    """How far the runs are, as one line."""

    def __init__(self) -> None:
        self._title, self._epoch, self._epochs, self._numbers = "", 0, 1, ("compiling",)
        self._left = TimeLeft(1)

    def begin(self, title: str, epochs: int) -> None:
        self._title, self._epoch, self._epochs, self._numbers = printable(title), 0, epochs, ("compiling",)
        self._left = TimeLeft(epochs)

    def epoch(self, epoch: int, elbo: float | None, images_per_second: float) -> None:
        self._epoch = epoch
        self._left.add(epoch)
        if elbo is not None:
            elbo_text, *speed = _numbers(elbo, images_per_second)
            whole = " · ".join([elbo_text, *speed])
            self._numbers = (whole, elbo_text, elbo_text.removeprefix("test ").removesuffix(" nats"))

    @property
    def done(self) -> float:
        """The share of the epochs that is done."""
        return self._epoch / self._epochs

    def line(self, width: int) -> ProgressLine:
        """Returns the line in a terminal of so many columns."""
        return fit(width, self._title, f"epoch {self._epoch}/{self._epochs} · {self._left}", self._numbers)


class _Data:
    """What the data are, which runs that go on one after the other say once."""

    def __init__(self) -> None:
        self._lines: Sequence[str] = ()

    def new(self, lines: Sequence[str]) -> Sequence[str]:
        """Returns the lines, or nothing where they were the last ones, too."""
        lines, self._lines = ([] if lines == self._lines else lines), lines
        return lines


class Bar:
    """An observer with a progress bar, the time left, the test ELBO and the speed, on a terminal.

    The bar goes where training ends before its last epoch. It also goes once the user wants to stop: the next signal
    may then end the process at any moment, and would leave it on the screen.
    """

    def __init__(self, console: Console, stopping: Callable[[], bool] = lambda: False):
        self._console, self._stopping = console, stopping
        self._state, self._data = _State(), _Data()
        self._live: Live | None = None

    def data(self, lines: Sequence[str]) -> None:
        for line in self._data.new(lines):
            self._print(line)

    def begin(self, title: str, epochs: int) -> None:
        self._state.begin(title, epochs)
        self._live = Live(get_renderable=self._line, console=self._console, transient=True, refresh_per_second=4)
        self._live.start()

    def epoch(self, epoch: int, elbo: float | None, images_per_second: float) -> None:
        self._state.epoch(epoch, elbo, images_per_second)

    def note(self, text: str) -> None:
        self._print(f"vae: {text}")

    def end(self) -> None:
        if self._live:
            self._live.transient = self._state.done < 1
            self._live.stop()
            self._live = None

    def _line(self) -> RenderableType:
        if self._stopping():
            return ""
        line = self._state.line(self._console.width)
        table = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=1.0, completed=self._state.done, width=line.bar)
        cells = [Text(line.title, no_wrap=True), bar, Text(line.rest, no_wrap=True)]
        table.add_row(*cells[not line.title :])
        return table

    def _print(self, line: str) -> None:
        self._console.print(message(line), markup=False, highlight=False, soft_wrap=True)


class NotebookBar:
    """An observer with the same line in the output of a notebook's cell, which is no terminal but knows `\\r`."""

    def __init__(self) -> None:
        self._state, self._data = _State(), _Data()

    def data(self, lines: Sequence[str]) -> None:
        for line in self._data.new(lines):
            print_message(line)

    def begin(self, title: str, epochs: int) -> None:
        self._state.begin(title, epochs)
        self._show()

    def epoch(self, epoch: int, elbo: float | None, images_per_second: float) -> None:
        self._state.epoch(epoch, elbo, images_per_second)
        self._show()

    def note(self, text: str) -> None:
        print_message(f"vae: {text}")

    def end(self) -> None:
        print_in_place("\n")

    def _show(self) -> None:
        text = self._state.line(_NOTEBOOK).text(self._state.done)
        print_in_place(f"\r{text:{_NOTEBOOK}}")


class Lines:
    """An observer with a line for each log point."""

    def __init__(self) -> None:
        self._data = _Data()

    def data(self, lines: Sequence[str]) -> None:
        for line in self._data.new(lines):
            print_message(line)

    def begin(self, title: str, epochs: int) -> None:
        self._epochs = epochs
        print_message(title)

    def epoch(self, epoch: int, elbo: float | None, images_per_second: float) -> None:
        if elbo is not None:
            print_message(" · ".join([f"epoch {epoch}/{self._epochs}", *_numbers(elbo, images_per_second)]))

    def note(self, text: str) -> None:
        print_message(f"vae: {text}")

    def end(self) -> None:
        pass


def _numbers(elbo: float, images_per_second: float) -> tuple[str, ...]:
    """Returns what is shown of a log point, the most important first."""
    speed = [f"{images_per_second:,.0f} images/s"] if images_per_second else []
    return (f"test ELBO {minus(f'{elbo:.2f}')} nats", *speed)


def on_stderr(stopping: Callable[[], bool] = lambda: False) -> Observer:
    """Returns a bar where stderr is a terminal or a notebook's, and lines where it is neither.

    Args:
      stopping: returns whether the user wants to stop; then there is no bar any more.
    """
    console = stderr_console()
    if console.is_jupyter:
        return NotebookBar()
    return Bar(console, stopping) if console.is_terminal else Lines()
