"""Full grids and their contrasts: worked by hand, and against a regression."""

from itertools import product

import numpy as np
import pytest

from vaecli import Config, UsageError
from vaecli.config.naming import label
from vaecli.report.factorial import baselines, contrasts, full_grids
from vaecli.report.model import TrainedVariant
from vaecli.runs.collection import Outcome


def variant(varies=("param", "init", "head_lr"), **settings):
    config = Config(**settings)
    outcome = Outcome("", config, 0, "complete", "", 1, {}, (), (), "cpu", (), ())
    return TrainedVariant(label(config, varies), {name: getattr(config, name) for name in varies}, {0: outcome}, {})


def grid(heads=("logstd",), inits=("native", "centred", "matched"), rates=("native", "matched")):
    return [variant(param=p, init=i, head_lr=r) for p, i, r in product(heads, inits, rates)]


def names(contrast):
    return " × ".join(f"{name}={level}" for name, level in contrast.levels.items())


def effects(grid, values):
    """The effects of a grid by name, from a value for each cell."""
    return {names(contrast): np.subtract(*contrast.sides(values)) for contrast in contrasts(grid)}


def test_two_by_two_by_hand():
    """Cells 1, 3 in the first row, 6, 20 in the second."""
    (two,), _ = full_grids(grid(inits=("native", "matched")), {"init": "native", "head_lr": "native"})
    values = {("native", "native"): 1, ("native", "matched"): 3, ("matched", "native"): 6, ("matched", "matched"): 20}
    assert effects(two, values) == {
        "init=matched": (6 + 20) / 2 - (1 + 3) / 2,
        "head_lr=matched": (3 + 20) / 2 - (1 + 6) / 2,
        "init=matched × head_lr=matched": (20 - 6) - (3 - 1),
    }


def test_three_levels_are_compared_with_the_baseline():
    (three,), _ = full_grids(grid(), {"init": None, "head_lr": None})
    # The program's defaults, where they are among the levels.
    assert [(factor.name, factor.levels) for factor in three.factors] == [
        ("init", ["centred", "matched", "native"]),
        ("head_lr", ["native", "matched"]),
    ]
    values = {
        cell: {"centred": 0, "matched": 1, "native": 5}[cell[0]] + 10 * (cell[1] == "matched") for cell in three.cells
    }
    assert effects(three, values) == {
        "init=matched": 1,
        "init=native": 5,
        "head_lr=matched": 10,
        "init=matched × head_lr=matched": 0,
        "init=native × head_lr=matched": 0,
    }


def test_without_the_default_the_first_level_is_the_baseline():
    (two,), _ = full_grids([variant(["lr"], lr=rate) for rate in (0.2, 0.1)], {"lr": None})
    assert [factor.levels for factor in two.factors] == [[0.1, 0.2]]


@pytest.mark.parametrize("sizes", [(2,), (4,), (2, 3), (3, 4), (2, 3, 2)])
def test_against_a_regression(sizes):
    """Main effects are the slopes of a model without interactions, interactions those of one with all pairs."""
    fields = ["lr", "eps", "beta"][: len(sizes)]
    levels = [[0.1 * (i + 1) for i in range(size)] for size in sizes]
    variants = [variant(fields, **dict(zip(fields, cell, strict=True))) for cell in product(*levels)]
    (full,), _ = full_grids(variants, {name: str(one[0]) for name, one in zip(fields, levels, strict=True)})
    y = dict(zip(full.cells, np.random.default_rng(7).normal(size=len(full.cells)), strict=True))

    def column(cell, at):
        return np.prod([cell[fields.index(name)] == level for name, level in at.items()])

    shown = [contrast.levels for contrast in contrasts(full)]
    mains = [at for at in shown if len(at) == 1]
    for columns, wanted in ((mains, mains), (shown, [at for at in shown if len(at) == 2])):
        design = np.array([[1, *(column(cell, at) for at in columns)] for cell in full.cells], float)
        slopes = np.linalg.lstsq(design, np.array(list(y.values())), rcond=None)[0][1:]
        for contrast in contrasts(full):
            if contrast.levels in wanted:
                assert np.subtract(*contrast.sides(y)) == pytest.approx(
                    slopes[columns.index(contrast.levels)], abs=1e-12
                )
    pairs = sum((a - 1) * (b - 1) for i, a in enumerate(sizes) for b in sizes[:i])
    assert len(shown) == sum(size - 1 for size in sizes) + pairs


def test_equal_cells_have_effects_of_exactly_nothing():
    (full,), _ = full_grids(grid(), {"init": None, "head_lr": None})
    values = np.float32(np.random.default_rng(1).normal(-105, 1, 3))
    by_init = dict(zip(("native", "centred", "matched"), map(float, values), strict=True))
    at = effects(full, {cell: by_init[cell[0]] for cell in full.cells})
    assert at["head_lr=matched"] == at["init=native × head_lr=matched"] == at["init=matched × head_lr=matched"] == 0


def test_a_grid_is_within_what_the_other_fields_make_alike():
    variants = [variant(param="logvar", init="centred"), *grid(("logstd", "softplus_std"))]
    grids, warnings = full_grids(variants, {"init": None, "head_lr": None})
    assert [(one.label, one.values, len(one.cells)) for one in grids] == [
        ("logstd", {"param": "logstd"}, 6),
        ("softplus_std", {"param": "softplus_std"}, 6),
    ]
    assert warnings == ["no effects within logvar: there is only init=centred,head_lr=native"]


def test_a_level_without_all_combinations_is_left_out():
    variants = [
        *(variant(param=param, init="centred") for param in ("logvar", "logprec")),
        *grid(("logstd", "softplus_std")),
    ]
    (full,), warnings = full_grids(variants, dict.fromkeys(("param", "init", "head_lr")))
    assert (full.label, full.values, len(full.cells)) == ("", {}, 12)
    # The default head is not among what is left.
    assert full.factors[0].levels == ["logstd", "softplus_std"]
    assert warnings == ["effects leave out param=logvar, param=logprec, for lack of the other combinations"]


def test_a_level_of_its_own_goes_with_what_had_it():
    variants = [*grid(), variant(param="logvar", init="centred", head_lr=0.5)]
    (full,), warnings = full_grids(variants, dict.fromkeys(("param", "init", "head_lr")))
    assert [factor.levels for factor in full.factors] == [
        ["logstd"],
        ["centred", "matched", "native"],
        ["native", "matched"],
    ]
    assert warnings == ["effects leave out param=logvar, head_lr=0.5, for lack of the other combinations"]
    assert len(contrasts(full)) == 5


def test_one_factor_at_a_time_leaves_one_factor():
    variants = [variant(param="logstd", init=i, head_lr="native") for i in ("native", "centred", "matched")]
    variants.append(variant(param="logstd", init="native", head_lr="matched"))
    (full,), warnings = full_grids(variants, {"init": None, "head_lr": None})
    assert [names(contrast) for contrast in contrasts(full)] == ["init=matched", "init=native"]
    assert warnings == ["effects within logstd leave out head_lr=matched, for lack of the other combinations"]


def test_a_single_cell_that_is_missing_is_named():
    with pytest.raises(
        UsageError, match=r"^--effects: no effects within logstd: there are no runs of init=matched,head_lr=matched$"
    ):
        full_grids(grid(inits=("native", "matched"))[:-1], {"init": "native", "head_lr": "native"})


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("init", {"init": None}),
        ("init, head-lr", {"init": None, "head_lr": None}),
        ("init=native,head_lr", {"init": "native", "head_lr": None}),
        ("bound=clip:-5,3,init", {"bound": "clip:-5,3", "init": None}),
        ("bound=clip:-5,3,init=native", {"bound": "clip:-5,3", "init": "native"}),
    ],
)
def test_what_is_asked(asked, expected):
    assert baselines(asked, ["param", "init", "head_lr", "bound"]) == expected


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("inti", "unknown setting 'inti', did you mean 'init'?"),
        ("init,", "names settings with commas between them, as in init,head_lr, got 'init,'"),
        ("init,init=native", "init is there twice"),
        ("init,lr", "lr is chosen for each variant by --at, and so is no factor"),
        ("init,seed", "seed does not vary among these variants; what does: param, init, lr"),
        ("inti=native", "unknown setting 'inti', did you mean 'init'?"),
    ],
)
def test_what_cannot_be_asked(asked, message):
    with pytest.raises(UsageError) as error:
        baselines(asked, ["param", "init", "lr"], ["lr"])
    assert str(error.value) == f"--effects: {message}"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"param": None}, "param does not vary among these variants, it is logstd in all of them"),
        ({"init": "natve"}, "no variant has init=natve, did you mean 'native'? (there are: centred, matched, native)"),
    ],
)
def test_factors_that_do_not_go(wanted, message):
    with pytest.raises(UsageError) as error:
        full_grids(grid(), wanted)
    assert str(error.value) == f"--effects: {message}"


def test_a_baseline_that_lacks_combinations():
    variants = [variant(param="logvar", init="centred"), *grid(("logstd", "softplus_std"))]
    with pytest.raises(UsageError, match=r"^--effects: param=logvar lacks combinations with the others$"):
        full_grids(variants, {"param": "logvar", "init": None, "head_lr": None})
