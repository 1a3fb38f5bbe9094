"""Which settings exist and go together."""

import pytest

from vaecli.config import SETTINGS, Config, ConfigError


def test_python_callers_meet_the_same_checks():
    with pytest.raises(ConfigError, match="epochs: must be a whole number"):
        Config(epochs="3")
    assert Config(hidden=[3, 4]).hidden == (3, 4)
    assert hash(Config(hidden=[3, 4])) == hash(Config(hidden=(3, 4)))


@pytest.mark.parametrize(
    ("settings", "field", "words"),
    [
        ({"kl": "analytic", "objective": "iwae"}, "kl", "no place in iwae"),
        ({"kl": "analytic", "estimator": "stl"}, "kl", "leaves stl no log q"),
        ({"kl": "analytic", "estimator": "dreg"}, "kl", "leaves dreg no log q"),
        ({"objective": "iwae", "estimator": "stl", "samples": 5}, "estimator", "biased"),
        ({"estimator": "dreg", "samples": 5}, "estimator", "use stl"),
        ({"decoder_param": "logstd"}, "decoder_param", "likelihood gaussian"),
        ({"decoder_std": 1.0}, "decoder_std", "likelihood gaussian"),
        ({"param": "fixed", "encoder_scale": "free"}, "encoder_scale", "no output u"),
        ({"param": "fixed", "head_gradient": "natural"}, "head_gradient", "no output u"),
        ({"student_df": 3.0}, "student_df", "likelihood student"),
        ({"likelihood": "student", "decoder_scale": "optimal"}, "decoder_scale", "closed form"),
        ({"likelihood": "gaussian", "decoder_scale": "optimal", "decoder_lr": 2.0}, "decoder_lr", "has no head"),
        ({"likelihood": "laplace", "decoder_param": "fixed", "decoder_scale": "pixel"}, "decoder_scale", "one number"),
        ({"likelihood": "laplace", "decoder_param": "fixed", "decoder_bound": "tanh:3"}, "decoder_bound", "learned"),
        (
            {"likelihood": "gaussian", "decoder_lr": "matched", "decoder_clip": 2.0},
            "decoder_clip",
            "decoder_lr matched",
        ),
        ({"binarisation": "dequantised"}, "binarisation", "real numbers"),
        ({"samples": 0}, "samples", "between 1"),
        ({"beta": -1.0}, "beta", "must be 0"),
        ({"channels": (0,)}, "channels", "width"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, field, words):
    with pytest.raises(ConfigError, match=words) as raised:
        Config(**settings)
    assert raised.value.field == field


def test_every_setting_is_explained():
    assert all(setting.doc.endswith(".") for setting in SETTINGS.values())
