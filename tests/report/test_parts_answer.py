"""What a difference is made of, in words."""

from helpers.parts import CONTROL, MATCHED, OWN, RATE, START, study, taken

from vaecli.report.model import Question
from vaecli.report.parts import take_apart
from vaecli.report.parts_answer import answer, notes

SPREAD = (-0.02, 0.0, 0.01, 0.03, -0.01, -0.01)


def shifted(**shifts):
    """Values whose parts against the reference have these sizes, with little spread."""
    cells = {"a": OWN["a"], "b": OWN["b"], "start": START, "rate": RATE, "matched": MATCHED, "control": CONTROL}
    return {
        cell: [-100.0 - seed + shifts.get(name, 0.0) + 0.125 * place * SPREAD[(seed + place) % 6] for seed in range(6)]
        for place, (name, cell) in enumerate(cells.items())
    }


def test_what_matters_comes_first_and_by_size():
    values = shifted(b=-3.0, start=-1.0, rate=-3.0, matched=-1.0)
    first, second = answer(taken(values))
    assert first.startswith("natural is worse than logvar: −3.000")
    begin, _, made_of = second.partition(" nats by which natural differs from logvar, ")
    rate, coupling, rest = made_of.split("; ")
    assert begin.startswith("Of the −3.0")
    assert rate.startswith("rate is −2.0")
    assert coupling.startswith("coupling is −1.0")
    assert rest == "shape, start and interaction make no difference that matters (less than 0.5 nats)."


def test_where_the_whole_may_be_0():
    values = shifted(rate=-2.0)
    explained = taken(values)
    assert explained.whole.share.value is None
    _, second = answer(explained)
    # Rate and interaction are of opposite signs, and no share of anything.
    assert "rate is −2.0" in second
    assert "interaction is +2.0" in second
    assert "%" not in second
    assert notes(explained)[0] == "no shares, since it is not known whether logvar and natural differ at all"


def test_what_is_exactly_0():
    values = shifted(b=-3.0)
    runs = study({cell: values[cell] for cell in (OWN["a"], OWN["b"], RATE)}, ())
    explained = take_apart("logvar", "logstd", runs, {}, Question(), 0.5)
    assert "shape and start are exactly 0" in answer(explained)[1]
    assert any(note.startswith("shape and start are 0 by arithmetic") for note in notes(explained))
    assert "start is 0 and rate" not in notes(explained)[0]


def test_nothing_is_said_of_runs_that_are_all_lost():
    values = shifted(start=-1.0, rate=-3.0, matched=-1.0)
    values[OWN["b"]] = [None] * 6
    said = notes(taken(values))
    assert said[0] == "no shares, since no seed survived in both logvar and natural"
    assert "start and rate are each changed alone, with the other one matched" in said
    assert answer(taken(values))[1].startswith("What it is made of: rate is −2.0")


def test_lost_runs_are_told():
    values = shifted(b=-3.0, start=-1.0, rate=-3.0, matched=-1.0)
    values[START][3] = None
    said = notes(taken(values))
    assert f"start is without seed 3, where runs were lost ({START}: loss is not finite)" in said
    assert said[-1] == "the parts are over different seeds, so they do not add up to the whole"
