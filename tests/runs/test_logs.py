"""Runs of other programs, as they are read from what these wrote."""

import json
import math
import struct

import numpy as np
import pytest
from helpers.logs import as_csv, losses, rows, write_events
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2
from tensorboard.util.tensor_util import make_tensor_proto

from vaecli import UsageError
from vaecli.runs import tensorboard
from vaecli.runs.logged import LogOptions
from vaecli.runs.logs import are_logs, read_logs
from vaecli.runs.tables import table_of


def read(path, metric="loss", **options):
    return read_logs([path], metric, LogOptions(**options))


def values(logs):
    return {names: {seed: run.value for seed, run in runs.items()} for names, runs in logs.runs.items()}


def written(folder, content, name="results.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


EXPECTED = {(name,): {seed: losses(name, seed)[-1] for seed in range(6)} for name in ("adam", "lion", "sgd")}
PLAIN = as_csv(rows())


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\n\n"),
        PLAIN.replace("\n", ",\n"),
        as_csv(rows(), ";"),
        as_csv(rows(), "\t"),
        as_csv(rows(), "|"),
        PLAIN.replace("adam", '"adam"').replace("seed", '" seed "'),
        PLAIN.replace(",3,", ",3.0,").replace(",4,", ",seed_4,").replace(",5,", ",s5,"),
        "".join(json.dumps(row) + "\n" for row in rows()),
        json.dumps(rows(), indent=2),
        "".join(
            json.dumps({"method": row["method"], "config": {"seed": row["seed"]}, "loss": row["loss"]}) + "\n"
            for row in rows()
        ),
    ],
)
def test_forms_of_a_table(tmp_path, content):
    """Every digit is kept."""
    logs = read(written(tmp_path, content))
    assert values(logs) == EXPECTED
    assert (logs.columns, logs.seeded, logs.warnings) == (["method"], True, [])
    assert logs.runs["sgd",][5].path.startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("method,seed,loss\n", "has a header and no rows"),
        (b"\x1f\x8b\x08\x00", "is gzip; unpack it"),
        (b"PK\x03\x04", "a zip archive or a spreadsheet"),
        ("bé,seed,loss\nx,1,2\n".encode("latin-1"), "is not UTF-8 text"),
        ("method,seed,loss\na,0\n", "line 2: has 2 cells and the header 3"),
        ('method,seed,loss\n"a,0,1\n', "is no CSV"),
        ('{"method": "a"\n', "line 1: is no JSON"),
        ('{"method": "a", "method": "b"}\n', "gives a key twice"),
        ("[3]", "row 1: is no JSON object"),
        ("method,seed,loss\na,0,0\n,1,1\n", "line 3: has no method, which names its variant"),
        ("method,seed,loss\na,zero,1\n", "line 2: the seed 'zero' is no whole number"),
        ("method,seed,loss\na,0.5,1\n", "line 2: the seed '0.5' is no whole number"),
        (f"method,seed,loss\na,{'9' * 30},1\n", "is no whole number of at most 20 digits"),
        ("method,seed,loss\na,0,low\n", "line 2: 'low' is no number"),
        ("method;seed;loss\na;0;0,5\n", "line 2: '0,5' is no number; decimals are written with a point"),
        ("method,loss,loss\na,0,1\n", "--metric: .* has two columns 'loss'"),
        ("method,seed,los\na,0,1\n", "has no column 'loss', did you mean 'los'"),
        ("kind,seed,loss\na,0,1\n", r"--variant: is needed: .*\(there are: kind, seed, loss\)"),
        ("method,model,seed,loss\na,x,0,1\nb,y,0,1\n", "--variant method, or by all of them, --variant method,model"),
        ("method,seed,loss\na,0,1\na,0,2\n", "line 2 and line 3: are of one variant and seed, with different loss"),
        ("method,seed,step,loss\na,0,1,1\na,0,1,2\n", "at step 1, with different loss"),
        ("method,step,loss\na,1,1\na,2,2\n", "--seed: is needed: .* has several steps of a run"),
        ("method,a.seed,b.seed,loss\na,1,1,1\n", "--seed: is needed: .* has the columns a.seed and b.seed"),
        ("method,seed,step,loss\na,0,inf,1\n", "line 2: 'inf' is no step"),
        ("method,seed,loss\na,0,nan\na,1,\na,2,3\n", "line 2: a, seed 0: no finite loss .* 1 other run; --missing"),
        ("method,seed,loss\na,0,1e39\na,1,1\n", "a, seed 0: no finite loss"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_read(tmp_path, content, message):
    with pytest.raises(UsageError, match=message) as error:
        read(written(tmp_path, content))
    assert "\n" not in str(error.value)


def test_columns_by_name(tmp_path):
    text = "run,algo,lr,trial,score,Epoch\n" + "".join(
        f"r{trial}{algo}{lr},{algo},{lr},{trial},{trial + lr},{epoch}\n"
        for algo in ("a=1", "b")
        for lr in (0.1, 1e-3)
        for trial in range(2)
        for epoch in (10,)
    )
    logs = read(written(tmp_path, text), "score", variant=("algo,lr",), seed="trial", step="Epoch")
    assert list(logs.runs) == [("a=1", "0.1"), ("a=1", "0.001"), ("b", "0.1"), ("b", "0.001")]
    assert logs.runs["b", "0.1"][1].value == 1.1
    assert list(logs.runs["b", "0.1"][1].points) == [10]
    with pytest.raises(UsageError, match="has no column 'trail', did you mean 'trial'"):
        read(written(tmp_path, text), "score", seed="trail")


def test_without_seeds_runs_are_numbered_so_that_no_two_are_paired(tmp_path):
    logs = read(written(tmp_path, "method,loss\na,1\na,2\nb,3\nb,4\n"))
    assert not logs.seeded
    assert values(logs) == {("a",): {0: 1.0, 1: 2.0}, ("b",): {2: 3.0, 3: 4.0}}
    # A step that all rows have is where the runs ended; otherwise a column says which rows are of one run.
    assert values(read(written(tmp_path, "method,epoch,loss\na,9,1\na,9,2\nb,9,3\n")))[("a",)] == {0: 1.0, 1: 2.0}
    logs = read(written(tmp_path, "method,run_id,epoch,loss\na,x,1,1\na,x,2,5\na,y,1,2\na,y,2,6\n"))
    assert values(logs) == {("a",): {0: 5.0, 1: 6.0}}
    assert logs.runs["a",][1].points == {1: 2.0, 2: 6.0}


def test_the_last_step_counts_and_the_others_are_curves(tmp_path):
    text = "method,seed,step,loss,other\na,0,2,0.5,\na,0,1,1.5,\na,0,3,,7\na,1,1,nan,\na,1,2,2.5,\nb,0,2,1,\nb,1,1,4,\n"
    logs = read(written(tmp_path, text))
    assert values(logs) == {("a",): {0: 0.5, 1: 2.5}, ("b",): {0: 1.0, 1: 4.0}}
    assert logs.runs["a",][0].points == {1: 1.5, 2: 0.5}
    assert logs.runs["a",][1].points == {2: 2.5}
    assert logs.runs["a",][1].curves(["loss", "step", "x"]) == {"loss": {2: 2.5}, "step": {2: 2}, "x": {}}
    assert logs.warnings == ["1 of 4 runs do not end at step 2, where most do, such as b, seed 1, at 1"]
    with pytest.raises(UsageError, match="a, seed 0: no finite loss at its end"):
        read(written(tmp_path, "method,seed,step,loss\na,0,1,1\na,0,2,inf\n"))


def test_a_long_curve_is_shown_at_fewer_steps(tmp_path):
    long = [
        {"method": name, "seed": 0, "step": step, "loss": float(step)}
        for name in "ab"
        for step in range(3000 + (name == "b"))
    ]
    logs = read(written(tmp_path, as_csv(long)))
    first, second = (set(logs.runs[name,][0].points) for name in "ab")
    assert first <= second
    assert 499 <= len(first) <= 501
    assert {0, 2999} <= first
    assert {2999, 3000} <= second
    assert values(logs) == {("a",): {0: 2999.0}, ("b",): {0: 3000.0}}


STATES = "method,seed,State,loss\na,0,finished,1\na,1,crashed,2\na,2,finished,\na,3,running,4\nb,0,,5\n"


def test_failures_are_a_column_or_missing_values(tmp_path):
    path = written(tmp_path, STATES)
    with pytest.raises(UsageError, match="a, seed 2: no loss; --missing failed"):
        read(path, failed="State")
    logs = read(path, failed="State", missing="failed")
    runs = logs.runs["a",]
    assert {seed: (run.status, run.why, run.surviving("loss")) for seed, run in runs.items()} == {
        0: ("complete", "", 1.0),
        1: ("diverged", "State is crashed", None),
        2: ("diverged", "has no loss", None),
    }
    assert logs.warnings == [f"1 run left out, not ended yet, such as {path}, line 5"]
    logs = read(path, failed="State", missing="left-out")
    assert list(logs.runs["a",]) == [0, 1]
    assert logs.warnings[1] == "1 run left out without a finite loss, such as a, seed 2"
    named = read(path, failed="State=running,crashed", missing="failed")
    assert [run.status for run in named.runs["a",].values()] == ["complete", "diverged", "diverged", "diverged"]
    for failed, message in (
        ("State=gone", "no State in .* is gone"),
        ("Stat", "no column 'Stat', did you mean 'State'"),
    ):
        with pytest.raises(UsageError, match=message):
            read(path, failed=failed)
    with pytest.raises(UsageError, match=r"whether State 'weird' means failed, --failed 'State=VALUE,…' has to say"):
        read(written(tmp_path, STATES.replace("crashed", "weird")), failed="State")


def chart(names, steps=4):
    """A chart as Weights & Biases exports it."""
    columns = [f"{name} - val/loss{end}" for name in names for end in ("", "__MIN", "__MAX")]
    header = ",".join(f'"{column}"' for column in ["Step", *columns])
    lines = [
        ",".join([str(step), *(f'"{10 * index + 1 / (step + 1)}"' for index in range(len(names)) for _ in range(3))])
        for step in range(steps)
    ]
    return "\n".join([header, *lines])


def test_a_chart_of_weights_and_biases(tmp_path):
    path = written(tmp_path, chart(["ppo-seed0", "ppo-seed1", "a - b/3"]))
    for metric in (None, "val/loss"):
        logs = read(path, metric)
        assert values(logs) == {("ppo",): {0: 0.25, 1: 10.25}, ("a - b",): {3: 20.25}}
        assert logs.runs["ppo",][1].points == {0: 11.0, 1: 10.5, 2: 10 + 1 / 3, 3: 10.25}
    path = written(tmp_path, chart(["bright-sun-3", "dark-sea-4"]))
    with pytest.raises(UsageError, match="do not say variant and seed, as in that of 'bright-sun-3'; --runs-regex"):
        read(path, "val/loss")
    logs = read(path, "val/loss", runs_regex=r"(?P<variant>[a-z]+)-.*-(?P<seed>\d+)")
    assert values(logs) == {("bright",): {3: 0.25}, ("dark",): {4: 10.25}}
    assert not read(path, "val/loss", runs_regex="(?P<variant>[a-z]+)").seeded
    for options, message in (
        ({"seed": "seed"}, "--seed: .* is a chart with a column for each run"),
        ({"runs_regex": "("}, "--runs-regex: is no regular expression"),
        ({"runs_regex": "x"}, "needs a group for the variant"),
        ({"runs_regex": "(?P<variant>zz)"}, "does not match the name of any run"),
        ({"runs_regex": "(?P<variant>.)(?P<seed>.)"}, "the seed of bright-sun-3 is 'r'"),
    ):
        with pytest.raises(UsageError, match=message):
            read(path, "val/loss", **options)
    with pytest.raises(UsageError, match="has no column of 'val/los', did you mean 'val/loss'"):
        read(path, "val/los")


def test_a_file_for_each_run(tmp_path):
    """As loggers write them that know no other runs."""
    for name in ("a", "b"):
        for seed in (3, 4):
            (tmp_path / name / f"s{seed}").mkdir(parents=True)
            written(tmp_path / name / f"s{seed}", f"step,loss,lr\n1,5,1\n2,{seed},1\n", "progress.csv")
    paths = sorted(tmp_path.glob("*/*/progress.csv"))
    logs = read_logs(paths, "loss", LogOptions(runs_regex=r"(?P<variant>\w+)/s(?P<seed>\d)/"))
    assert values(logs) == {("a",): {3: 3.0, 4: 4.0}, ("b",): {3: 3.0, 4: 4.0}}
    with pytest.raises(UsageError, match="are both a, seed 3, with different results"):
        read_logs(
            [*paths, written(tmp_path, "step,loss\n1,9\n", "a/s3/other.csv")],
            "loss",
            LogOptions(runs_regex=r"(?P<variant>\w+)/s(?P<seed>\d)/"),
        )


# Event files


def test_event_files_of_tensorboardx(tmp_path):
    for name in ("adam", "sgd"):
        for seed in range(2):
            write_events(tmp_path / name / f"seed{seed}", enumerate(losses(name, seed, 5)), other=1.0)
    assert are_logs([tmp_path], LogOptions())
    logs = read(tmp_path)
    expected = {(name,): {seed: np.float32(losses(name, seed, 5)[-1]) for seed in range(2)} for name in ("adam", "sgd")}
    assert values(logs) == expected
    assert list(logs.runs["sgd",][1].points) == [0, 1, 2, 3, 4]
    with pytest.raises(UsageError, match=r"logged 'los', did you mean 'loss'\? \(logged: .*loss"):
        read(tmp_path, "los")
    with pytest.raises(UsageError, match="--seed: names a column"):
        read(tmp_path, seed="seed")


@pytest.mark.parametrize(
    ("folders", "regex", "expected"),
    [
        (["a/0", "a/1"], "", {("a",): {0, 1}}),
        (["x/a/seed_0", "x/b/SEED-1"], "", {("x/a",): {0}, ("x/b",): {1}}),
        (["a_seed3", "b-seed=4"], "", {("a",): {3}, ("b",): {4}}),
        (["a/s0", "a/s1", "a/s1/extra"], "", {("a",): {0, 1}}),
        (["env__ppo__1__169", "env__sac__2__7"], r"__(?P<variant>\w+?)__(?P<seed>\d+)", {("ppo",): {1}, ("sac",): {2}}),
        (["a/first", "a/second"], r"(?P<variant>\w)/\w+$", {("a",): {0, 1}}),
    ],
)  # fmt: skip
def test_paths_say_variant_and_seed(tmp_path, folders, regex, expected):
    for folder in folders:
        write_events(tmp_path / "logs" / folder, [(0, 1.0)])
    logs = read(tmp_path / "logs", runs_regex=regex)
    assert {names: set(runs) for names, runs in logs.runs.items()} == expected
    assert bool(logs.warnings) == any("extra" in folder for folder in folders)


@pytest.mark.parametrize("sources", [["logs"], ["logs/a", "logs/b"], ["logs/a/seed1", "logs/a/seed2", "logs/b/seed1"]])
def test_folders_at_any_height(tmp_path, sources):
    """As a shell lists them for a pattern."""
    for folder in ("a/seed1", "a/seed2", "b/seed1"):
        write_events(tmp_path / "logs" / folder, [(0, 1.0)])
    logs = read_logs([tmp_path / source for source in sources], "loss", LogOptions())
    assert {names: set(runs) for names, runs in logs.runs.items()} == {("a",): {1, 2}, ("b",): {1}}


def test_a_run_that_was_started_again_goes_on_from_its_first_new_step(tmp_path):
    for number, points in enumerate(([(0, 9.0), (1, 8.0), (2, 7.0), (3, 6.0)], [(2, 5.0), (4, 4.0)])):
        write_events(tmp_path / "a" / f"part{number}", points)
        (file,) = (tmp_path / "a" / f"part{number}").iterdir()
        (tmp_path / "logs" / "a" / "0").mkdir(parents=True, exist_ok=True)
        file.rename(tmp_path / "logs" / "a" / "0" / f"events.out.tfevents.{number}")
    assert read(tmp_path / "logs").runs["a",][0].points == {0: 9.0, 1: 8.0, 2: 5.0, 4: 4.0}


def test_the_folder_of_a_run_that_has_the_metric(tmp_path):
    """Keras, among others, writes training and validation into folders of their own."""
    regex = r"(?P<variant>\w)/seed(?P<seed>\d)"
    write_events(tmp_path / "a" / "seed0" / "train", [(0, 1.0)])
    write_events(tmp_path / "a" / "seed0" / "validation", [(0, 1.0)], val=2.0)
    assert values(read(tmp_path, "val", runs_regex=regex)) == {("a",): {0: 2.0}}
    with pytest.raises(UsageError, match="are both a, seed 0; --runs-regex chooses one of them"):
        read(tmp_path, "loss", runs_regex=regex)


def tensor_event(value, step, plugin="scalars"):
    """A scalar as TensorFlow 2 writes it."""
    metadata = summary_pb2.SummaryMetadata(plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin))
    content = summary_pb2.Summary.Value(tag="loss", tensor=make_tensor_proto(value), metadata=metadata)
    return event_pb2.Event(step=step, summary=summary_pb2.Summary(value=[content])).SerializeToString()


def record(data):
    parts = struct.pack("<Q", len(data)), data
    return b"".join(part + struct.pack("<I", tensorboard.masked_crc32c(part)) for part in parts)


def test_scalars_of_tensorflow_2_are_tensors(tmp_path):
    path = tmp_path / "events.out.tfevents.1"
    kinds = [np.float32(1.5), np.float64(2.5), np.float16(0.5), np.int64(3), np.int32(-4), np.float32(0)]
    records = [record(tensor_event(value, step)) for step, value in enumerate(kinds)]
    # As a list of numbers in place of their bytes.
    listed = summary_pb2.Summary.Value(tag="loss", tensor=tensor_pb2.TensorProto(dtype=19, half_val=[0x3E00]))
    records.append(record(event_pb2.Event(step=6, summary=summary_pb2.Summary(value=[listed])).SerializeToString()))
    others = [record(tensor_event(value, 9)) for value in (np.arange(3.0), b"a text", np.array([], np.float32))]
    path.write_bytes(b"".join([*records, *others]))
    read_back = [(one.step, one.value) for one in tensorboard.read_scalars(path)]
    assert read_back == list(enumerate([1.5, 2.5, 0.5, 3.0, -4.0, 0.0, 1.5]))


def test_event_files_that_are_cut_off_or_damaged(tmp_path):
    folder = tmp_path / "a" / "0"
    folder.mkdir(parents=True)
    whole = [record(tensor_event(np.float32(step), step)) for step in range(3)]
    path = folder / "events.out.tfevents.1"
    path.write_bytes(b"".join(whole)[:-5])
    logs = read(tmp_path)
    assert (values(logs), logs.warnings) == ({("a",): {0: 1.0}}, [])
    damaged = bytearray(b"".join(whole))
    damaged[len(whole[0]) + 14] ^= 1
    path.write_bytes(damaged)
    logs = read(tmp_path)
    assert values(logs) == {("a",): {0: 0.0}}
    assert logs.warnings == [f"1 event file is damaged and was read up to there: {path} (a checksum is wrong)"]
    path.write_bytes(b"no events at all, but a text")
    with pytest.raises(UsageError, match=r"no run below .* logged 'loss' \(.*a checksum is wrong"):
        read(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(UsageError, match=r"no run below .* logged 'loss'$"):
        read(tmp_path)


def test_our_runs_and_logs_are_not_mixed(tmp_path):
    (tmp_path / "ours" / "logvar" / "seed0").mkdir(parents=True)
    config = tmp_path / "ours" / "logvar" / "seed0" / "config.toml"
    config.touch()
    csv = written(tmp_path, PLAIN)
    assert not are_logs([tmp_path / "ours"], LogOptions())
    assert are_logs([csv], LogOptions())
    with pytest.raises(UsageError, match=r"results.csv is a log of another program, and .*ours is not"):
        are_logs([tmp_path / "ours", csv], LogOptions())
    with pytest.raises(UsageError, match="are for logs of other programs"):
        are_logs([tmp_path / "ours"], LogOptions(seed="seed"))
    with pytest.raises(UsageError, match="is a file and not a folder; its run is"):
        are_logs([config], LogOptions())
    with pytest.raises(UsageError, match="nowhere: does not exist"):
        are_logs([tmp_path / "nowhere"], LogOptions())


def test_logs_that_name_variants_differently(tmp_path):
    with pytest.raises(UsageError, match="method in one and algo in another"):
        read_logs(
            [written(tmp_path, PLAIN), written(tmp_path, "algo,seed,loss\nx,1,1\n", "b.csv")], "loss", LogOptions()
        )


@pytest.mark.parametrize("options", [{"seed": 3}, {"missing": "lost"}, {"variant": (1,)}])
def test_wrong_options(options):
    with pytest.raises(UsageError, match=f"--{next(iter(options))}"):
        LogOptions(**options)


class Frame:
    """What is relied on of a data frame that is not pandas', such as polars'."""

    def __init__(self, columns):
        self.columns, self._cells = list(columns), columns

    def __getitem__(self, name):
        return iter(self._cells[name])

    def __len__(self):
        return len(next(iter(self._cells.values())))


class ArrowTable:
    """What is relied on of a table of Arrow, whose `columns` are no names."""

    columns = ([1], [2])

    def __init__(self, columns):
        self._cells = columns

    def to_pydict(self):
        return self._cells


@pytest.mark.parametrize("kind", [Frame, ArrowTable])
def test_data_frames_of_other_libraries(kind):
    columns = {name: [row[name] for row in rows()] for name in rows()[0]}
    assert values(read_logs([table_of(kind(columns), "table 1")], "loss", LogOptions())) == EXPECTED


def test_tables_in_memory():
    columns = {name: [row[name] for row in rows()] for name in rows()[0]}
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns)
    frame["seed"] = frame["seed"].astype(float)
    for data in (columns, rows(), frame, iter(rows())):
        table = table_of(data, "table 1")
        assert values(read_logs([table], "loss", LogOptions())) == EXPECTED
    frame.loc[2, "loss"] = math.nan
    with pytest.raises(UsageError, match="table 1, row 2: adam, seed 2: no finite loss"):
        read_logs([table_of(frame, "table 1")], "loss", LogOptions())
    frame.loc[2, "loss"] = 1.0
    frame["state"] = ["crashed", None, *["finished"] * (len(frame) - 2)]
    runs = read_logs([table_of(frame, "table 1")], "loss", LogOptions(failed="state")).runs
    assert [run.status for run in runs["adam",].values()][:3] == ["diverged", "complete", "complete"]
    frame.loc[4, "method"] = None
    with pytest.raises(UsageError, match="table 1, row 4: has no method"):
        read_logs([table_of(frame, "table 1")], "loss", LogOptions())
    for data in (3, ["a"], "text", None):
        assert table_of(data, "table 1") is None
    for data, message in (({"a": [1], "b": []}, "differ in length"), ({}, "has no rows"), ([], "has no rows")):
        with pytest.raises(UsageError, match=message):
            table_of(data, "table 1")
