"""The event file of a run, read back by TensorBoard."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from vaecli import Config
from vaecli.runs.hparams import RunFacts
from vaecli.runs.run_events import TensorBoardWriter
from vaecli.runs.step_points import StepPoint


def read(path, config=None, write=lambda writer: None):
    """What a writer leaves."""
    writer = TensorBoardWriter(path, config or Config(), {}, RunFacts())
    write(writer)
    writer.close()
    return EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()


def test_histograms_leave_out_what_has_no_bin(tmp_path):
    """Leaves out numbers beyond 1e20 and what is not a number; a histogram of nothing else is left out itself."""
    values = {"huge": np.float32([1e21, -1e30, np.inf]), "some": np.float32([1e21, 2.0, np.nan])}
    events = read(tmp_path, write=lambda writer: writer.write(3, 1, {}, values))
    assert events.Tags()["histograms"] == ["some"]
    assert events.Histograms("some")[0].histogram_value.num == 1


def test_what_nobody_looks_at_over_time_is_no_card(tmp_path):
    scalars = {"test/elbo": -1.0, "grad/unit_snr": 0.5, "grad_se/unit_snr": 0.1, "safety/u/max": 2.0, "test/kl": np.nan}
    events = read(tmp_path, write=lambda writer: writer.write(3, 1, scalars, {}))
    assert set(events.Tags()["scalars"]) == {"test/elbo", "grad/unit_snr"}


def test_points_within_an_epoch(tmp_path):
    points = [
        StepPoint(7, {"train_steps/elbo": -9.5, "train_steps/kl": np.nan}),
        StepPoint(9, {"train_steps/elbo": -8.5}),
    ]
    events = read(tmp_path, Config(log_steps=2), lambda writer: writer.write_steps(points))
    assert [(event.step, event.value) for event in events.Scalars("train_steps/elbo")] == [(7, -9.5), (9, -8.5)]
    assert "train_steps/kl" not in events.Tags()["scalars"]


@pytest.mark.parametrize(("log_steps", "last"), [(0, "Safety of σ"), (50, "Training, within the epochs")])
def test_custom_scalars_begin_with_the_elbo(tmp_path, log_steps, last):
    events = read(tmp_path, Config(log_steps=log_steps))
    (event,) = events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    assert layout.category[0].chart[0].multiline.tag[:3] == ["train/elbo", "validation/elbo", "test/elbo"]
    assert layout.category[-1].title == last


def test_custom_scalars_of_a_scale_are_there_where_it_is(tmp_path):
    events = read(tmp_path, Config(likelihood="laplace"))
    (event,) = events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    assert layout.category[-1].title == "Scale τ of the likelihood"
