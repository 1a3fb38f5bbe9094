"""`vae probe`: a trained posterior seen through every head."""

import csv
import dataclasses
import functools
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.outcomes import write
from helpers.programs import built

from vaecli import Config, UsageError
from vaecli.analysis.probe import probe
from vaecli.cli.main import main
from vaecli.config.toml import to_toml
from vaecli.data import load
from vaecli.data.binarise import in_unit
from vaecli.runs.checkpoint import restore, save, snapshot
from vaecli.vae import build
from vaecli.vae.batches import Stream, stream
from vaecli.vae.gradients.moments import moments, outer
from vaecli.vae.gradients.units import mahalanobis_squared
from vaecli.vae.heads.table import HEADS
from vaecli.vae.loss import loss
from vaecli.vae.model import EncoderOutputs, Model
from vaecli.vae.objectives import ObjectiveSpec
from vaecli.vae.posterior import posterior
from vaecli.vae.terms import objective_terms
from vaecli.verify.oracles import GAINS

LEARNED = [name for name, head in HEADS.items() if head.learned]
DRAWS = 16
"""Of all commands that put the run of the posterior through all heads, so that they are one program."""


def model(config, path):
    program, operands = built(config, (6, 5))
    like = {"params": build.state_like(program, operands).params}
    summary = json.loads(Path(path, "summary.json").read_text())
    found = snapshot(Path(path), summary["steps"], summary["checkpoint_sha256"])
    return Model(program, operands, jax.tree.map(jnp.asarray, restore(found, like)["params"]))


def with_drawn_weights(runs, config, spread=0.5):
    """Writes a run as far as a probe reads it, whose weights are drawn: to train it would compile five programs more.

    Every kernel has half the spread that keeps that of its inputs, so that τ stays below 2, or another share of it; the
    biases of both scales are their start, and the others are 0.
    """
    program, operands = built(config, (6, 5))
    rng, starts = np.random.default_rng(2), {"scale_head": operands.start_bias}
    starts["decoder_scale"] = operands.decoder_scale_start

    def drawn(place, like):
        names = [getattr(key, "key", None) for key in place]
        if names[-1] == "kernel":
            return rng.normal(scale=spread * len(like) ** -0.5, size=like.shape).astype(np.float32)
        return np.full(like.shape, starts.get(names[0], 0), np.float32)

    params = jax.tree_util.tree_map_with_path(drawn, build.state_like(program, operands).params)
    path = write(runs, -20.0, data=dict(load(config).sha256), **vars(config))
    summary = json.loads((path / "summary.json").read_text())
    sha256 = save(path, summary["steps"], {"params": params}, {"config": to_toml(config)})
    (path / "summary.json").write_text(json.dumps(summary | {"checkpoint_sha256": sha256}))
    return str(path)


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """A run of `softplus_std`, and its parameters."""
    config = Config(**small | {"param": "softplus_std", "epochs": 3, "lr": 1e-2})
    return config, with_drawn_weights(tmp_path_factory.mktemp("runs"), config, spread=1.0)


def first_images(config):
    """The images of the first batch that is probed."""
    return in_unit(load(config).probe[0])


def probe_keys(vae, draws):
    """The keys of the draws of ε for the first batch that is probed."""
    return jax.random.split(jax.random.fold_in(stream(vae.operands.key, Stream.PROBE), 0), draws)


@pytest.fixture(scope="module")
def everything(trained, tmp_path_factory):
    """All heads, as the command prints, writes and draws them."""
    folder = tmp_path_factory.mktemp("out")
    rows = probe(trained[1], draws=DRAWS, batches=3).rows
    return {row["head"]: row for row in rows}, folder


def test_every_head_is_there(everything, trained):
    rows, _ = everything
    assert list(rows) == LEARNED
    assert all(row["problem"] is None for row in rows.values())
    assert all(value is not None for row in rows.values() for value in row.values() if value != row["problem"])


def test_what_does_not_depend_on_the_head(everything):
    rows, _ = everything
    reference = rows["logvar"]
    for name, row in rows.items():
        assert row["mahalanobis_snr"] == pytest.approx(reference["mahalanobis_snr"], rel=1e-4), name
        if name != "natural":
            for field in ("unit_snr", "sigma_variance", "log_sigma_variance", "fisher_ratio", "fisher_ratio_median"):
                assert row[field] == pytest.approx(reference[field], rel=1e-5), (name, field)
    assert rows["natural"]["unit_snr"] != pytest.approx(reference["unit_snr"], rel=0.05)
    raw = [row["raw_variance"] for row in rows.values()]
    assert max(raw) > 10 * min(raw)


def test_affine_heads_differ_by_their_slope_alone(everything):
    rows, _ = everything
    logvar, logstd, logprec = (rows[name] for name in ("logvar", "logstd", "logprec"))
    assert logstd["block_variance"] == pytest.approx(4 * logvar["block_variance"], rel=1e-6)
    assert logprec["block_variance"] == pytest.approx(logvar["block_variance"], rel=1e-6)
    assert (logvar["cosine"], logstd["cosine"], logprec["cosine"]) == pytest.approx((1, 1, -1), abs=1e-9)
    assert (logvar["mean_gain"], logstd["mean_gain"], logprec["mean_gain"]) == (0.5, 1.0, -0.5)
    assert logstd["step_over_logvar"] == 2
    assert logvar["effective_step"] == pytest.approx(0.5 * 1e-2)
    for row in (logvar, logstd, logprec):
        assert sum(row["gains"]["counts"]) == 3 * 50 * 3
        assert len(row["gains"]["counts"]) == 1


@pytest.mark.parametrize(
    "names",
    [["logvar", "softplus_prec", "abs_std", "natural"], pytest.param(LEARNED, marks=pytest.mark.long)],
    ids=["four", "all"],
)
def test_per_unit_snr_is_free_of_the_head(trained, names):
    """Unit for unit, by autodiff through each head from its own u; the same ε."""
    config, path = trained
    vae = model(config, path)
    heads = [HEADS[name] for name in names]

    @jax.jit
    def snrs(x, epsilon):
        q, _ = vae.encode(x)
        log_likelihood = vae.log_likelihood(x)

        def negative_elbos(outputs, eps):
            # The decoder takes the posteriors of all heads at once; each head's own is all that its outputs enter.
            own = [posterior(head, vae.program.bound, *given) for head, given in zip(heads, outputs, strict=True)]

            def of_head(q):
                return -objective_terms(ObjectiveSpec(), q, log_likelihood, eps[None]).value.sum()

            return jax.vmap(of_head)(jax.tree.map(lambda *leaves: jnp.stack(leaves), *own)).sum()

        means = [q.loc / q.scale**2 if head.couples_mean else q.loc for head in heads]
        outputs = [(mean, head.inverse(q.log_scale)) for head, mean in zip(heads, means, strict=True)]

        def by_outputs(eps):
            return jnp.stack([jnp.stack(of_head) for of_head in jax.grad(negative_elbos)(outputs, eps)])

        found = moments(by_outputs, epsilon, jax.vmap(outer))
        alone = jnp.abs(found.mean[:, 1]) / jnp.sqrt(found.covariance[:, 1, 1])
        return alone, jax.vmap(lambda *given: mahalanobis_squared(*given, DRAWS))(found.mean, found.covariance)

    epsilon = np.random.default_rng(3).normal(size=(DRAWS, 50, 3)).astype(np.float32)
    alone, both = jax.device_get(snrs(first_images(config), epsilon))
    found = dict(zip(names, zip(alone, both, strict=True), strict=True))
    for name, (alone, both) in found.items():
        np.testing.assert_allclose(both, found["logvar"][1], rtol=1e-3, atol=1e-4)
        if name != "natural":
            np.testing.assert_allclose(alone, found["logvar"][0], rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_runs_own_head_is_its_own_gradient(trained):
    """Against the gradient that training computes, at the same draws."""
    config, path = trained
    vae = model(config, path)
    # Of all heads, since they have their program already.
    row = next(row for row in probe(path, draws=DRAWS, batches=1).rows if row["head"] == "softplus_std")

    @jax.jit
    def at_draws(keys, x, weight, zero):
        def gradients(key):
            epsilon = jax.random.normal(key, (1, 50, 3))

            def loss_at(params, shift):
                return loss(dataclasses.replace(vae, params=params), x, weight, epsilon, shift)

            by_params, by_outputs = jax.grad(loss_at, argnums=(0, 1), has_aux=True)(vae.params, zero)[0]
            return by_params["scale_head"], 50 * by_outputs.u

        return *jax.vmap(gradients)(keys), vae.network.encoder(x)

    zero = EncoderOutputs(*[np.zeros((50, 3), np.float32)] * 2)
    heads, units, features = jax.device_get(
        at_draws(probe_keys(vae, DRAWS), first_images(config), np.ones(50, np.float32), zero)
    )
    assert row["raw_variance"] == pytest.approx(units.var(axis=0, ddof=1).mean(), rel=1e-4)
    cheap = ((1 + (features**2).sum(axis=1))[:, None] * units.var(axis=0, ddof=1)).sum() / 50**2
    assert row["block_variance"] == pytest.approx(cheap, rel=1e-4)
    mean = np.concatenate([heads["kernel"].mean(axis=0).ravel(), heads["bias"].mean(axis=0)])
    squared = (mean.astype(np.float64) ** 2).sum() / cheap - 1 / DRAWS
    assert row["block_snr"] == pytest.approx(np.sign(squared) * np.sqrt(abs(squared)), rel=1e-3, abs=1e-4)
    assert row["raw_variance_se"] is None


@pytest.fixture(scope="module")
def of_both_signs(small, tmp_path_factory):
    """A run of `abs_std` from a native start, whose units lie on both sides of 0, and its config."""
    config = Config(**small | {"param": "abs_std", "init": "native"})
    return config, with_drawn_weights(tmp_path_factory.mktemp("runs"), config)


def test_the_runs_own_outputs_are_kept(of_both_signs):
    """The inverse of `abs_std` knows the right side of 0 alone."""
    config, path = of_both_signs
    found = {row["head"]: row for row in probe(path, heads=["abs_std", "logvar"], draws=8).rows}
    assert found["abs_std"]["problem"] is None
    vae = model(config, path)
    _, u = jax.device_get(jax.jit(Model.encode)(vae, np.concatenate(list(map(in_unit, load(config).probe)))))
    assert 0.05 < (u < 0).mean() < 0.95
    assert found["abs_std"]["mean_gain"] == pytest.approx((1 / u).mean(), rel=1e-4)
    assert found["abs_std"]["unit_snr"] == pytest.approx(found["logvar"]["unit_snr"], rel=1e-4)


def test_command(capsys, tmp_path, of_both_signs):
    """With the heads and the draws of the test before, whose program it shares."""
    table, figure = tmp_path / "probe.csv", tmp_path / "probe.svg"
    words = ["probe", of_both_signs[1], "--heads", "logvar,fixed,abs_std", "--draws", "8", "--batches", "2"]
    assert main([*words, "--csv", str(table), "--plot", str(figure)]) == 0
    text = capsys.readouterr().out
    assert "* fixed has no output u" in text
    assert "abs_std, seed 0, epochs: 2; batches: 2 of 50 images, draws of ε: 8 each" in text
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["head"] for row in rows] == ["logvar", "fixed", "abs_std"]
    assert rows[1]["problem"] == "has no output u"
    assert rows[1]["raw_variance"] == ""
    assert "<svg" in figure.read_text()
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["run"]["batches"] == 2
    assert [row["head"] for row in found["heads"]] == ["logvar", "fixed", "abs_std"]
    assert float(rows[2]["raw_variance"]) == found["heads"][2]["raw_variance"]


SCALES = {
    "shared": {"decoder_gradient": "beta:0.5", "hidden": ()},
    "pixel": {"likelihood": "laplace", "decoder_bound": "floor:0.01", "decoder_gradient": "natural", "hidden": ()},
    "network": {"likelihood": "student", "decoder_param": "softplus_std", "hidden": (6,)},
}
POSTERIORS = {
    "shared": {"param": "fixed", "init_std": 3.0},
    "pixel": {"param": "natural", "bound": "tanh:2"},
    "network": {"head_gradient": "natural", "encoder_scale": "free"},
}
"""What is odd about the encoder of each of these runs, which the decoder does not meet; a run serves both."""

WORKED_OUT = ("logvar", "logstd", "logprec", "softplus_std")
"""The heads whose numbers are put together in NumPy."""

SEEN = {"shared": WORKED_OUT, "pixel": WORKED_OUT, "network": ()}
"""The heads that each likelihood is seen through; all of them, which take long to compile, in one run only."""


def of_scale(small, granularity, **own):
    """The config of a run whose likelihood has such a scale, which is learned."""
    settings = {
        "likelihood": "gaussian",
        "decoder_scale": granularity,
        **SCALES[granularity],
        **POSTERIORS[granularity],
    }
    return Config(**small | {"epochs": 1, "lr": 1e-2, "optimizer": "sgd"} | settings | own)


@pytest.fixture(scope="module", params=SCALES)
def with_scale(request, small, tmp_path_factory):
    """A run whose likelihood has a scale that is learned, what `vae probe` says of it, and its config."""
    config = of_scale(small, request.param)
    path = with_drawn_weights(tmp_path_factory.mktemp("runs"), config)
    return config, path, probe(path, of="decoder", heads=SEEN[request.param], draws=6, batches=1)


@pytest.mark.parametrize("with_scale", ["shared", "pixel"], indirect=True)
def test_other_posteriors(with_scale):
    """A bound stays; a coupled mean is uncoupled; σ without an output is re-expressed too, where it is in reach."""
    config, path, _ = with_scale
    rows = {row["head"]: row for row in probe(path, heads=["logvar", "logstd", "sigmoid_std", "fixed"], draws=8).rows}
    assert rows["logstd"]["unit_snr"] == pytest.approx(rows["logvar"]["unit_snr"], rel=1e-5)
    assert rows["logstd"]["raw_variance"] == pytest.approx(4 * rows["logvar"]["raw_variance"], rel=1e-5)
    assert rows["fixed"]["problem"] == "has no output u"
    if config.param == "fixed":
        assert rows["sigmoid_std"]["problem"] == "has no u for σ from 3 to 3 (share of the units: 1)"
        assert rows["sigmoid_std"]["raw_variance"] is None
    else:
        assert rows["sigmoid_std"]["problem"] is None
        assert 0.3 < rows["logvar"]["mean_gain"] < 0.5


@pytest.mark.parametrize("with_scale", ["network"], indirect=True)
def test_natural_gradients_of_a_free_scale(with_scale):
    """δ/(2γ²) of each unit, whose γ is one number here, and no features: B⁻² Σ V/(2γ²)², and one step in every head."""
    config, path, _ = with_scale
    for row in probe(path, heads=["logvar", "logstd"], draws=8, batches=1).rows:
        gamma = HEADS[row["head"]].slope
        expected = config.latent / config.batch_size * row["raw_variance"] / (2 * gamma**2) ** 2
        assert row["block_variance"] == pytest.approx(expected, rel=1e-4)
        assert (row["step_over_logvar"], row["cosine"]) == pytest.approx((1, 1))


INFORMATION = {"gaussian": 2, "laplace": 1, "student": 8 / 7}


@jax.jit
def at_draws(vae, keys, x):
    """The locations and log τ of each draw, the log τ at the mean of q(z|x), and the last features of each draw."""
    q, _ = vae.encode(x)
    draw = jax.vmap(lambda key: jax.random.normal(key, (1, 50, 3))[0])
    z = q.loc[None] + q.scale[None] * draw(keys)
    decoded = vae.decoder_scale(z)
    at_mean = vae.decoder_scale(q.loc[None]).log_scale
    return decoded.outputs, jnp.broadcast_to(decoded.log_scale, (6, 50, 30)), at_mean, vae.network.decoder.features(z)


def test_a_likelihood_through_every_head(with_scale):
    """Against the gradient of every image at every draw, by the run's own u and by others, put together in NumPy."""
    config, path, found = with_scale
    vae = model(config, path)
    x = first_images(config)
    m, log_tau, at_mean, features = map(
        functools.partial(np.asarray, dtype=np.float64), at_draws(vae, probe_keys(vae, 6), x)
    )
    ratio = (np.asarray(x, np.float64) - m) / np.exp(log_tau)
    score = {
        "gaussian": lambda r: r**2 - 1,
        "laplace": lambda r: np.abs(r) - 1,
        "student": lambda r: 5 * r**2 / (4 + r**2) - 1,
    }[config.likelihood](ratio)
    rows = {row["head"]: row for row in found.rows}
    assert set(rows) == set(SEEN[config.decoder_scale] or [name for name in LEARNED if not HEADS[name].couples_mean])
    floor = 0.01 if config.decoder_bound != "none" else 0.0
    # γ after the floor is that before it times the share of τ that is not the floor.
    share = 1 - floor / np.exp(log_tau)
    unbounded = np.exp(log_tau) - floor
    rule = np.exp(log_tau) if config.decoder_gradient == "beta:0.5" else 1.0
    for name in WORKED_OUT:
        gamma = GAINS[name](unbounded, np) * share
        if config.decoder_gradient == "natural":
            slope = HEADS[name].slope
            rule = 1 / (slope**2 * (INFORMATION[config.likelihood] * (gamma / slope) ** 2 + 1e-8))
        row, by_u = rows[name], -gamma * score
        assert row["problem"] is None
        assert row["raw_variance"] == pytest.approx(by_u.var(axis=0, ddof=1).mean(), rel=1e-3)
        assert row["log_tau_variance"] == pytest.approx(score.var(axis=0, ddof=1).mean(), rel=1e-3)
        expected = (score**2).mean() / INFORMATION[config.likelihood]
        assert row["fisher_ratio"] == pytest.approx(expected, rel=1e-3)
        each = (rule * by_u)[:, :, None] / 50
        if config.decoder_scale == "network":
            inputs = np.concatenate([features, np.ones_like(features[..., :1])], axis=2)
            gradient = np.einsum("kih,kij->khj", inputs, each[:, :, 0]).reshape(6, -1)
        else:
            gradient = each[:, :, 0].sum(axis=1)
        gradient = gradient.sum(axis=1, keepdims=True) if config.decoder_scale == "shared" else gradient
        noise = gradient.var(axis=0, ddof=1).sum()
        assert row["block_variance"] == pytest.approx(noise, rel=2e-3)
        squared = (gradient.mean(axis=0) ** 2).sum() / noise - 1 / 6
        assert row["block_snr"] == pytest.approx(np.sign(squared) * np.sqrt(abs(squared)), rel=5e-3, abs=1e-3)
        gains = GAINS[name](np.exp(at_mean) - floor, np) * (1 - floor / np.exp(at_mean))
        assert row["mean_gain"] == pytest.approx(gains.mean(), rel=1e-3)
        assert (row["least_gain"], row["greatest_gain"]) == pytest.approx(
            (np.abs(gains).min(), np.abs(gains).max()), rel=1e-3
        )
    # SGD with a natural gradient takes the same step in every head.
    power = 0 if config.decoder_gradient == "natural" else 2
    assert rows["logstd"]["step_over_logvar"] == pytest.approx(2.0**power)
    assert rows["logprec"]["cosine"] == pytest.approx(-1)


def test_a_likelihoods_own_head_is_its_own_gradient(with_scale):
    """Against the gradient of a training step, by the run's rule, at the same draws."""
    config, path, found = with_scale
    vae = model(config, path)

    @jax.jit
    def gradients(keys, x, weight):
        def loss_at(params, key):
            epsilon = jax.random.normal(key, (1, 50, 3))
            return loss(dataclasses.replace(vae, params=params), x, weight, epsilon)[0]

        return jax.vmap(jax.grad(loss_at), in_axes=(None, 0))(vae.params, keys)["decoder_scale"]

    leaves = jax.tree.leaves(gradients(probe_keys(vae, 6), first_images(config), np.ones(50, np.float32)))
    each = np.concatenate([np.asarray(leaf, np.float64).reshape(6, -1) for leaf in leaves], axis=1)
    row = next(row for row in found.rows if row["head"] == config.decoder_param)
    assert row["block_variance"] == pytest.approx(each.var(axis=0, ddof=1).sum(), rel=2e-3)


@pytest.mark.parametrize(
    "with_scale",
    ["shared", *(pytest.param(granularity, marks=pytest.mark.long) for granularity in ("pixel", "network"))],
    indirect=True,
)
def test_the_command_for_a_decoder(with_scale, capsys, tmp_path):
    """With the heads and the draws of the fixture, and so with its program, but for the run that has seen them all."""
    config, path, _ = with_scale
    figure, table = tmp_path / "probe.svg", tmp_path / "probe.csv"
    names = [*WORKED_OUT, "natural", "fixed"]
    flags = ["--of", "decoder", "--heads", ",".join(names), "--draws", "6", "--batches", "2"]
    assert main(["probe", path, *flags, "--plot", str(figure), "--csv", str(table)]) == 0
    text = capsys.readouterr().out
    assert "Var by log τ" in text
    assert "* natural also moves the mean" in text
    assert "* fixed has no output u" in text
    assert "one likelihood through 6 heads" in figure.read_text()
    assert len(table.read_text().splitlines()) == 7
    assert main(["probe", path, *flags, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["run"]["of"], found["run"]["param"]) == ("decoder", config.decoder_param)
    assert [row["problem"] is None for row in found["heads"]] == [name in WORKED_OUT for name in names]


def test_a_scale_out_of_reach_of_a_head(small, tmp_path):
    """Through all heads, with the draws of the fixture, whose program it shares."""
    path = with_drawn_weights(tmp_path, of_scale(small, "network", decoder_std=5.0))
    (row,) = [row for row in probe(path, of="decoder", draws=6, batches=1).rows if row["head"] == "sigmoid_std"]
    assert row["problem"].startswith("has no u for τ from ")
    assert row["problem"].endswith("(share of the pixels: 1)")
    assert row["raw_variance"] is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "its likelihood, bernoulli, has no scale"),
        ({"likelihood": "gaussian", "decoder_param": "fixed"}, "is not learned (decoder_param is fixed)"),
        ({"likelihood": "gaussian", "decoder_scale": "optimal"}, "worked out, not learned (decoder_scale is optimal)"),
    ],
)
def test_a_run_without_a_learned_scale(small, tmp_path, capsys, changes, why):
    path = write(tmp_path, -100.0, **small, **changes)
    assert main(["probe", str(path), "--of", "decoder"]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert why in error
    assert error.count("\n") == 1


def copied(trained, tmp_path):
    shutil.copytree(trained[1], tmp_path / "run")
    return tmp_path / "run"


def without_checkpoint(path):
    shutil.rmtree(path / "checkpoint")


def with_a_cut_checkpoint(path):
    for file in (path / "checkpoint").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:20])


def with_a_flipped_byte(path):
    largest = max((file for file in (path / "checkpoint").rglob("*") if file.is_file()), key=lambda f: f.stat().st_size)
    raw = bytearray(largest.read_bytes())
    raw[len(raw) // 2] ^= 1
    largest.write_bytes(bytes(raw))


def of_another_head(path):
    config = (path / "config.toml").read_text()
    (path / "config.toml").write_text(config.replace('"softplus_std"', '"fixed"'))


def unfinished(path):
    (path / "summary.json").unlink()


def of_other_data(path):
    summary = json.loads((path / "summary.json").read_text())
    summary["data_sha256"]["train-images"] = "0" * 64
    (path / "summary.json").write_text(json.dumps(summary))


def of_another_network(path):
    config = (path / "config.toml").read_text()
    (path / "config.toml").write_text(config.replace("latent = 3", "latent = 4"))


def without_data(path):
    summary = json.loads((path / "summary.json").read_text())
    del summary["data_sha256"]
    (path / "summary.json").write_text(json.dumps(summary))


def of_an_unknown_head(path):
    config = (path / "config.toml").read_text()
    (path / "config.toml").write_text(config.replace('"softplus_std"', '"softplus_sd"'))


def no_run(path):
    (path / "config.toml").unlink()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without_checkpoint, "has no checkpoint"),
        (with_a_cut_checkpoint, "the checkpoint is damaged"),
        (with_a_flipped_byte, "the checkpoint is damaged"),
        (unfinished, "holds an unfinished run"),
        (of_other_data, "other data"),
        (of_another_network, "config.toml: was changed after the run (latent is 3 there and 4 here)"),
        (of_another_head, "was changed after the run (param is 'softplus_std' there and 'fixed' here)"),
        (no_run, "is not a run directory"),
        (without_data, "summary.json: is damaged"),
        (of_an_unknown_head, "config.toml: param: unknown head 'softplus_sd'"),
    ],
)
def test_runs_that_cannot_be_probed(capsys, tmp_path, trained, change, told):
    path = copied(trained, tmp_path)
    change(path)
    assert main(["probe", str(path), "--heads", "logvar"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_output_follows_links_and_keeps_modes(tmp_path, trained):
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    assert main(["probe", trained[1], "--draws", str(DRAWS), "--batches", "1", "--csv", str(link)]) == 0
    assert link.is_symlink()
    assert target.read_text().startswith("head,")
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "a run is needed"),
        (["nowhere"], "nowhere: does not exist"),
        (["RUN", "--heads", "logvra"], "--heads: unknown head 'logvra', did you mean 'logvar'?"),
        (["RUN", "--draws", "1"], "--draws: must lie between 2 and 1000000"),
        (["RUN", "--batches", "0"], "--batches: must lie between 1"),
        (["RUN", "--plot", "a.pdf"], "--plot: must name a .png or .svg file"),
        (
            ["RUN", "--csv", "no/such/folder/a.csv", "--draws", str(DRAWS), "--batches", "1"],
            "cannot be written",
        ),
        (["RUN", "--csv", "RUN/config.toml"], "lies in the run's own directory"),
        (["RUN", "--csv", "a.png", "--plot", "./a.png"], "name the same file"),
        (["RUN", "--csv", ".", "--heads", "logvar"], "cannot be written (is a folder)"),
        (["RUN", "--heads", " ,"], "names no head"),
        (["RUN/config.toml"], "is a file and not a run directory"),
        (["RUN/../..", "--heads", "logvar"], "one of those in it is"),
    ],
)
def test_usage_errors(capsys, monkeypatch, tmp_path, trained, flags, told):
    monkeypatch.chdir(tmp_path)
    assert main(["probe", *(flag.replace("RUN", trained[1]) for flag in flags)]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_from_python_all_is_checked(trained):
    with pytest.raises(UsageError, match="draws"):
        probe(trained[1], draws=1)
    assert probe(trained[1], draws=DRAWS, batches=999).run["batches"] == 4
