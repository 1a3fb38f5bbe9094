"""What `runs/tensorboard.py` relies on in tensorboardX and in TensorBoard's protocol, and that TensorBoard reads it."""

import inspect
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboardX import record_writer, summary
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

from vaecli import Config
from vaecli.runs import tensorboard
from vaecli.runs.hparams import RunFacts
from vaecli.runs.run_events import TensorBoardWriter
from vaecli.runs.tensorboard import Margin

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 30, 20) + b"rest"
SCALARS = {"test/elbo": -100.5, "train/kl": float("nan")}
HISTOGRAMS = {"u": np.array([-1.0, 0.5, 2.0, 1e30])}


def crc32c(data):
    """The CRC of Castagnoli's polynomial, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(crc):
    """As the TFRecord format has it."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_crc():
    assert crc32c(b"123456789") == 0xE3069283, "the check value of the polynomial"
    for data in (b"", b"123456789", bytes(range(256))):
        assert record_writer.masked_crc32c(data) == masked(crc32c(data))


def test_fields_of_the_protocol_buffers():
    image = Summary.Image(height=20, width=30, encoded_image_string=PNG)
    content = Summary(value=[Summary.Value(tag="a picture", image=image)])
    event = Event.FromString(Event(wall_time=1.5, step=7, summary=content).SerializeToString())
    assert (event.wall_time, event.step) == (1.5, 7)
    (value,) = event.summary.value
    assert value.tag == "a picture"
    assert (value.image.height, value.image.width, value.image.encoded_image_string) == (20, 30, PNG)
    assert Event.FromString(Event(file_version="brain.Event:2").SerializeToString()).file_version == "brain.Event:2"


@pytest.mark.parametrize(
    ("maker", "arguments"),
    [
        ("scalar", ("tag", 1.5)),
        ("histogram", ("tag", np.array([0.5]), [0.0, 1.0, 2.0])),
        ("text", ("tag", "text")),
        ("custom_scalars", ({"group": {"chart": ["Multiline", ["a", "b"]]}},)),
    ],
)
def test_makers_of_summaries(maker, arguments):
    made = getattr(summary, maker)(*arguments)
    assert isinstance(made, Summary)
    assert len(made.value) == 1


def test_hparams_have_a_mark_for_what_differs_and_come_without_the_rest_of_tensorboard():
    """tensorboardX's own have no such mark; and what is imported while a run trains must be light."""
    info = api_pb2.HParamInfo(name="lr", display_name="rate", differs=True, type="DATA_TYPE_FLOAT64")
    assert {field.name for field, _ in info.ListFields()} == {"name", "display_name", "differs", "type"}
    fields = set(plugin_data_pb2.HParamsPluginData.DESCRIPTOR.fields_by_name)
    assert fields >= {"experiment", "session_start_info", "session_end_info"}
    code = "import sys; from vaecli.runs import tensorboard; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    loaded = [name for name in loaded if name.startswith("tensorboard.")]
    assert {name for name in loaded if "pb2" in name} == {
        f"tensorboard.plugins.hparams.{m}_pb2" for m in ("api", "plugin_data")
    }
    assert len(loaded) < 10, loaded


def test_a_chart_with_margins():
    made = tensorboard.custom_scalars({"all": {"lines": ["a", "b/.*"], "band": Margin("a", "a/low", "a/high")}})
    layout = layout_pb2.Layout.FromString(made.value[0].tensor.string_val[0])
    lines, band = layout.category[0].chart
    assert (lines.title, list(lines.multiline.tag)) == ("lines", ["a", "b/.*"])
    (series,) = band.margin.series
    assert (band.title, series.value, series.lower, series.upper) == ("band", "a", "a/low", "a/high")


def test_a_histogram_takes_the_bins_that_it_is_given():
    assert list(inspect.signature(summary.histogram).parameters)[:3] == ["name", "values", "bins"]
    histogram = summary.histogram("tag", np.array([0.5, 0.6, 1.5]), [0.0, 1.0, 2.0, 3.0]).value[0].histo
    counts = dict(zip(histogram.bucket_limit, histogram.bucket, strict=True))
    assert (counts[1.0], counts[2.0]) == (2, 1)


@pytest.fixture
def written(tmp_path):
    """An event file as a run writes it, and the time when it was begun."""
    begun = time.time()
    writer = TensorBoardWriter(tmp_path, Config(), {}, RunFacts())
    writer.write(5, 1, SCALARS, HISTOGRAMS)
    writer.write_picture(5, "samples", PNG)
    writer.end("complete")
    writer.close()
    (path,) = tmp_path.iterdir()
    return path, begun


def test_the_reader_of_tensorboard_reads_every_record(written):
    path, begun = written
    events = list(EventFileLoader(str(path)).Load())
    assert events[0].file_version == "brain.Event:2"
    assert all(begun - 1 <= event.wall_time <= time.time() + 1 for event in events)
    values = {value.tag: (event.step, value) for event in events for value in event.summary.value}
    assert list(values) == [
        "config/text_summary",
        "custom_scalars__config__",
        "_hparams_/experiment",
        "_hparams_/session_start_info",
        "test/elbo",
        "u",
        "samples",
        "_hparams_/session_end_info",
    ]
    step, elbo = values["test/elbo"]
    assert (step, elbo.tensor.float_val[0]) == (5, -100.5)
    _, picture = values["samples"]
    assert list(picture.tensor.string_val) == [b"30", b"20", PNG]


def test_records_are_framed_as_tfrecords(written):
    path, _ = written
    data, records = path.read_bytes(), 0
    while data:
        length, length_crc = struct.unpack("<QI", data[:12])
        body, (body_crc,) = data[12 : 12 + length], struct.unpack("<I", data[12 + length : 16 + length])
        assert (length_crc, body_crc) == (masked(crc32c(data[:8])), masked(crc32c(body)))
        data, records = data[16 + length :], records + 1
    assert records == 9
