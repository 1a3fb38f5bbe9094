"""Which runs the counterfactuals of two variants are, which of them are found, and which are missing."""

import dataclasses

import pytest
from helpers.outcomes import write

from vaecli import Config, UsageError
from vaecli.report.parts import Counterfactual
from vaecli.runs.directory import run_path
from vaecli.sweep.counterfactuals import check_software, explained_pair
from vaecli.vae.heads.table import HEADS, control_of

METRIC = "test/elbo"
OWN = {side: Counterfactual(side, False, "own", "own") for side in "ab"}
MATCHED = Counterfactual("b", False, "matched", "matched")


def runs_of(folder, *settings, seeds=range(3), vary=(), name="s"):
    for of_one in settings:
        for seed in seeds:
            write(folder, -100.0 - seed, vary, seed=seed, name=name, **of_one)


def looked(folder, a, b, **options):
    return explained_pair((a, b), [folder], METRIC, **options)


def trained(known):
    """The settings of the missing runs that are not at their defaults, and their seeds."""
    plain = Config(name="s-explained")
    return [
        (
            {
                name: value
                for name, value in dataclasses.asdict(task.config).items()
                if value != getattr(plain, name) and name != "seed"
            },
            list(task.seeds),
        )
        for task in known.missing.tasks
    ]


BOTH = {"init": "matched", "head_lr": "matched"}


def test_counterfactuals_of_a_head_against_logvar(tmp_path):
    """All of logvar's are itself; the other head has three more, and natural its control."""
    runs_of(tmp_path, {"param": "logvar"}, {"param": "softplus_std"}, {"param": "natural"})
    known = looked(tmp_path, "logvar", "softplus_std")
    assert known.controls == {}
    assert trained(known) == [
        ({"param": "softplus_std", **BOTH}, [0, 1, 2]),
        ({"param": "softplus_std", "head_lr": "matched"}, [0, 1, 2]),
        ({"param": "softplus_std", "init": "matched"}, [0, 1, 2]),
    ]
    with_control = looked(tmp_path, "logvar", "natural")
    assert with_control.controls == {"b": "softplus_prec"}
    assert trained(with_control) == [
        ({"param": "softplus_prec", **BOTH}, [0, 1, 2]),
        ({"param": "natural", **BOTH}, [0, 1, 2]),
        ({"param": "natural", "head_lr": "matched"}, [0, 1, 2]),
        ({"param": "natural", "init": "matched"}, [0, 1, 2]),
    ]


def test_what_is_the_same_bit_for_bit_is_not_trained(tmp_path):
    """logstd matched in both is logvar; softplus_prec matched is the control of natural and its own counterfactual."""
    runs_of(tmp_path, {"param": "logvar"}, {"param": "logstd"}, {"param": "natural"}, {"param": "softplus_prec"})
    known = looked(tmp_path, "logvar", "logstd")
    assert known.runs[MATCHED] is known.runs[OWN["a"]]
    assert [settings for settings, _ in trained(known)] == [
        {"param": "logstd", "head_lr": "matched"},
        {"param": "logstd", "init": "matched"},
    ]
    coupled = looked(tmp_path, "softplus_prec", "natural")
    of_a = Counterfactual("a", False, "matched", "matched")
    assert coupled.runs[of_a] is coupled.runs[Counterfactual("b", True, "matched", "matched")]
    assert len(coupled.missing.tasks) == 6


def test_in_float16_they_are_trained(tmp_path):
    """There a gradient that is twice as large has other digits."""
    runs_of(tmp_path, *({"param": name, "precision": "float16"} for name in ("logvar", "logstd")))
    assert len(looked(tmp_path, "logvar", "logstd").missing.tasks) == 3


def test_runs_that_are_there_count_wherever_they_are(tmp_path):
    runs_of(tmp_path, {"param": "logvar"}, {"param": "softplus_std"})
    # In the folder of all, by another name and by numbers that match; and one seed where they would be trained.
    runs_of(tmp_path / "elsewhere", {"param": "softplus_std", **BOTH}, vary=("init", "head_lr"), name="other")
    runs_of(
        tmp_path, {"param": "softplus_std", "init": "matched"}, vary=("init", "head_lr"), name="s-explained", seeds=[1]
    )
    known = explained_pair(("logvar", "softplus_std"), [tmp_path / "s", tmp_path / "elsewhere"], METRIC)
    assert list(known.runs[MATCHED].runs) == [0, 1, 2]
    assert trained(known) == [
        ({"param": "softplus_std", "head_lr": "matched"}, [0, 1, 2]),
        ({"param": "softplus_std", "init": "matched"}, [0, 2]),
    ]


def test_runs_of_other_settings_do_not_count(tmp_path):
    runs_of(tmp_path, {"param": "logvar"}, {"param": "softplus_std"})
    others = {**BOTH, "epochs": 3}
    runs_of(tmp_path, {"param": "softplus_std", **others}, vary=("init", "head_lr", "epochs"))
    assert len(looked(tmp_path, "logvar", "softplus_std").missing.tasks) == 3


def test_where_they_are_trained(tmp_path):
    """Beside the runs, in folders that name start, rate and all settings that are no defaults; as often as asked."""
    settings = {"epochs": 3, "lr": 0.003}
    runs_of(tmp_path, *({"param": name, **settings} for name in ("logvar", "softplus_std")))
    sweep = looked(tmp_path, "logvar", "softplus_std").missing
    assert sweep.runs == tmp_path
    paths = {str(sweep.path(task, 0).relative_to(tmp_path)) for task in sweep.tasks}
    both = "softplus_std,init=matched,epochs=3,lr=0.003,head_lr=matched"
    assert f"s-explained/{both}/seed0" in paths
    elsewhere = looked(tmp_path, "logvar", "softplus_std", runs=tmp_path / "mine").missing
    assert elsewhere.path(elsewhere.tasks[0], 0).is_relative_to(tmp_path / "mine" / "s-explained")
    # Runs that lie otherwise say nothing of a folder.
    (tmp_path / "s").rename(tmp_path / "renamed")
    assert str(looked(tmp_path, "logvar", "softplus_std").missing.runs) == "runs"


def test_only_shared_seeds_count(tmp_path):
    runs_of(tmp_path, {"param": "logvar"}, seeds=range(5))
    runs_of(tmp_path, {"param": "softplus_std"}, seeds=range(1, 6))
    assert [list(task.seeds) for task in looked(tmp_path, "logvar", "softplus_std").missing.tasks] == [[1, 2, 3, 4]] * 3
    assert looked(tmp_path, "logvar", "softplus_std", seeds=2).missing.tasks[0].seeds == [1, 2]


def test_a_start_of_its_own(tmp_path):
    """A head that is started and stepped otherwise has these as its own, and the reference's where they are matched."""
    own = {"init": "native", "init_weight": 0.5, "head_lr": 2.0, "head_eps": 3.0}
    runs_of(tmp_path, {"param": "logvar"}, vary=list(own))
    runs_of(tmp_path, {"param": "softplus_std", **own}, vary=list(own))
    assert [settings for settings, _ in trained(looked(tmp_path, "logvar", "softplus_std"))] == [
        {"param": "softplus_std", **BOTH},
        {"param": "softplus_std", "init": "native", "init_weight": 0.5, "head_lr": "matched"},
        {"param": "softplus_std", "init": "matched", "head_lr": 2.0, "head_eps": 3.0},
    ]


def test_a_name_that_fits_several_is_the_plain_one(tmp_path):
    """With the counterfactuals among the folders, a head alone means the variant at the defaults."""
    runs_of(tmp_path, {"param": "logvar"}, {"param": "softplus_std"}, vary=("init",))
    runs_of(tmp_path, {"param": "softplus_std", "init": "matched"}, vary=("init",))
    known = looked(tmp_path, "logvar", "softplus_std")
    assert known.b.config.init == "centred"
    # Where the two do not differ, their names have no need to say it.
    assert (known.a.name, known.b.name) == ("logvar", "softplus_std")
    other = looked(tmp_path, "logvar", "softplus_std,init=matched")
    assert (other.a.name, other.b.name) == ("logvar,init=centred", "softplus_std,init=matched")


def test_heads_of_the_decoder(tmp_path):
    settings = {"likelihood": "gaussian"}
    for head in ("logvar", "softplus_std"):
        runs_of(tmp_path, {**settings, "decoder_param": head}, vary=("decoder_param",))
    known = looked(tmp_path, "decoder_param=logvar", "decoder_param=softplus_std")
    assert {"likelihood": "gaussian", "decoder_param": "softplus_std", "decoder_lr": "matched"} in [
        settings for settings, _ in trained(known)
    ]
    assert len(known.missing.tasks) == 3


def test_controls():
    assert control_of(HEADS["natural"]) is HEADS["softplus_prec"]
    assert all(control_of(head) is None for head in HEADS.values() if not head.couples_mean)


REFUSED = [
    (("logvar", "logvar"), {}, "A and B are both logvar,epochs=10; a difference"),
    (("logvar", "naturel"), {}, "B: no run is 'naturel', did you mean 'natural,epochs=10'?"),
    (("", "natural"), {}, "A: must name a variant"),
    (("logvar", "natural,lr=0.1,nonsense=3"), {}, "B: unknown setting 'nonsense'"),
    (("logvar", "fixed"), {}, "fixed,epochs=10 has no output u"),
    (("logvar", "abs_std"), {}, "logvar,epochs=10 and abs_std,epochs=10 share one seed"),
    (("logvar", "elu_std"), {}, "logvar,epochs=10 and elu_std,epochs=4 differ in epochs, too"),
    (("logvar", "natural"), {"metric": "nll"}, "--metric: nll is no logged scalar"),
    (("logvar", "natural"), {"metric": "lr-window:0.5"}, "--metric: lr-window:0.5 is no logged scalar"),
    (("logvar", "natural"), {"metric": "test/elbow"}, "--metric: no run logged 'test/elbow', did you mean 'test/elbo'"),
]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    runs_of(folder, {"param": "logvar"}, {"param": "natural"}, {"param": "fixed"})
    runs_of(folder, {"param": "abs_std"}, seeds=[0])
    runs_of(folder, {"param": "elu_std", "epochs": 4})
    return folder


@pytest.mark.parametrize(("names", "options", "message"), REFUSED)
def test_what_is_refused(names, options, message, many):
    with pytest.raises(UsageError) as error:
        explained_pair(names, [many], **{"metric": METRIC, **options})
    assert str(error.value).startswith(message)


def test_other_data(tmp_path):
    runs_of(tmp_path, {"param": "logvar"})
    for seed in range(3):
        write(tmp_path, -100.0, param="natural", seed=seed, name="s", data={"train": "c" * 64, "test": "d" * 64})
    with pytest.raises(UsageError, match="were trained on different data"):
        looked(tmp_path, "logvar", "natural")


def test_nothing_to_read(tmp_path):
    with pytest.raises(UsageError, match="no run that has ended"):
        looked(tmp_path, "logvar", "natural")


def test_software_that_is_not_that_of_the_runs(many):
    """They were made by another commit; what would be trained now could not be compared with them."""
    known = looked(many, "logvar", "natural")
    with pytest.raises(UsageError, match="counterfactuals that are trained now do not go with these runs"):
        check_software(known, METRIC, allowed=False)
    check_software(known, METRIC, allowed=True)


def test_a_damaged_run_is_left_out(tmp_path):
    runs_of(tmp_path, {"param": "logvar"}, {"param": "natural"})
    path = run_path(tmp_path, Config(param="natural", name="s", seed=2))
    (path / "summary.json").write_text("{")
    known = looked(tmp_path, "logvar", "natural")
    assert list(known.a.runs) == [0, 1]
    assert "cannot be read" in known.warnings[0]
