"""The objectives, and how their gradients are estimated.

An objective is one entry in `OBJECTIVES` and a name in the `Literal` of `Config.objective`.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from jax import Array, nn
else:
    from vaecli.vae.lazy import LazyModule

    nn = LazyModule("jax.nn")

Estimator = Literal["analytic", "mc", "stl", "dreg"]
"""The way in which the KL enters, and which part of it is differentiated (`vaecli.vae.terms.objective_terms`)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """A function that is maximised.

    Attributes:
      value: maps the log weights log w_k of K draws for each image, (samples, batch), to the objective, (batch,), in
        nats per image.
      tag: names the bound that selects the best parameters and the best learning rate, as `validation/<tag>`: `elbo`,
        or `iwae`, which is then measured at every log point from as many draws as in training.
      is_elbo: says whether the value is the mean of the log weights, in which a closed-form KL may take the place of
        the KL's estimate.
    """

    value: "Callable[[Array], Array]"
    tag: Literal["elbo", "iwae"] = "elbo"
    is_elbo: bool = False


ELBO = Objective(value=lambda log_weights: log_weights.mean(axis=0), is_elbo=True)
IWAE = Objective(value=lambda log_weights: nn.logsumexp(log_weights, axis=0) - math.log(len(log_weights)), tag="iwae")

OBJECTIVES: dict[str, Objective] = {"elbo": ELBO, "iwae": IWAE}


class ObjectiveSpec(NamedTuple):
    """The part of an objective that is compiled in.

    Attributes:
      objective: the function that is maximised.
      estimator: the way in which its KL and its gradient are estimated.
      samples: the number K of draws of z for each image.
    """

    objective: Objective = ELBO
    estimator: Estimator = "analytic"
    samples: int = 1
