"""HParams, as the backend of TensorBoard's own plugin answers its page."""

import dataclasses
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

from vaecli import Config
from vaecli.config import SETTINGS
from vaecli.runs.hparams import RunFacts, columns
from vaecli.runs.run_events import TensorBoardWriter

HEADS = [f"head{k}" for k in range(12)]
STATUSES = (api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_RUNNING)


def answers(folder):
    """The columns and the trials that the page gets."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    context, request = backend_context.Context(SimpleNamespace(data_provider=provider)), RequestContext()
    of_columns = get_experiment.Handler(request, context, "", api_pb2.GetExperimentRequest()).run()
    of_trials = list_session_groups.Handler(
        request,
        context,
        "",
        api_pb2.ListSessionGroupsRequest(start_index=0, slice_size=100, allowed_statuses=STATUSES),
    ).run()
    return of_columns, {group.name: group for group in of_trials.session_groups}


def write(folder, name, config, facts, status="complete"):
    path = folder / name
    path.mkdir(parents=True)
    writer = TensorBoardWriter(path, config, {}, facts)
    writer.write(5, 1, {"test/elbo": -100.5 - config.seed}, {})
    writer.end(status)
    writer.close()


def shown(info):
    return info.display_name or info.name


@pytest.mark.parametrize(
    ("varied", "first"),
    [
        ([], ["param", "seed"]),
        (["lr"], ["param", "seed", "lr"]),
        (["bound", "weight_decay", "param"], ["param", "seed", "bound", "weight_decay"]),
        (["data_dir"], ["param", "seed", "data"]),
        (["weight_decay"], ["param", "seed", "weight_decay"]),
    ],
)
def test_the_first_columns(tmp_path, varied, first):
    write(tmp_path, "a/seed0", Config(), RunFacts(varied, "MNIST ba891046", HEADS))
    experiment, _ = answers(tmp_path)
    assert [shown(info) for info in experiment.hparam_infos][: len(first)] == first
    differing = [info.differs for info in experiment.hparam_infos]
    assert differing == [k < len(first) for k in range(len(SETTINGS))]
    assert {shown(info) for info in experiment.hparam_infos} == {*SETTINGS, "data"} - {"data_dir"}
    assert experiment.metric_infos[0].name.tag == "test/elbo"


def test_trials_of_several_sweeps_in_one_table(tmp_path):
    """Whichever run's columns are taken, each trial has a value in each."""
    write(tmp_path, "x/seed1", Config(param="logstd", seed=1, hidden=(9, 8)), RunFacts([], "MNIST ba891046", HEADS))
    write(tmp_path, "y/seed0", Config(lr=0.5, head_lr=2.0), RunFacts(["lr"], "fashion 12345678", HEADS), "diverged")
    experiment, trials = answers(tmp_path)
    for trial in trials.values():
        assert {info.name for info in experiment.hparam_infos} <= set(trial.hparams)
    by_title = {
        name: {shown(info): trial.hparams[info.name] for info in experiment.hparam_infos}
        for name, trial in trials.items()
    }
    assert by_title["x/seed1"]["param"].string_value == "logstd"
    assert by_title["x/seed1"]["seed"].number_value == 1
    assert by_title["x/seed1"]["hidden"].string_value == "9,8"
    assert by_title["x/seed1"]["data"].string_value == "MNIST ba891046"
    assert by_title["y/seed0"]["lr"].number_value == 0.5
    # A number here and a word there, and so a word in every run.
    assert (by_title["x/seed1"]["head_lr"].string_value, by_title["y/seed0"]["head_lr"].string_value) == (
        "native",
        "2.0",
    )
    assert [trials[name].sessions[0].status for name in ("x/seed1", "y/seed0")] == [STATUSES[1], STATUSES[2]]
    assert [trials[name].metric_values[0].value for name in ("x/seed1", "y/seed0")] == [-101.5, -100.5]


def test_a_setting_has_one_type_whatever_its_value():
    def kinds(config):
        return {column.title or column.name: type(column.value) for column in columns(config, RunFacts(heads=HEADS))}

    base = kinds(Config())
    others = (Config(head_lr=2.0), Config(head_lr="matched"), Config(lr=1), Config(hidden=()), Config(channels=(4, 8)))
    for config in others:
        assert {name: float if kind is int else kind for name, kind in kinds(config).items()} == {
            name: float if kind is int else kind for name, kind in base.items()
        }


def test_words_have_a_domain_with_their_value():
    """Without one, the table beside the curves leaves it out; from ten words on, it is filtered by a pattern."""
    config = dataclasses.replace(Config(), param="my_heads:mine", validation=True)
    for column in columns(config, RunFacts(data="MNIST ba891046", heads=HEADS)):
        if isinstance(column.value, str | bool):
            assert column.value in column.domain, column
    (param,) = (column for column in columns(config, RunFacts(heads=HEADS)) if column.name == "param")
    assert list(param.domain) == [*HEADS, "my_heads:mine"]
