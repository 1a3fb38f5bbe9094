"""Why a run diverged, in words: the cells of the trail, and sentences on what overflowed and what survives."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vaecli.config.naming import flag, text
from vaecli.report.formatting import count, number
from vaecli.report.trail import Breakdown, Trail, TrailRow, Trial

_SIGMA_COLUMNS = {
    "u": "u",
    "γ": "gain",
    "log σ": "log_sigma",
    "σ": "sigma",
    "(z−μ)/σ": "residual",
    "KL": "kl",
    "∂L/∂log σ": "by_log_sigma",
    "∂L/∂u": "by_u",
}
_TAU_COLUMNS = {
    "u": "u",
    "γ": "gain",
    "log τ": "log_tau",
    "τ": "tau",
    "(x−m)/τ": "residual",
    "log p": "log_prob",
    "∂L/∂log τ": "by_log_tau",
    "∂L/∂u": "by_u",
}
_PIXEL_COLUMNS = {"output": "output", "x": "pixel", "log p": "log_prob", "∂L/∂output": "by_output"}

_NAMES = {
    "u": "the encoder's output u",
    "log_scale": "log σ",
    "scale": "σ",
    "loc": "the mean μ",
    "z": "the draw z = μ + σε",
    "kl": "the KL",
    "outputs": "the decoder's output",
    "decoder_u": "the decoder's output u",
    "log_tau": "log τ",
    "tau": "τ",
    "log_prob": "log p(x|z)",
    "objective": "the objective",
    "by_outputs": "the derivative by the decoder's output",
    "by_log_tau": "the derivative by log τ",
    "by_decoder_u": "the derivative by the decoder's u",
    "by_z": "the derivative by z",
    "by_loc": "the derivative by the encoder's mean",
    "by_u": "the derivative by u",
}
_FLOAT32 = "float32 ends at 3.4·10³⁸"


def value(given: float | None) -> str:
    """Formats a number of three digits, which may be none.

    >>> value(-math.inf), value(math.nan), value(None), value(-0.0), value(3.2e-7), value(-12.345)
    ('−∞', 'NaN', '–', '0', '3.2e−07', '−12.3')
    """
    if given is None:
        return "–"
    if math.isnan(given):
        return "NaN"
    if math.isinf(given):
        return "∞" if given > 0 else "−∞"
    return f"{given + 0.0:.3g}".replace("-", "−")


def columns(trail: Trail) -> Mapping[str, str]:
    """Returns the columns of the followed unit's or pixel's numbers, and their names in a row's values."""
    if trail.followed.scale == "σ":
        return _SIGMA_COLUMNS
    return _TAU_COLUMNS if trail.followed.head else _PIXEL_COLUMNS


def header(trail: Trail) -> Sequence[str]:
    """Returns the header of the table of the trail."""
    return ["step", "loss", "‖gradient‖", *columns(trail)]


def cells(trail: Trail, row: TrailRow) -> Sequence[str]:
    """Returns a row of that table."""
    numbers = (row.values.get(name) for name in columns(trail).values())
    return [str(row.step), value(row.loss), value(row.gradient_norm), *map(value, numbers)]


def where(trail: Trail) -> str:
    """Names the unit or pixel that is followed."""
    followed = trail.followed
    what = "latent" if followed.scale == "σ" else "pixel"
    return f"{what} {followed.place} of {followed.split} image {followed.image}"


def sentences(trail: Trail) -> Sequence[str]:
    """Says what was not finite first, through which formula, how it came about, and how far this can be relied on."""
    return [
        _first(trail),
        *filter(None, (_formula(trail), _rounded(trail), _came_about(trail), _kick(trail))),
        _origin(trail),
    ]


def _first(trail: Trail) -> str:
    """Says which number was not finite first, and where."""
    breakdown = trail.breakdown
    name = _NAMES.get(breakdown.quantity)
    if name and breakdown.quantity != "objective":
        others = f" (as were {breakdown.count - 1} more)" if breakdown.count > 1 else ""
        what = f"{name} was {value(breakdown.value)}, in {where(trail)}{others}"
        return f"At step {trail.step} the first number that was not finite: {what}."
    follows = f"The table follows {where(trail)}, the most extreme one."
    if breakdown.quantity == "norm":
        return f"At step {trail.step} no update had been made for too long. {follows}"
    if breakdown.quantity == "unseen":
        return f"{_capital(trail.recorded)}, but worked out by itself every number there is finite. {follows}"
    block = f" of {breakdown.block}" if breakdown.block else ""
    which = name or f"the {breakdown.quantity}{block}"
    return f"At step {trail.step} {which} was not finite, though every unit and pixel was. {follows}"


def _formula(trail: Trail) -> str:
    """Says through which formula it was not finite."""
    breakdown, last = trail.breakdown, trail.rows[-1].values
    if breakdown.in_float32:
        return "In float32 it is finite: a number left the range of the narrower type."
    return _of_forwards(trail, breakdown, last) or _of_backwards(trail, breakdown, last) or _of_update(trail, breakdown)


def _of_forwards(trail: Trail, breakdown: Breakdown, last: Mapping[str, float]) -> str:
    u, head = value(breakdown.u), trail.followed.head
    symbol = trail.followed.scale
    formula = f" {symbol} = {trail.followed.formula}" if trail.followed.formula else ""
    match breakdown.quantity:
        case "log_scale" | "log_tau":
            then = ""
            if breakdown.value == -math.inf and symbol == "σ":
                then = ", and so the KL, ½(μ² + σ² − 1) − log σ, is ∞"
            return f"The head {head},{formula}, has no finite log {symbol} at u = {u}{then}."
        case "scale":
            return (
                f"{formula.strip() or 'σ'} overflows at u = {u}, where log σ = {value(last['log_sigma'])}: {_FLOAT32}."
            )
        case "tau":
            return f"τ = exp(log τ) overflows at log τ = {value(last['log_tau'])}: {_FLOAT32}."
        case "loc" | "u" | "decoder_u" | "outputs":
            of_head = " (μ = η₁σ² under this head)" if breakdown.quantity == "loc" else ""
            return f"It is a sum of products of weights and features{of_head}, and these have grown too large."
        case "z":
            return f"σ = {value(last['sigma'])} and ε = {value(last['residual'])} give z."
        case "kl":
            part = "½μ²" if abs(last["mean"]) > last["sigma"] else "½σ²"
            return f"The part {part} of it overflows, at μ = {value(last['mean'])} and σ = {value(last['sigma'])}."
        case "log_prob":
            at = f"the pixel lies {value(last['residual'])} τ from the decoder's output" if head else ""
            return f"{_capital(at)}, τ = {value(last['tau'])}." if at else f"The output is {value(last['output'])}."
        case "objective":
            return f"Its terms are finite, and their sum overflows: {_FLOAT32}."
    return ""


def _of_backwards(trail: Trail, breakdown: Breakdown, last: Mapping[str, float]) -> str:
    symbol = trail.followed.scale
    match breakdown.quantity:
        case "by_u" | "by_decoder_u":
            by_log = last.get("by_log_sigma", last.get("by_log_tau"))
            factor = f"γ = d log {symbol}/du = {value(last['gain'])}"
            if breakdown.singular:
                return f"It is γ · ∂L/∂log {symbol}, and {factor} at u = {value(breakdown.u)}."
            return f"It is γ · ∂L/∂log {symbol}, with {factor} and ∂L/∂log {symbol} = {value(by_log)}."
        case "by_outputs" | "by_log_tau":
            at = f"at τ = {value(last['tau'])} the pixel lies {value(last['residual'])} τ from the output"
            return f"{_capital(at)}." if trail.followed.head else f"The output is {value(last['output'])}."
        case "by_z" | "by_loc":
            return "It comes back through the decoder, whose weights and features have grown too large."
    return ""


def _of_update(trail: Trail, breakdown: Breakdown) -> str:
    largest = f"the largest finite entry of the gradient is {value(breakdown.value)}"
    match breakdown.quantity:
        case "gradient":
            return f"It overflows in the sums over the batch: {largest}."
        case "parameter":
            return f"The gradient is finite ({largest}), and the update that the optimiser makes of it overflows."
        case "optimiser state":
            return f"The optimiser keeps squares, which overflow above 1.8·10¹⁹: {largest}."
        case "norm":
            norm = value(breakdown.value)
            return f"The gradient's norm is {norm}, above --skip-norm, and without updates it stays there."
        case "unseen":
            if breakdown.singular:
                u = value(trail.rows[-1].values["u"])
                return (
                    f"Its u is {u} here, and the head {trail.followed.head} is singular at 0: the compiled step rounds "
                    "otherwise, and has met 0 itself."
                )
            if trail.recorded_quantity.startswith(("train/", "log ")):
                return "The compiled step rounds otherwise."
            return "What a log point measures besides is not examined."
    return ""


def _rounded(trail: Trail) -> str:
    """Says why u is exactly 0, where it has become so."""
    if not (trail.breakdown.singular and trail.breakdown.u == 0 and trail.rows[0].values["u"] != 0):
        return ""
    return "u is a rounded sum, so exactly 0 is one of its values: a head that passes through 0 meets it in time."


def _came_about(trail: Trail) -> str:
    """Says where the followed unit or pixel came from."""
    if len(trail.rows) < 2:
        return ""
    first, last = trail.rows[0], trail.rows[-1]
    symbol, scale = ("σ", "sigma") if trail.followed.scale == "σ" else ("τ", "tau")
    names = {"u": "u", symbol: scale, "γ": "gain"} if trail.followed.head else {"output": "output"}
    went = [
        f"{name} went from {before} to {after}"
        for name, key in names.items()
        if (before := value(first.values[key])) != (after := value(last.values[key]))
    ]
    steps = count(last.step - first.step, "step")
    return f"Over the last {steps} its {', '.join(went)}." if went else ""


def _kick(trail: Trail) -> str:
    """Names the step of the trail whose gradient was much larger than the others', where there is one."""
    norms = {row.step: row.gradient_norm for row in trail.rows if row.gradient_norm is not None}
    finite = {step: norm for step, norm in norms.items() if math.isfinite(norm)}
    if len(finite) < 3:
        return ""
    median = sorted(finite.values())[len(finite) // 2]
    step = max(finite, key=lambda step: finite[step])
    if finite[step] < 5 * median:
        return ""
    times = f"{value(finite[step] / median)} times the median of the trail"
    return f"The gradient of step {step} was by far the largest, {value(finite[step])}, {times}."


def _origin(trail: Trail) -> str:
    """Says how the trail was come by."""
    origin = trail.origin
    begun_at = "its beginning" if origin.start == 0 else f"step {origin.start}"
    if len(trail.rows) == 1:
        beginning = "The parameters are those of the run's checkpoint"
    elif origin.identical:
        beginning = f"Trained again from {begun_at}, the run comes to its checkpoint bit for bit"
    else:
        differs = f" ({', '.join(origin.differs)})" if origin.differs else ""
        beginning = (
            f"Trained again from {begun_at}, the run comes near its checkpoint, but not bit for bit{differs}, so that "
            "all rows but the last are of a run like it"
        )
    if origin.reproduced:
        return f"{beginning}; from there it diverges as recorded."
    if origin.cause is None:
        return f"{beginning}; from there it does not diverge again as recorded ({trail.recorded})."
    return f"{beginning}; from there it diverges otherwise than recorded: {origin.cause}, not {trail.recorded}."


def settings_text(settings: Mapping[str, Any]) -> str:
    """Returns changed settings as flags.

    >>> settings_text({"skip_norm": 0.0, "clip_norm": 100.0})
    '--skip-norm 0 --clip-norm 100'
    """
    return " ".join(f"{flag(name)} {text(value)}" for name, value in settings.items())


def trial_cells(trial: Trial) -> Sequence[str]:
    """Returns a row of the table of changes: the kind, the settings, what became of it."""
    elbo = number(trial.elbo)
    if trial.outcome == "refused":
        return [trial.kind, settings_text(trial.settings), f"not possible: {trial.detail}", "–"]
    if trial.outcome == "diverged":
        return [trial.kind, settings_text(trial.settings), f"diverged: {trial.detail}", elbo]
    seeds = f" at {count(len(trial.seeds), 'seed')}" if len(trial.seeds) > 1 else ""
    remark = ", the fault still in reach" if trial.in_reach else ""
    return [trial.kind, settings_text(trial.settings), f"survived{seeds}{remark}", elbo]


TRIAL_HEADER = ("change", "settings", "outcome", "test ELBO")
"""The header of the table of changes."""


def survivors_sentences(trail: Trail, trials: Sequence[Trial]) -> Sequence[str]:
    """Says which change survives, and what that is worth."""
    survived = [trial for trial in trials if trial.outcome == "survived"]
    if not survived:
        tried = count(sum(trial.outcome == "diverged" for trial in trials), "change")
        return [f"None of the {tried} that were trained survives."]
    said = [f"The smallest change that survives: {settings_text(survived[0].settings)}."]
    if survived[0].in_reach:
        said.append(
            f"It leaves u = {value(trail.breakdown.u)} in reach, where this head has no finite log "
            f"{trail.breakdown.at_fault} or gain, so it may have survived by chance."
        )
        if cures := [trial for trial in survived if not trial.in_reach]:
            said.append(f"The smallest that takes it away, and survives: {settings_text(cures[0].settings)}.")
    complete, total = trail.survivors
    if total > 1:
        said.append(f"Without any change {complete} of {total} runs of this variant, beside this one, are complete.")
    seeds = survived[-1].seeds
    if len(seeds) == 1:
        said.append(f"One run that survives, at seed {seeds[0]}, shows that it can, not that it always does (--seeds).")
    return said


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
