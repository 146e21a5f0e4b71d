"""From an estimator's parameters to an experiment: recipe, then kind, then parts, then the short words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hourglass import recipes
from hourglass.core.kinds import Experiment, experiment
from hourglass.core.penalties import Penalty
from hourglass.errors import UsageError
from hourglass.settings import Settings, did_you_mean

SHORT: dict[str, tuple[str, str]] = {
    "latent": ("bottleneck", "size"),
    "layers": ("network", "layers"),
    "epochs": ("training", "epochs"),
    "batch_size": ("training", "batch_size"),
    "learning_rate": ("training", "learning_rate"),
    "contaminated": ("training", "contaminated"),
    "seed": ("training", "seed"),
    "device": ("training", "device"),
    "window": ("format", "window"),
    "scaling": ("format", "scaling"),
    "size": ("format", "size"),
    "tile": ("format", "tile"),
    "rate": ("format", "rate"),
}
"""Short words for the options used most: each stands for a field of a part."""

PARTS = (
    *("network", "corruption", "bottleneck", "loss", "penalties", "format"),
    *("pretraining", "training", "prior", "detection"),
)


def plan(modality: str, parameters: Mapping[str, Any]) -> Experiment:
    """The experiment that parameters ask for. None means: not asked, the recipe's or the kind's own stands."""
    given = {name: value for name, value in parameters.items() if value is not None}
    chosen = _base(modality, given.get("recipe"), given.get("kind"))
    for slot in PARTS:
        if slot in given:
            chosen = chosen.replace(**{slot: _part(chosen, slot, given[slot])})
    for word, (slot, option) in SHORT.items():
        if word in given:
            chosen = change(chosen, slot, {option: given[word]})
    return chosen


def plan_with(modality: str, parameters: Mapping[str, Any], assignments: Mapping[str, Any]) -> Experiment:
    """`plan`, then parts by name (`corruption`) and single options (`corruption__rate`), as `set_params` takes them."""
    parts = {name: value for name, value in assignments.items() if "__" not in name}
    chosen = plan(modality, {**parameters, **parts})
    for name, value in assignments.items():
        slot, _, option = name.partition("__")
        if option:
            chosen = change(chosen, slot, {option: value})
    return chosen


def short_words(slot: str, options: Iterable[str]) -> list[str]:
    """The short words for options of one part."""
    return [word for word, (part, option) in SHORT.items() if part == slot and option in options]


def change(chosen: Experiment, slot: str, changes: Mapping[str, Any]) -> Experiment:
    """A copy with some options of one part changed; `penalties` takes {"contraction__weight": 0.1}."""
    if slot == "penalties":
        return chosen.replace(penalties=_changed_penalties(chosen.penalties, changes))
    if slot not in PARTS:
        raise UsageError(f"there is no part called {slot!r}", how=did_you_mean(slot, PARTS))
    part = getattr(chosen, slot)
    if part is None:
        raise UsageError(f"the {slot} is chosen by the data", how=f"name one first, for example --set {slot}=squared")
    return chosen.replace(**{slot: _with(part, changes)})


def _base(modality: str, recipe: Any, kind: Any) -> Experiment:
    for word, name in (("recipe", recipe), ("kind", kind)):
        if not isinstance(name, str | None):
            raise UsageError(f"got {name!r} for the {word}, wanted its name", how=f"{word}='NAME'")
    if recipe is None:
        return experiment(modality, kind)
    document = recipes.load(recipe)["experiment"]
    if document.get("modality", modality) != modality:
        raise UsageError(
            f"the recipe {recipe!r} is for the modality {document.get('modality')}, not {modality}",
            how="leave --modality out",
        )
    if kind is not None:
        raise UsageError(
            f"both a recipe ({recipe}) and a kind ({kind}) were given", how="a recipe has its own kind: leave one out"
        )
    return Experiment.from_json({**document, "modality": modality})


def _part(chosen: Experiment, slot: str, value: Any) -> Any:
    """A part as given: settings, its name, or its options by name."""
    if slot == "penalties":
        pieces = value if isinstance(value, (tuple, list)) else (value,)
        return tuple(each if isinstance(each, Penalty) else Penalty.from_json(each) for each in pieces)
    if isinstance(value, Mapping) and "is" not in value:
        current = getattr(chosen, slot)
        return _with(current, value) if isinstance(current, Settings) else value
    return value


def _with(part: Settings, changes: Mapping[str, Any]) -> Settings:
    """A copy with some options changed, those of a part within it too; a window of 48 steps may be a number."""
    flat = {key: value for key, value in changes.items() if "__" not in key}
    window = flat.get("window")
    part = part.replace(**{**flat, **({"window": str(window)} if isinstance(window, int) else {})})
    for key, value in changes.items():
        inner, nested, option = key.partition("__")
        if nested and isinstance(getattr(part, inner, None), Settings):
            part = part.replace(**{inner: _with(getattr(part, inner), {option: value})})
        elif nested:
            what = f"{part.name} has no part called {inner!r}, of which {option!r} could be an option"
            raise UsageError(what, how=did_you_mean(inner, list(vars(part))))
    return part


def _changed_penalties(penalties: tuple[Penalty, ...], changes: Mapping[str, Any]) -> tuple[Penalty, ...]:
    by_name = {penalty.name: penalty for penalty in penalties}
    for key, value in changes.items():
        name, _, option = key.partition("__")
        if name not in by_name:
            raise UsageError(
                f"there is no penalty {name!r} here", how=f"this autoencoder has: {', '.join(by_name) or 'none'}"
            )
        by_name[name] = by_name[name].replace(**{option: value})
    return tuple(by_name.values())
