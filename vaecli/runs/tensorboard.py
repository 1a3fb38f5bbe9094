"""The records of event files, as TensorBoard reads them: the door to tensorboardX, and to TensorBoard's own protocol.

tensorboardX makes the protocol buffers; its own writer starts a new file each time, of the same name within a second,
and hides a full disk in a thread. It knows no setting that differs, so HParams come from TensorBoard's protocol, whose
module imports nothing of TensorBoard's. Only this module imports either of them; what is relied on is said by
`tests/runs/test_tensorboard_contract.py`.
"""

import math
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from google.protobuf.message import DecodeError
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboardX import summary
from tensorboardX.proto import event_pb2, summary_pb2
from tensorboardX.record_writer import masked_crc32c

from vaecli.runs.files import open_regular

# TensorBoard's own bins, each a tenth wider than the one before; tensorboardX raises on values that are all beyond.
_BINS_END = 1e20
_POSITIVE = 1e-12 * 1.1 ** np.arange(math.ceil(math.log(_BINS_END / 1e-12, 1.1)))
_BINS = [*-_POSITIVE[::-1], 0.0, *_POSITIVE]

# No type checker knows what is in a generated module.
_EVENTS, _SUMMARIES, _HPARAMS = (cast(Any, module) for module in (event_pb2, summary_pb2, plugin_data_pb2))

Content = Any
"""The content of a record: a protocol buffer."""

HParamValue = bool | int | float | str


class Margin(NamedTuple):
    """A chart of Custom Scalars that has a line with a band around it for each run; the fields are tags."""

    value: str
    lower: str
    upper: str


Layout = Mapping[str, Mapping[str, Sequence[str] | Margin]]
"""The charts of Custom Scalars: for each category, by its title, the charts by theirs; a chart of lines is a list of
regular expressions for tags."""


class HParam(NamedTuple):
    """A setting in the HParams of a run.

    Attributes:
      name: the key of its value; TensorBoard orders by it.
      title: what a person reads, if it is not the name.
      value: the value in this run.
      domain: the values that it may take, for one that is no number; others are shown all the same.
      differs: whether it is among the first columns.
    """

    name: str
    title: str
    value: HParamValue
    domain: Sequence[HParamValue]
    differs: bool


def file_name() -> str:
    """Returns the name of a new event file."""
    return f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"


def first_record(wall_time: float) -> bytes:
    """Returns the record with which an event file begins."""
    return _framed(_EVENTS.Event(wall_time=wall_time, file_version="brain.Event:2"))


def record(wall_time: float, step: int, content: Content) -> bytes:
    """Returns a record of an event file."""
    return _framed(_EVENTS.Event(wall_time=wall_time, step=step, summary=content))


def _framed(event: Any) -> bytes:
    data = event.SerializeToString()
    # A TFRecord: the length and the data, each with its masked CRC-32C.
    length = struct.pack("<Q", len(data))
    crcs = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
    return length + crcs[0] + data + crcs[1]


class Scalar(NamedTuple):
    """A scalar that an event file has."""

    tag: str
    step: int
    value: float


class DamagedEventsError(ValueError):
    """A file holds something else than event records."""


def read_scalars(path: Path) -> Iterator[Scalar]:
    """Yields the scalars of an event file, whichever program wrote it, in its order; a last record may be cut off.

    Raises:
      OSError: it cannot be read.
      DamagedEventsError: a record is damaged; what comes before it has been yielded.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        while len(head := file.read(12)) == 12:
            length, _ = struct.unpack("<QI", head)
            _check_crc(head[:8], head[8:])
            data = file.read(length + 4)
            if len(data) < length + 4:
                return
            _check_crc(data[:-4], data[-4:])
            try:
                event = _EVENTS.Event.FromString(data[:-4])
            except DecodeError as error:
                raise DamagedEventsError("a record is no event") from error
            for content in event.summary.value:
                if (value := _scalar_value(content)) is not None:
                    yield Scalar(content.tag, event.step, value)


def _check_crc(data: bytes, crc: bytes) -> None:
    if struct.pack("<I", masked_crc32c(data)) != crc:
        raise DamagedEventsError("a checksum is wrong")


def _scalar_value(content: Content) -> float | None:
    """Returns the value of a scalar: a simple one or, as TensorFlow 2 writes it, a tensor of one number."""
    if content.WhichOneof("value") == "simple_value":
        return content.simple_value
    tensor = content.tensor
    if content.WhichOneof("value") != "tensor" or math.prod(dim.size for dim in tensor.tensor_shape.dim) != 1:
        return None
    if (kind := _NUMBERS.get(tensor.dtype)) is None:
        return None
    data = tensor.tensor_content or np.array(getattr(tensor, kind.field), kind.listed).tobytes()
    values = np.frombuffer(data, kind.dtype)
    # Zeros at the end of a tensor may be left out.
    return float(values[0]) if values.size else 0.0


class _Numbers(NamedTuple):
    """How a tensor has numbers of one kind: as they are in its content, and the field that else lists them, and how."""

    dtype: str
    field: str
    listed: str


_NUMBERS = {
    1: _Numbers("<f4", "float_val", "<f4"),
    2: _Numbers("<f8", "double_val", "<f8"),
    3: _Numbers("<i4", "int_val", "<i4"),
    9: _Numbers("<i8", "int64_val", "<i8"),
    19: _Numbers("<f2", "half_val", "<u2"),
}


def scalar(tag: str, value: float) -> Content:
    """Returns a scalar."""
    return summary.scalar(tag, value)


def histogram(tag: str, values: np.ndarray) -> Content | None:
    """Returns the histogram of the finite values, but for those beyond 1e20; None where there are no others."""
    kept = values[np.abs(values) < _BINS_END]
    return summary.histogram(tag, kept, _BINS) if kept.size else None


def picture(tag: str, png: bytes) -> Content:
    """Returns a picture."""
    # A PNG has its width and height after the signature and the head of the first chunk.
    width, height = struct.unpack(">II", png[16:24])
    image = _SUMMARIES.Summary.Image(height=height, width=width, encoded_image_string=png)
    return _SUMMARIES.Summary(value=[_SUMMARIES.Summary.Value(tag=tag, image=image)])


def text(tag: str, markdown: str) -> Content:
    """Returns a text."""
    return summary.text(tag, markdown)


def custom_scalars(layout: Layout) -> Content:
    """Returns the layout of Custom Scalars."""
    return summary.custom_scalars(
        {
            category: {
                title: ["Margin", list(tags)] if isinstance(tags, Margin) else ["Multiline", list(tags)]
                for title, tags in charts.items()
            }
            for category, charts in layout.items()
        }
    )


def experiment(hparams: Sequence[HParam], metrics: Sequence[str]) -> Content:
    """Returns what HParams shows of all runs: its columns. TensorBoard takes it from one run and leaves out others."""
    data = _HPARAMS.HParamsPluginData()
    for hparam in hparams:
        info = data.experiment.hparam_infos.add(name=hparam.name, display_name=hparam.title, differs=hparam.differs)
        info.type = _KINDS[type(hparam.value)].type
        if hparam.domain:
            info.domain_discrete.extend(hparam.domain)
    for tag in metrics:
        data.experiment.metric_infos.add().name.tag = tag
    return _hparams("experiment", data)


def session_start(values: Mapping[str, HParamValue], wall_time: float) -> Content:
    """Returns the start of a run in HParams, with the values of its settings."""
    data = _HPARAMS.HParamsPluginData()
    data.session_start_info.start_time_secs = wall_time
    for name, value in values.items():
        setattr(data.session_start_info.hparams[name], _KINDS[type(value)].field, value)
    return _hparams("session_start_info", data)


def session_end(status: Literal["SUCCESS", "FAILURE", "UNKNOWN"], wall_time: float) -> Content:
    """Returns the end of a run in HParams."""
    data = _HPARAMS.HParamsPluginData()
    data.session_end_info.end_time_secs = wall_time
    data.session_end_info.status = f"STATUS_{status}"
    return _hparams("session_end_info", data)


class _Kind(NamedTuple):
    """How HParams call a type of values, and the field that holds one."""

    type: str
    field: str


_KINDS = {
    bool: _Kind("DATA_TYPE_BOOL", "bool_value"),
    str: _Kind("DATA_TYPE_STRING", "string_value"),
    int: _Kind("DATA_TYPE_FLOAT64", "number_value"),
    float: _Kind("DATA_TYPE_FLOAT64", "number_value"),
}


def _hparams(name: str, data: Any) -> Content:
    plugin = _SUMMARIES.SummaryMetadata.PluginData(plugin_name="hparams", content=data.SerializeToString())
    metadata = _SUMMARIES.SummaryMetadata(plugin_data=plugin)
    return _SUMMARIES.Summary(value=[_SUMMARIES.Summary.Value(tag=f"_hparams_/{name}", metadata=metadata)])
