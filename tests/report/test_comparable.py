"""What may be compared: a metric is the same quantity in all runs, and nothing differs that nobody asked about."""

import json

import pytest
from helpers.outcomes import write

from vaecli import Config, UsageError
from vaecli.cli.main import main
from vaecli.report.comparable import head_units, no_density, several_quantities
from vaecli.report.compare import compare
from vaecli.report.model import Question


def pair(changes, other, **shared):
    return [Config(param="logvar", **shared, **changes), Config(param="logstd", **shared, **other)]


GAUSSIAN = {"likelihood": "gaussian"}
STUDENT = {"likelihood": "student"}
NETWORK = {"likelihood": "student", "decoder_scale": "network"}
NATURAL = {"likelihood": "gaussian", "decoder_gradient": "natural"}
IWAE = {"objective": "iwae", "samples": 5}
ANOTHER_QUANTITY = [
    ("test/elbo", {}, {"binarisation": "threshold"}, "binarisation grey and threshold"),
    ("test/kl", {}, {"binarisation": "dynamic"}, "binarisation dynamic and grey"),
    ("safety/saturated", {}, {"binarisation": "fixed"}, "binarisation fixed and grey"),
    ("train/elbo", {"binarisation": "fixed"}, {"binarisation": "dynamic"}, "binarisation dynamic and fixed"),
    ("test/elbo", {}, {"data_transpose": True}, "data_transpose false and true"),
    ("test/elbo", {}, GAUSSIAN, "likelihood bernoulli and gaussian"),
    ("validation/reconstruction", {"validation": True}, {"validation": True, **GAUSSIAN}, "likelihood"),
    ("nll", {}, GAUSSIAN, "likelihood"),
    ("grad/fisher_ratio", {}, GAUSSIAN, "likelihood"),
    ("test/elbo", {"decoder_param": "fixed"}, {}, "decoder_param fixed and logvar"),
    ("likelihood/sigma", {"decoder_param": "fixed"}, {"decoder_param": "logstd"}, "decoder_param fixed and logstd"),
    (
        "test/elbo",
        {"decoder_param": "fixed"},
        {"decoder_param": "fixed", "decoder_std": 0.5},
        "decoder_std 0.1 and 0.5",
    ),
    ("test/iwae", IWAE, IWAE | {"samples": 50}, "samples 5 and 50"),
    ("train/objective", IWAE, {"beta": 2.0}, "objective elbo and iwae; beta 1 and 2"),
    ("train/objective", {"beta": 2.0}, {"beta": 2.0, "beta_warmup": 10}, "beta_warmup 0 and 10"),
    ("grad/variance/encoder", {}, {"beta": 2.0}, "beta 1 and 2"),
    ("grad/scale_variance/log_sigma", IWAE, {}, "objective elbo and iwae"),
    ("train/elbo", {}, {"validation": True}, "validation false and true"),
    ("train/kl", {}, {"log_every": 5}, "log_every 1 and 5"),
    ("train/kl", {"log_every": 5}, {"log_every": 5, "epochs": 11}, "log_every (the last 1 epoch) and (the last 5"),
    ("grad/variance/decoder", {}, {"batch_size": 64}, "batch_size 64 and 128"),
    ("grad/snr/decoder", {}, {"batch_size": 64}, "batch_size"),
    ("safety/sigma/max", {}, {"batch_size": 64}, "batch_size"),
    ("grad/signal/decoder", {}, {"hidden": (200,)}, "hidden 200 and 400"),
    ("grad_se/snr/decoder", {}, {"grad_batches": 2}, "grad_batches 2 and 4"),
    (
        "test/bits_per_dim",
        GAUSSIAN,
        {"likelihood": "discretised_logistic"},
        "likelihood discretised_logistic and gauss",
    ),
    ("test/elbo", {}, {"likelihood": "continuous_bernoulli"}, "likelihood bernoulli and continuous_bernoulli"),
    (
        "nll",
        {"likelihood": "discretised_logistic"},
        {"likelihood": "student"},
        "likelihood discretised_logistic and stu",
    ),
    ("nll", GAUSSIAN, GAUSSIAN | {"binarisation": "dequantised"}, "binarisation dequantised and grey"),
    ("grad/variance/encoder", GAUSSIAN, {"likelihood": "laplace"}, "likelihood gaussian and laplace"),
    ("safety/tau/median", GAUSSIAN, {"likelihood": "student"}, "likelihood gaussian and student"),
    ("safety/tau/median", STUDENT, STUDENT | {"student_df": 3.0}, "student_df 3 and 4"),
    ("safety/tau/median", GAUSSIAN, GAUSSIAN | {"decoder_param": "fixed"}, "decoder_param fixed and logvar"),
    ("train/elbo", GAUSSIAN, GAUSSIAN | {"decoder_scale": "optimal"}, "decoder_scale optimal and shared"),
    ("grad/variance/decoder", GAUSSIAN, GAUSSIAN | {"decoder_scale": "optimal"}, "decoder_scale optimal and shared"),
    ("grad/signal/decoder_scale", STUDENT, STUDENT | {"decoder_scale": "pixel"}, "decoder_scale pixel and shared"),
    (
        "grad/variance/encoder",
        GAUSSIAN,
        GAUSSIAN | {"decoder_gradient": "beta:0.5"},
        "decoder_gradient beta:0.5 and nll",
    ),
    ("grad/variance/decoder_scale", GAUSSIAN, NATURAL, "decoder_gradient natural and nll"),
    ("grad/variance/scale_head", {}, {"head_gradient": "natural"}, "head_gradient natural and plain"),
    ("grad_se/scale_variance/weights", {}, {"encoder_scale": "free"}, "encoder_scale free and network"),
]


@pytest.mark.parametrize(("metric", "changes", "other", "named"), ANOTHER_QUANTITY)
def test_settings_that_define_a_metric(metric, changes, other, named):
    shared = GAUSSIAN if "decoder_param" in changes else {}
    lines = several_quantities(metric, pair(changes, other, **shared))
    assert len(lines) == 1
    assert lines[0].startswith(f"{metric} is not the same quantity for all of these runs: {named}")


@pytest.mark.parametrize(
    ("metric", "changes", "other"),
    [
        ("test/elbo", {}, {"epochs": 20, "batch_size": 64, "lr": 0.1, "hidden": (3,), "latent": 2}),
        ("test/elbo", {"binarisation": "fixed"}, {"binarisation": "dynamic"}),
        ("test/elbo", {}, {"beta": 4.0, "validation": True, "log_every": 5}),
        ("test/elbo", IWAE, {"samples": 2}),
        ("test/kl", {}, GAUSSIAN),
        ("test/iwae", IWAE, IWAE | {"beta": 2.0}),
        ("train/elbo", {"epochs": 10, "log_every": 5}, {"epochs": 15, "log_every": 5}),
        ("train/objective", {"beta": 2.0, "samples": 2}, {"beta": 2.0}),
        ("train/skipped", {}, {"log_every": 5}),
        ("test/elbo", GAUSSIAN | {"decoder_std": 0.5}, GAUSSIAN | {"decoder_param": "softplus_std"}),
        ("grad/snr/encoder", IWAE, {"estimator": "stl", "beta": 2.0}),
        ("grad/variance/encoder", {}, {"estimator": "stl", "kl": "mc"}),
        ("grad/epsilon_fraction/encoder", {}, {"batch_size": 64}),
        ("safety/sigma/median", {}, {"batch_size": 64}),
        # Log densities of the same pixels.
        ("test/elbo", GAUSSIAN, {"likelihood": "laplace"}),
        ("nll", STUDENT, STUDENT | {"student_df": 3.0}),
        ("test/elbo", {"likelihood": "continuous_bernoulli"}, GAUSSIAN),
        ("test/elbo", GAUSSIAN, GAUSSIAN | {"decoder_scale": "optimal"}),
        ("test/elbo", STUDENT | {"decoder_scale": "pixel"}, NETWORK | {"decoder_gradient": "faithful"}),
        ("train/kl", GAUSSIAN, GAUSSIAN | {"decoder_scale": "optimal"}),
        ("grad/variance/decoder", GAUSSIAN, NATURAL),
        ("grad/variance/decoder_scale", GAUSSIAN, GAUSSIAN | {"decoder_gradient": "beta:0"}),
        ("grad/variance/encoder", NETWORK, NETWORK | {"decoder_gradient": "beta:0"}),
        ("safety/tau_calibration", GAUSSIAN, {"likelihood": "laplace"}),
        ("grad/variance/decoder", NETWORK, NETWORK | {"decoder_gradient": "natural"}),
        ("grad/variance/encoder", {}, {"head_gradient": "natural"}),
    ],
)
def test_settings_that_do_not(metric, changes, other):
    assert several_quantities(metric, pair(changes, other)) == []


@pytest.mark.parametrize(
    ("metric", "heads", "instead"),
    [
        ("grad/variance/scale_head", ("logvar", "logstd"), "grad/scale_variance/log_sigma"),
        ("grad/scale_variance/raw", ("logvar", "softplus_std"), "grad/scale_variance/log_sigma"),
        ("grad_se/scale_variance/weights", ("logvar", "softplus_std"), "grad/scale_variance/log_sigma"),
        ("grad/signal/scale_head", ("logvar", "logprec"), "grad/unit_snr"),
        ("grad/snr/scale_head", ("logvar", "softplus_std"), "grad/unit_snr"),
        ("grad/noise_scale", ("logvar", "logstd"), "grad/noise_scale/<block>"),
        ("safety/u/median", ("logvar", "logstd"), "safety/sigma/…"),
        ("grad/variance/mean_head", ("logvar", "natural"), "grad/snr/mean_head"),
        ("grad/unit_snr", ("logvar", "natural"), "grad/fisher_ratio"),
        ("grad/variance/scale_head", ("logvar", "my_heads:own"), "grad/scale_variance/log_sigma"),
        ("grad/variance/scale_head", ("logvar", "logvar"), None),
        ("grad/variance/scale_head", ("logvar", "fixed"), None),
        ("grad/variance/encoder", ("logvar", "logstd"), None),
        ("grad/variance/mean_head", ("logvar", "softplus_std"), None),
        ("grad/snr/scale_head", ("logvar", "logstd"), None),
        ("grad/scale_variance/log_sigma", ("logvar", "softplus_std"), None),
        ("grad/fisher_ratio", ("logvar", "natural"), None),
        ("test/elbo", ("logvar", "softplus_std"), None),
    ],
)
def test_units_that_belong_to_a_head(metric, heads, instead):
    lines = head_units(metric, [Config(param=head) for head in heads])
    assert len(lines) == (instead is not None)
    assert all(line.startswith(metric) and f"; {instead} is comparable" in line for line in lines)


@pytest.mark.parametrize(
    "metric", ["test/elbo", "nll", "grad/variance/encoder", "safety/edge_distance", "train/skipped"]
)
def test_precision_is_part_of_the_model_and_not_of_a_metric(metric):
    low = Config(precision="bfloat16", head_precision="float16", loss_scale="dynamic")
    assert several_quantities(metric, [Config(), low]) == []
    assert several_quantities("train/loss_scale", [Config(), Config(log_every=2)]) == []


@pytest.mark.parametrize(
    ("metric", "heads", "instead"),
    [
        ("grad/variance/decoder_scale", ("logvar", "softplus_std"), "grad/snr/decoder_scale"),
        ("grad_se/signal/decoder_scale", ("logvar", "logstd"), "grad/snr/decoder_scale"),
        ("safety/decoder_u/min", ("logvar", "logstd"), "safety/tau/…"),
        ("grad/noise_scale", ("logvar", "logstd"), "grad/noise_scale/<block>"),
        ("grad/snr/decoder_scale", ("logvar", "softplus_std"), "grad/decoder_fisher_ratio"),
        ("grad/snr/decoder_scale", ("logvar", "logprec"), None),
        ("grad/variance/decoder", ("logvar", "softplus_std"), None),
        ("grad/variance/encoder", ("logvar", "softplus_std"), None),
        ("safety/tau/min", ("logvar", "softplus_std"), None),
    ],
)
def test_units_of_the_decoders_head(metric, heads, instead):
    configs = [Config(likelihood="gaussian", decoder_param=head) for head in heads]
    lines = head_units(metric, configs)
    assert len(lines) == (instead is not None)
    assert all(line.startswith(metric) and f"; {instead} is comparable" in line for line in lines)
    # A scale that is worked out has no head, and one that is not learned no u.
    others = [
        Config(likelihood="gaussian", decoder_scale="optimal"),
        Config(likelihood="gaussian", decoder_param="fixed"),
    ]
    assert head_units(metric, [configs[0], *others, Config()]) == []


@pytest.mark.parametrize(
    ("metric", "changes", "noted"),
    [
        ("test/elbo", {}, True),
        ("validation/iwae", {}, True),
        ("nll", {}, True),
        ("test/kl", {}, False),
        ("grad/unit_snr", {}, False),
        ("test/elbo", {"binarisation": "fixed"}, False),
        ("test/elbo", {"likelihood": "continuous_bernoulli"}, False),
        ("test/elbo", GAUSSIAN, False),
    ],
)
def test_a_cross_entropy_of_grey_pixels_is_no_density(metric, changes, noted):
    notes = no_density(metric, [Config(**changes)])
    assert len(notes) == noted
    assert all(note.startswith(metric) and "continuous_bernoulli" in note for note in notes)


def test_the_note_is_the_last_line(tmp_path, capsys):
    for param in ("logvar", "logstd"):
        seeds(tmp_path / "runs", -100.0, param=param)
    page = tmp_path / "page.html"
    assert main(["compare", str(tmp_path / "runs"), "--html", str(page)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("no log density") == 1
    answer = compare([tmp_path / "runs"], Question()).answer
    assert out.index("Note: test/elbo under a Bernoulli likelihood") > out.index(answer[:20])
    assert page.read_text().count("no log density") == 1


def seeds(runs, elbo, vary=(), **settings):
    for seed in range(3):
        write(runs, elbo - seed, vary, seed=seed, **settings)


@pytest.mark.parametrize("field", ["binarisation", "likelihood"])
def test_what_is_not_comparable_is_refused_in_one_line(tmp_path, capsys, field):
    other = {"binarisation": "threshold", "likelihood": "gaussian"}[field]
    for param in ("logvar", "logstd"):
        seeds(tmp_path, -100.0, [field], param=param)
        seeds(tmp_path, 600.0, [field], param=param, **{field: other})
    assert main(["compare", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"test/elbo is not the same quantity for all of these runs: {field} " in err
    assert other in err
    assert "apart" in err
    assert "--allow-mixed" in err
    assert main(["compare", str(tmp_path), "--allow-mixed"]) == 0
    assert f"vae: test/elbo is not the same quantity for all of these runs: {field}" in capsys.readouterr().err
    report = compare(list(tmp_path.glob(f"*/*{other}*")), Question()).to_json()
    assert [row["verdict"] for row in report["settings"]] == ["reference", "equivalent"]
    assert not report["warnings"]


def test_page_does_not_draw_several_quantities_over_each_other(tmp_path):
    """A KL is a KL under any likelihood; the ELBOs beside it are not one quantity."""
    log = [{"step": epoch, "epoch": epoch, "test/elbo": -100.0, "test/kl": 25.0} for epoch in range(2)]
    for param, other in (("logvar", {}), ("logstd", GAUSSIAN)):
        seeds(tmp_path / "runs", -100.0, param=param, log=log, **other)
    page = tmp_path / "page.html"
    assert main(["compare", str(tmp_path / "runs"), "--metric", "test/kl", "--html", str(page)]) == 0
    assert "KL over epochs" in page.read_text()
    assert "ELBO over epochs" not in page.read_text()


def test_a_run_that_diverged_is_part_of_what_is_compared(tmp_path):
    seeds(tmp_path, -100.0)
    write(tmp_path, None, status="diverged", param="logstd", likelihood="gaussian")
    with pytest.raises(UsageError, match="likelihood bernoulli and gaussian"):
        compare([tmp_path], Question())


def test_settings_that_nobody_asked_about_are_named(tmp_path):
    seeds(tmp_path, -100.0)
    for param in ("logstd", "elu_std", "softplus_std", "sigmoid_std"):
        seeds(tmp_path, -99.0, ["epochs"], param=param, epochs=20)
    seeds(tmp_path, -99.0, ["epochs", "batch_size"], param="natural", epochs=20, batch_size=64)
    seeds(tmp_path, -99.0, param="logprec")
    report = compare([tmp_path], Question()).to_json()
    confounders = {row["label"].partition(",")[0]: list(row["confounders"]) for row in report["settings"]}
    assert confounders == {
        "logvar": [],
        "logprec": [],
        "natural": ["epochs", "batch_size"],
        **{param: ["epochs"] for param in ("logstd", "elu_std", "softplus_std", "sigmoid_std")},
    }
    lines = sorted(line for line in report["warnings"] if "compared with a reference that differs" in line)
    assert lines[0] == (
        "1 variant compared with a reference that differs in epochs and batch_size, too, which may be what makes the "
        "difference: natural,epochs=20,batch_size=64 against logvar,epochs=10,batch_size=128"
    )
    assert lines[1].startswith("4 variants compared with a reference that differs in epochs, too, ")
    assert lines[1].count(" against logvar,") == 3
    assert lines[1].endswith(", …")


@pytest.mark.parametrize("reference", ["epochs=10", "logvar,epochs=10", pytest.param("logvar", id="like with like")])
def test_settings_that_were_asked_about_are_not(tmp_path, reference):
    for epochs in (10, 20):
        seeds(tmp_path, -100.0, ["epochs"], epochs=epochs)
        if reference != "logvar,epochs=10":
            seeds(tmp_path, -100.0, ["epochs"], param="logstd", epochs=epochs)
    report = compare([tmp_path], Question(reference=reference)).to_json()
    assert not report["warnings"]
    assert not any(row["confounders"] for row in report["settings"])


def test_settings_whose_effects_were_asked_for_are_not(tmp_path):
    seeds(tmp_path, -100.0)
    for init in ("centred", "matched"):
        seeds(tmp_path, -100.0, ["init"], param="softplus_std", init=init)
    for question, named in ((Question(), True), (Question(effects="init"), False)):
        warnings = compare([tmp_path], question).to_json()["warnings"]
        assert any("a reference that differs in init, too" in line for line in warnings) == named


def test_a_rate_that_was_chosen_was_asked_about(tmp_path):
    for param, best in (("logvar", 1e-3), ("logstd", 1e-2)):
        for lr in (1e-4, 1e-3, 1e-2, 1e-1):
            metrics = {"validation/elbo": -100.0 - (lr != best)}
            seeds(tmp_path, -100.0, ["lr"], param=param, lr=lr, validation=True, metrics=metrics, pilot=1)
        seeds(tmp_path, -100.0, ["lr"], param=param, lr=best, validation=True)
    report = compare([tmp_path], Question(at="best-lr")).to_json()
    assert not any("differs in" in line for line in report["warnings"])


def test_skipped_updates_are_shown_and_warned_about(tmp_path, capsys):
    seeds(tmp_path / "runs", -100.0, on_nonfinite="skip")
    seeds(tmp_path / "runs", -100.1, on_nonfinite="skip", param="logstd")
    summary = tmp_path / "runs" / "mnist" / "logstd" / "seed1" / "summary.json"
    for skipped, words in ((4, "logstd 4 of 10 in 1 of 3 runs"), (10, "1 run skipped every update")):
        summary.write_text(json.dumps(json.loads(summary.read_text()) | {"skipped_updates": skipped}))
        page = tmp_path / "page.html"
        assert main(["compare", str(tmp_path / "runs"), "--html", str(page)]) == 0
        out, err = capsys.readouterr()
        assert "vae: 1 variant skipped updates that were not finite, and went on: " in err
        assert words in err
        assert "skipped" in out
        assert "Skipped updates" in page.read_text()
    report = compare([tmp_path / "runs"], Question()).to_json()
    assert [row["skipped_updates"] for row in report["settings"]] == [0, 10]
    assert [row["skipped_updates"] for row in report["runs"]] == [0, 0, 0, 0, 10, 0]


def test_updates_skipped_by_their_norm_are_another_kind(tmp_path, capsys):
    seeds(tmp_path, -100.0, skip_norm=1.0)
    seeds(tmp_path, -100.1, skip_norm=1.0, param="logstd")
    summary = tmp_path / "mnist" / "logstd" / "seed1" / "summary.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"skipped_updates": 5, "skipped_by_norm": 4}))
    assert main(["compare", str(tmp_path)]) == 0
    err = capsys.readouterr().err
    assert "vae: 1 variant skipped updates that were not finite, and went on: logstd 1 of 10 in 1 of 3 runs" in err
    whose = "whose gradient had a norm above --skip-norm"
    assert f"vae: 1 variant skipped updates {whose}, and went on: logstd 4 of 10 in 1 of 3 runs" in err
    assert (
        several_quantities("train/skipped_by_norm", [Config(skip_norm=1.0), Config(skip_norm=2.0, log_every=5)]) == []
    )
