"""Which runs can train together, in one batch: those that share a program, and keep step with each other."""

from collections.abc import Hashable

from vaecli.config import SETTINGS
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


def batch_key(resolved: Resolved) -> Hashable:
    """Returns what is equal for two runs if, and only if, one batch can hold both.

    A setting that is not listed above has to be the same: it belongs to the program (the network, for instance), to the
    data (`data_dir`, `data_transpose`, `binarisation`, `validation`, `grad_batches`), or to the steps that the host
    takes for all at once (`epochs`, `batch_size`, `checkpoint_every`, `log_every`, `picture_every`, `grad_every`).
    """
    config = resolved.config
    return (
        *(getattr(config, name) for name in SETTINGS if name not in {*FREE, *NUMBERS, *MEANINGS}),
        *(value if isinstance(value, str) else value > 0 for value in (getattr(config, name) for name in NUMBERS)),
        resolved.head.form,
        resolved.bound,
        resolved.likelihood,
        resolved.decoder and resolved.decoder.bound,
        resolved.decoder_gradient,
        resolved.objective,
        resolved.optimizer,
    )
