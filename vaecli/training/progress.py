"""What a person sees while a run trains: a bar on a terminal, plain lines elsewhere, both on stderr."""

from collections.abc import Sequence
from typing import Protocol

from rich.console import Console

from vaecli.config.texts import message, printable
from vaecli.training.terminal import print_message, stderr_console


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


class Bar:
    """An observer with a progress bar, the test ELBO and the speed."""

    def __init__(self, console: Console):
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("epoch {task.completed:.0f}/{task.total:.0f} · {task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._data: Sequence[str] = ()

    def data(self, lines: Sequence[str]) -> None:
        if lines != self._data:  # Runs that go on one after the other have the same.
            self._data = lines
            for line in lines:
                self._print(line)

    def begin(self, title: str, epochs: int) -> None:
        self._task = self._progress.add_task(printable(title), total=epochs, numbers="compiling")
        self._progress.start()

    def epoch(self, epoch: int, elbo: float | None, images_per_second: float) -> None:
        self._progress.update(self._task, completed=epoch)
        if elbo is not None:
            self._progress.update(self._task, numbers=_numbers(elbo, images_per_second))

    def note(self, text: str) -> None:
        self._print(f"vae: {text}")

    def end(self) -> None:
        self._progress.stop()

    def _print(self, line: str) -> None:
        self._progress.console.print(message(line), markup=False, highlight=False, soft_wrap=True)


class Lines:
    """An observer with a line for each log point."""

    def __init__(self):
        self._data: Sequence[str] = ()

    def data(self, lines: Sequence[str]) -> None:
        if lines != self._data:  # Runs that go on one after the other have the same.
            self._data = lines
            for line in lines:
                print_message(line)

    def begin(self, title: str, epochs: int) -> None:
        self._epochs = epochs
        print_message(title)

    def epoch(self, epoch: int, elbo: float | None, images_per_second: float) -> None:
        if elbo is not None:
            print_message(f"epoch {epoch}/{self._epochs} · {_numbers(elbo, images_per_second)}")

    def note(self, text: str) -> None:
        print_message(f"vae: {text}")

    def end(self) -> None:
        pass


def _numbers(elbo: float, images_per_second: float) -> str:
    """Returns what is shown of a log point."""
    speed = f" · {images_per_second:,.0f} images/s" if images_per_second else ""
    return f"test ELBO {elbo:.2f} nats{speed}"


def on_stderr() -> Observer:
    """Returns a bar where stderr is a terminal, and lines where it is not."""
    console = stderr_console()
    return Bar(console) if console.is_terminal else Lines()
