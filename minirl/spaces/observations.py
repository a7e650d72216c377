"""Observation spaces as data: the table of kinds, and the codec of a space or of a policy file's facts."""

from typing import Any

from minirl.errors import SpaceError
from minirl.spaces.array_observations import BoxObs, DiscreteObs, MultiBinaryObs, MultiDiscreteObs
from minirl.spaces.facts import Facts, among
from minirl.spaces.nested_observations import DictObs, TupleObs, unknown
from minirl.spaces.observation_interface import ArrayObs, Entries, ObsCodec

__all__ = [
    "KINDS",
    "MAX_NESTING",
    "ArrayObs",
    "BoxObs",
    "DictObs",
    "DiscreteObs",
    "MultiBinaryObs",
    "MultiDiscreteObs",
    "ObsCodec",
    "TupleObs",
    "obs_codec",
    "read_observations",
]

MAX_NESTING = 14  # of Dict and Tuple: what is deeper would not fit the policy's file

KINDS: dict[str, type[ObsCodec]] = {  # by the name that a policy file has for it
    each.kind: each for each in (BoxObs, DiscreteObs, MultiBinaryObs, MultiDiscreteObs, TupleObs, DictObs)
}


def obs_codec(space: Any, depth: int = 0) -> ObsCodec:
    """The encoder for a single environment's observation space, `depth` within others; SpaceError for one without."""
    if depth > MAX_NESTING:
        remedy = "flatten it, e.g. by gymnasium.wrappers.FlattenObservation"
        raise SpaceError(f"observation space: its Dict and Tuple are nested more than {MAX_NESTING} deep; {remedy}")
    codec = _class_for(space).of_space(space, lambda part: obs_codec(part, depth + 1))
    try:
        empty = not codec.dim
    except OverflowError as why:
        raise SpaceError(f"observation space {space}: it starts beyond the numbers of type int64") from why
    if empty:
        raise SpaceError(f"observation space {space}: there is no number in it to learn from; leave it out")
    return codec


def _class_for(space: Any) -> type[ObsCodec]:
    """The kind that a gymnasium space is of."""
    from gymnasium import spaces

    classes: dict[type, type[ObsCodec]] = {
        spaces.Box: BoxObs,
        spaces.MultiBinary: MultiBinaryObs,
        spaces.Discrete: DiscreteObs,
        spaces.MultiDiscrete: MultiDiscreteObs,
        spaces.Tuple: TupleObs,
        spaces.Dict: DictObs,
    }
    for its, ours in classes.items():
        if isinstance(space, its):
            return ours
    raise unknown(space)


def read_observations(about: Facts, entries: Entries) -> ObsCodec:
    """The codec of a policy file's description, its MultiDiscretes by the next of `entries`; what is wrong raises.

    ValueError says what a fact may be; KeyError, TypeError and AttributeError come of descriptions of another form.
    """
    among("obs kind", about["kind"], tuple(KINDS))
    return KINDS[about["kind"]].read(about, entries, lambda part: read_observations(part, entries))
