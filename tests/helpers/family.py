"""The p-values of a family of tests by statsmodels."""

import gc

import pytest
from statsmodels.stats.multitest import multipletests


def holm_by_statsmodels(p):
    """Holm's adjusted p of each; of none, none."""
    if not len(p):
        return []
    with pytest.MonkeyPatch.context() as patch:
        # It collects garbage at each call, which takes 0.3 s beside jax.
        patch.setattr(gc, "collect", lambda: 0)
        return multipletests(p, method="holm")[1]
