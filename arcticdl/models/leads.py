"""One network for all leads of a forecast: told which lead it is, or rolled out."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops

from arcticdl.models.card import Card
from arcticdl.models.layers.shapes import Shape
from arcticdl.models.options import Series
from arcticdl.tasks import Head
from arcticdl.tasks.outputs import middle_quantile

ANSWER = "answer"
"""Name of the head of the one network."""

_AHEAD = re.compile(r"(.+)_t(\d+)$")
_YEAR_H = 8766.0

Term = tuple[int, int, float]


@keras.saving.register_keras_serializable(package="arcticdl")
class LeadBands(layers.Layer):
    """Makes the image that the network of a lead sees, from the image of all leads.

    Args:
        bands: For each band of the result the terms whose sum it is: number of the
            input, its channel, and the factor.
        lead: Value of a last band that tells the lead; ``None``: no such band.
        limits: Least and greatest value of the inputs that are answers.
        **kwargs: Keras layer arguments.

    Call arguments:
        inputs: ``[image, answer, ...]``: the image ``(batch, y, x, band)``, and the
            answers ``(batch, y, x, channel)`` of the leads before.
    """

    def __init__(
        self,
        bands: Sequence[Sequence[Term]],
        lead: float | None = None,
        limits: Sequence[float] = (-math.inf, math.inf),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bands: list[list[Term]] = [
            [(number, channel, factor) for number, channel, factor in terms]
            for terms in bands
        ]
        self.lead, self.limits = lead, tuple(limits)

    def call(self, inputs: list[Any]) -> Any:
        known = [inputs[0], *(ops.clip(x, *self.limits) for x in inputs[1:])]
        found = [self._sum(known, terms) for terms in self.bands]
        if self.lead is not None:
            found.append(ops.full_like(found[0], self.lead))
        return ops.concatenate(found, axis=-1)

    @staticmethod
    def _sum(known: list[Any], terms: Sequence[Term]) -> Any:
        parts = [
            known[number][..., channel : channel + 1] * factor
            if factor != 1
            else known[number][..., channel : channel + 1]
            for number, channel, factor in terms
        ]
        return parts[0] if len(parts) == 1 else sum(parts[1:], parts[0])

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        return (*shapes[0][:-1], len(self.bands) + (self.lead is not None))

    def get_config(self) -> dict[str, Any]:
        own = {"bands": self.bands, "lead": self.lead, "limits": list(self.limits)}
        return {**super().get_config(), **own}


@dataclass(frozen=True)
class Plan:
    """What the image of a forecast holds, and which head answers for which lead.

    Attributes:
        names: Bands of the image.
        dates: Dates seen, whose bands come first.
        told: Bands of context behind them.
        heads: Lead -> name of its head, in the order of leads.
        step_h: Hours of a step.
    """

    names: tuple[str, ...]
    dates: int
    told: int
    heads: Mapping[int, str]
    step_h: float

    def index(self, name: str) -> int:
        """Number of a band of the image."""
        return self.names.index(name)

    def own(self, lead: int) -> dict[str, int]:
        """Band -> its number in the image, of what a lead may see, without its step."""
        found = {}
        for number, name in enumerate(self.names):
            ahead = _AHEAD.match(name)
            if number < len(self.names) - self.told or ahead is None:
                found[name] = number
            elif int(ahead[2]) == lead:
                found[ahead[1]] = number
        return found


def build_by_lead(
    build: Callable[..., keras.Model],
    heads: Mapping[str, Head],
    spec: Mapping[str, Any],
    card: Mapping[str, Any],
    series: Series,
) -> keras.Model:
    """Builds one network with one head, and calls it once for each lead.

    Args:
        build: ``build_multitask`` with all but heads, card and series.
        heads: Name -> head, all alike, named after their leads: ``sic_t1``, ...
        spec: Description of such a head, as ``build_multitask`` takes it.
        card: Of the model, as the feed of a ``ForecastStore`` describes itself.
        series: How dates are fused, and whether leads are ``conditioned`` or a
            ``rollout``.

    Returns:
        Model from ``(batch, y, x, band)`` to the answers of all leads.

    Raises:
        ValueError: No forecast, heads that differ, or what cannot be rolled out.
    """
    plan = _read_plan(heads, card)
    rolled = series.leads == "rollout"
    if rolled:
        _check_rollout(plan, card)
    one = build(
        heads={ANSWER: spec},
        card=_card_of_one(plan, card, rolled),
        series=Series(series.fusion),
    )
    starts: Mapping[str, Any] = card.get("starts", {})
    start: Mapping[str, Any] = next(iter(starts.values()), {})
    limits = start.get("limits", (-math.inf, math.inf))
    image = keras.Input((*one.input_shape[1:3], len(plan.names)), name="image")
    x = Card(dict(card), name="card")(image)
    answers: list[Any] = []
    outputs: dict[str, Any] = {}
    value = _value_channel(next(iter(heads.values())))
    for lead, name in plan.heads.items():
        if rolled:
            bands = _rolled_bands(plan, lead, value)
            view = LeadBands(bands, None, limits, dtype="float32", name=f"seen_{name}")
            seen = view([x, *answers])
        else:
            bands = [[(0, number, 1.0)] for number in plan.own(lead).values()]
            view = LeadBands(
                bands, lead / max(plan.heads), dtype="float32", name=f"seen_{name}"
            )
            seen = view([x])
        answered = one(seen)
        every = answered if isinstance(answered, dict) else {ANSWER: answered}
        answers.append(every[ANSWER])
        for key, answer in every.items():
            own = key.replace(ANSWER, name, 1)
            outputs[own] = layers.Identity(dtype="float32", name=own)(answer)
    label = f"{series.leads}_{one.name}"
    only = next(iter(outputs.values()))
    return keras.Model(image, outputs if len(outputs) > 1 else only, name=label)


def _read_plan(heads: Mapping[str, Head], card: Mapping[str, Any]) -> Plan:
    told = int(card.get("num_context", 0))
    ahead = {name: _AHEAD.match(name) for name in heads}
    if not told or not all(ahead.values()):
        raise ValueError(
            "`series.leads` is for forecasts: heads of dates ahead, with "
            "`data.series.context`. Received: heads "
            f"{sorted(heads)} and {told} bands of context."
        )
    kinds = {(head.task, str(head.size)) for head in heads.values()}
    if len(kinds) > 1:
        raise ValueError(
            "Heads of leads that share one network must be alike. Received: "
            f"{ {name: head.task for name, head in heads.items()} }. Describe them "
            "alike, or set `series.leads` to 'direct'."
        )
    leads = {int(found[2]): name for name, found in ahead.items() if found}
    return Plan(
        tuple(card["bands"]),
        int(card.get("num_times", 1)),
        told,
        dict(sorted(leads.items())),
        float(card.get("step_h", 0.0)),
    )


def _check_rollout(plan: Plan, card: Mapping[str, Any]) -> None:
    """What is answered must be all that the next step needs to be told anew."""
    told = [name for name in plan.names[len(plan.names) - plan.told :]]
    method = card.get("normalizer", {}).get("method")
    faults = {
        "leads that leave out a step": list(plan.heads)
        != list(range(1, max(plan.heads) + 1)),
        "several bands a date, of which one is answered": len(plan.names) - plan.told
        != plan.dates,
        f"the normaliser {method!r}; answers are fed back unscaled": method != "none",
        "`anomaly` without `climatology` in the context": "anomaly" in told
        and "climatology_t1" not in told,
    }
    found = [fault for fault, holds in faults.items() if holds]
    if found:
        raise ValueError(
            "A rollout feeds answers back as the dates that come next: it needs leads "
            "1, 2, ..., the forecast quantity as the only band, no normaliser, and "
            f"`climatology` where there is `anomaly`. Received: {'; '.join(found)}. "
            "Mend that, or set `series.leads` to 'conditioned'."
        )


def _card_of_one(plan: Plan, card: Mapping[str, Any], rolled: bool) -> dict[str, Any]:
    """The card of the one network, as a feed of one lead would give it."""
    names = list(plan.own(next(iter(plan.heads))))
    moving = len(plan.names) - plan.told
    if not rolled:
        names.append("lead")
    one = {"bands": names, "num_context": len(names) - moving}
    if plan.dates > 1:
        one["num_times"] = plan.dates
    for start in list(card.get("starts", {}).values())[:1]:
        band = str(start["band"])
        ahead = _AHEAD.match(band)
        one["starts"] = {ANSWER: {**start, "band": ahead[1] if ahead else band}}
    return one


def _rolled_bands(plan: Plan, lead: int, value: int) -> list[list[Term]]:
    """What the network sees at a step of a rollout: dates move on by their answers."""
    ago = lead - 1
    turn = 2 * math.pi * plan.step_h * ago / _YEAR_H
    dates = plan.names[: plan.dates]
    anomalies = [n for n in plan.names if re.fullmatch(r"anomaly(_t-\d+)?", n)]
    found: list[list[Term]] = []
    for name, number in plan.own(lead).items():
        if name in dates or name in anomalies:
            row = dates if name in dates else anomalies
            place = row.index(name) + ago
            if place < plan.dates:
                found.append([(0, plan.index(row[place]), 1.0)])
                continue
            fed = place - plan.dates + 1
            terms: list[Term] = [(fed, value, 1.0)]
            if name in anomalies:
                terms.append((0, plan.index(f"climatology_t{fed}"), -1.0))
            found.append(terms)
        elif name == "persistence" and ago:
            found.append([(ago, value, 1.0)])
        elif name.startswith("season_") and ago:
            sine, cosine = plan.index("season_sin"), plan.index("season_cos")
            if name == "season_sin":
                terms = [(0, sine, math.cos(turn)), (0, cosine, math.sin(turn))]
            else:
                terms = [(0, cosine, math.cos(turn)), (0, sine, -math.sin(turn))]
            found.append(terms)
        else:
            found.append([(0, number, 1.0)])
    return found


def _value_channel(head: Head) -> int:
    """The channel of an answer that is fed back: the middle quantile, or the mean."""
    return middle_quantile(head.size) if head.spec.kind == "quantiles" else 0
