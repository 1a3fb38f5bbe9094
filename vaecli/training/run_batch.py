"""A batch of runs that share a program, as the device trains it."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vaecli.data import Dataset
from vaecli.training.ahead import Ahead
from vaecli.training.epoch_result import EpochResult
from vaecli.training.images import PICTURED, points
from vaecli.training.kept import KeptPrograms
from vaecli.vae import build
from vaecli.vae.architecture import Params
from vaecli.vae.batches import epoch_order
from vaecli.vae.compiled import CompiledSteps, compiled_steps
from vaecli.vae.divergence import Cause, Chunk, Replayed, locate
from vaecli.vae.evaluate import Measurement, Visuals
from vaecli.vae.model import Model, Operands, Program
from vaecli.vae.resolve import Resolved
from vaecli.vae.schedules import schedule_values
from vaecli.vae.steps import Step, TrainState


class RunBatch:
    """The compiled steps of a batch of runs, their operands and their data, along a leading axis of runs.

    Attributes:
      config: the config of the first run; the settings that are read from it are those of all (`batch_key`).
      steps_per_epoch: how many updates of the parameters an epoch has.
      validates: whether there is a validation split, and so a choice of the best parameters.
      vectorised: whether the runs are one batched program, and otherwise take turns.
    """

    def __init__(self, runs: Sequence[Resolved], dataset: Dataset, *, vectorise: bool | None = None):
        """Brings the data onto the device; nothing is compiled before it is called, or asked for by `compile_ahead`.

        Args:
          runs: the config of each, resolved.
          dataset: what they are trained on.
          vectorise: whether they are one batched program, and otherwise take turns; by default on all but a CPU.

        Raises:
          ConfigError: the images are too small for the network.
        """
        self._configs = [run.config for run in runs]
        self.config = self._configs[0]
        image = (dataset.height, dataset.width)
        self._program = build.program(runs[0], image)
        self._of_models = self._program.of_models()
        self._operands = build.operands(runs)
        self.vectorised = jax.default_backend() != "cpu" if vectorise is None else vectorise
        self._compiled = compiled_steps(self._program, vectorise=self.vectorised)
        self._replayed = Replayed() if self.vectorised else None
        names = {program: name for name, program in self._compiled._asdict().items()}
        self._kept = KeptPrograms(runs[0], image, names, vectorise=self.vectorised)
        self._ahead = Ahead(self._kept if self._kept.are_kept else None)
        self._rest: list[tuple[Any, ...]] = []
        # Otherwise that of one image, which takes no time.
        self._mean = _mean_image(dataset.train if self.config.decoder_bias == "mean" else dataset.train[:1])
        # Put there whole: to slice an array of the device, or to change its type, compiles a program.
        self.validates = dataset.validation is not None
        splits = {"test": dataset.test} | ({"validation": dataset.validation} if self.validates else {})
        self._images, self._splits, self._probe, self._first_probe, self._pictured, self._points = jax.device_put(
            (
                dataset.train,
                splits,
                dataset.probe,
                dataset.probe[0],
                dataset.test[:PICTURED],
                points(self.config.latent),
            )
        )
        self.steps_per_epoch = -(-len(dataset.train) // self.config.batch_size)

    def compile_ahead(self, *, fresh: bool) -> None:
        """Begins to compile what a run calls first, on other threads and in the order of the calls.

        Args:
          fresh: whether the runs start from their beginning, and not from a checkpoint.
        """
        compiled, config, operands = self._compiled, self.config, self._operands
        params, runs = self._kept.results(compiled.initial_params, operands, self._mean), len(self._configs)
        # A dynamic factor on the loss has the shape of the one that it starts from.
        model = Model(self._of_models, operands, params)
        order = np.broadcast_to(np.int32(0), (runs, self.steps_per_epoch, config.batch_size))
        schedule = schedule_values(self._configs, 1, self.steps_per_epoch)
        of_a_step = jax.tree.map(lambda of_steps: of_steps[:, 0], schedule)
        measured = [
            # What takes longest comes first, so that two threads end at about the same time.
            *[(compiled.gradient_statistics, model, self._probe, of_a_step)] * (config.grad_every > 0),
            (compiled.measure, model, self._splits, self._first_probe),
        ]
        if fresh:
            # They are begun before Optax is imported, of which they know nothing.
            self._compile((compiled.initial_params, operands, self._mean), *measured)
        state = self._kept.results(compiled.initial_state, operands, params)
        finite = (compiled.finite, state)
        chunk = Chunk(state, order, schedule)
        epoch = (compiled.train_chunk, operands, self._images, *chunk, np.zeros(runs, np.int32))
        end = (compiled.visuals, model, self._pictured, self._points)
        if fresh:
            self._compile((compiled.initial_state, operands, params), finite)
            self._rest = [epoch, end]
        else:
            self._compile(epoch)
            self._rest = [*measured, finite, end]

    def _compile(self, *programs: tuple[Any, ...]) -> None:
        """Begins to compile programs, each given with its arguments."""
        for program, *arguments in programs:
            self._ahead.compile(program, *arguments)

    def compile_rest(self) -> None:
        """Begins to compile the others, and to import what a run needs when an epoch ends, or the last one.

        They come after the first log point, since what is traced and imported meanwhile holds it up.
        """
        self._compile(*self._rest)
        self._ahead.load("vaecli.runs.arrays", "vaecli.report.figures.defaults", "matplotlib.backends.backend_agg")

    def close(self) -> None:
        """Ends what `compile_ahead` began."""
        self._ahead.close()

    @property
    def compiled(self) -> CompiledSteps:
        """The compiled functions."""
        return self._compiled

    @property
    def program(self) -> Program:
        """The part of the runs that is compiled in."""
        return self._program

    @property
    def operands(self) -> Operands:
        """The numbers that the program receives, of each run."""
        return self._operands

    @property
    def images(self) -> jax.Array:
        """The training images, on the device."""
        return self._images

    def initial_state(self) -> TrainState:
        """Returns the state before the first step."""
        params = self._ahead(self._compiled.initial_params)(self._operands, self._mean)
        return self._ahead(self._compiled.initial_state)(self._operands, params)

    def state_like(self) -> TrainState:
        """Returns the shapes and types of the state of one run."""
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), self._shapes()[1])

    def _shapes(self) -> tuple[Params, TrainState]:
        """Returns the shapes and types of the parameters and of the state of all runs."""
        params = self._kept.results(self._compiled.initial_params, self._operands, self._mean)
        return params, self._kept.results(self._compiled.initial_state, self._operands, params)

    def chunk(self, epoch: int, before: TrainState) -> Chunk:
        """Returns the steps of an epoch, and the state before them."""
        count, batch_size = len(self._images), self.config.batch_size
        draws = [(c.seed, c.pilot) for c in self._configs]
        # Runs of several variants have the orders of their seeds.
        orders = {(seed, k): epoch_order(seed, epoch, count, batch_size, k) for seed, k in dict.fromkeys(draws)}
        order = np.stack([orders[draw] for draw in draws])
        return Chunk(before, order, schedule_values(self._configs, epoch, self.steps_per_epoch))

    def train(self, chunk: Chunk, steps: Sequence[int]) -> tuple[TrainState, Step]:
        """Trains each run for the first so many steps of a chunk; returns the state after them, and their outputs."""
        if self._replayed:
            self._replayed.turn_to(None)  # It takes room on the device.
        train_chunk = self._ahead(self._compiled.train_chunk)
        return train_chunk(self._operands, self._images, *chunk, np.asarray(steps, np.int32))

    def can_train(self) -> bool:
        """Returns whether training can begin at once, since its program is compiled, or is not being compiled ahead."""
        return not self._ahead.is_compiling(self._compiled.train_chunk)

    def measure(self, epoch: int, chunk: Chunk, state: TrainState, outputs: Step | None, *, last: bool) -> EpochResult:
        """Returns what is to be written of an epoch, but for the state; the device may still be working on it.

        Args:
          epoch: passes over the training images so far.
          chunk: the steps of this epoch; before the first one, those of the first.
          state: the state after this epoch.
          outputs: what its steps returned.
          last: whether the runs end here, so that all that is ever logged is due.
        """
        config, compiled, ready = self.config, self._compiled, self._ahead
        result = EpochResult(finite=ready(compiled.finite)(state), steps=outputs)
        if not due(config.log_every, epoch, last=last):
            return result
        model = self._model(state)
        result = result._replace(measurement=self.measurement(state))
        if config.grad_every and due(config.grad_every, epoch, last=last):
            schedule = jax.tree.map(lambda of_step: of_step[:, -1 if epoch else 0], chunk.schedule)
            gradients = ready(compiled.gradient_statistics)(model, self._probe, schedule)
            result = result._replace(gradients=gradients)
        # The last pictures are drawn when nothing waits for them any more.
        if epoch and not last and due(config.picture_every, epoch, last=last):
            result = result._replace(visuals=self.visuals(state))
        return result

    def measurement(self, state: TrainState) -> Measurement:
        """Returns what a log point records of a state, but for what the steps left and the gradients."""
        return self._ahead(self._compiled.measure)(self._model(state), self._splits, self._first_probe)

    def visuals(self, state: TrainState) -> Visuals:
        """Returns what the pictures of a state are drawn from."""
        return self._ahead(self._compiled.visuals)(self._model(state), self._pictured, self._points)

    def locate(self, chunk: Chunk, outputs: Step | None, row: int) -> tuple[Cause, TrainState]:
        """Returns what was not finite first in one run, and its state before the step that made it so."""
        ready = {name: self._ahead(getattr(self._compiled, name)) for name in ("train_chunk", "finite")}
        steps = self._compiled._replace(**ready)
        return locate(steps, self._operands, self._images, chunk, outputs, row, self._replayed)

    def explain(self, state: TrainState, row: int, cause: Cause) -> Cause:
        """Returns why a scalar of a log point of one run is not finite: the cause, or where its head has no σ."""
        model = jax.tree.map(lambda leaf: leaf[row], self._model(state))
        for images in (*self._splits.values(), self._first_probe):
            cause = cause.because(self._compiled.undefined_on(model, images))
        return cause

    def _model(self, state: TrainState) -> Model:
        operands = self._operands
        if state.loss_scale is not None:
            operands = operands._replace(loss_scale=state.loss_scale.factor)
        return Model(self._of_models, operands, state.params)


def _mean_image(images: np.ndarray) -> np.ndarray:
    """Returns the mean of images, in [0, 1]; it matters only to a decoder whose bias starts there."""
    return np.asarray(images.mean(axis=0, dtype=np.float64) / 255, np.float32)


def due(every: int, epoch: int, *, last: bool) -> bool:
    """Returns whether what happens every so many epochs (0: never), and after the last one, happens after this one."""
    return last or (every > 0 and epoch % every == 0)
