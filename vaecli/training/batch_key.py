"""Which runs can train together, in one batch: those that share a program, and keep step with each other."""

from collections.abc import Hashable

from vaecli.config import SETTINGS, Config
from vaecli.vae.heads.table import HEADS
from vaecli.vae.resolve import Resolved

FREE = frozenset(
    (
        *("name", "seed", "pilot", "perturb", "log_steps"),
        *("init", "init_std", "init_weight", "decoder_init", "decoder_std", "decoder_init_weight"),
        *("beta", "beta_warmup", "lr", "lr_schedule", "lr_warmup", "eps"),
        *("head_lr", "head_eps", "head_weight_decay", "head_clip"),
        *("decoder_lr", "decoder_eps", "decoder_weight_decay", "decoder_clip", "no_maximum"),
    )
)
"""The settings in which the runs of a batch may differ in any way: numbers that a program receives at run time."""

NUMBERS = ("weight_decay", "clip_norm", "skip_norm", "loss_scale")
"""Those whose value is such a number, though a program is another one where it is 0, or a word."""

MEANINGS = frozenset(
    (
        *("param", "bound", "likelihood", "student_df", "decoder_param", "decoder_bound", "decoder_gradient"),
        *("objective", "samples", "kl", "estimator", "optimizer"),
    )
)
"""Those that count by what they stand for in the program: `logvar`, `logstd` and `logprec` have heads of one form."""


HOST = frozenset(
    (
        *("data_dir", "data_transpose", "validation", "grad_batches"),
        *("epochs", "batch_size", "checkpoint_every", "log_every", "picture_every", "grad_every"),
    )
)
"""Those that no program knows but by the shapes of its arguments: they are of the data, or of the host's loop."""


def program_settings(resolved: Resolved) -> dict[str, object] | None:
    """Returns the settings from which a program follows: where they are equal, the programs are equal.

    A head is named by the first one of its form. None where a head is in no table: what such code does, no name says.
    """
    config, heads = resolved.config, {"param": resolved.head}
    if resolved.decoder:
        heads["decoder_param"] = resolved.decoder.head
    first = {head.form: name for name, head in reversed(HEADS.items())}
    if any(head.form not in first for head in heads.values()):
        return None
    settings = {name: getattr(config, name) for name in SETTINGS if name not in {*FREE, *NUMBERS, *HOST}}
    return settings | _kinds(config) | {name: first[head.form] for name, head in heads.items()}


def _kinds(config: Config) -> dict[str, object]:
    """Returns what a program knows of each of `NUMBERS`: a word, or whether it is above 0."""
    values = {name: getattr(config, name) for name in NUMBERS}
    return {name: value if isinstance(value, str) else value > 0 for name, value in values.items()}


def batch_key(resolved: Resolved) -> Hashable:
    """Returns what is equal for two runs if, and only if, one batch can hold both.

    A setting that is in none of the first three lists above has to be the same: it belongs to the program (the network,
    for instance), or is one of `HOST`.
    """
    config = resolved.config
    return (
        *(getattr(config, name) for name in SETTINGS if name not in {*FREE, *NUMBERS, *MEANINGS}),
        *_kinds(config).values(),
        resolved.head.form,
        resolved.bound,
        resolved.likelihood,
        resolved.decoder and resolved.decoder.bound,
        resolved.decoder_gradient,
        resolved.objective,
        resolved.optimizer,
    )
