"""Checkpoints: the state of reading, as a small JSON value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from atdata._limits import limits
from atdata.dataset.reading.permutation import SHORT_LAST_WINDOW, VERSION
from atdata.dataset.reading.ranks import Share, Taken
from atdata.errors import StateError

X_co = TypeVar("X_co", covariant=True)

History = list[tuple[int, "int | list[int]"]]
"""World size of each session of an epoch so far, and the samples that each rank took in it."""


class Stream(Protocol[X_co]):
    """One epoch that can be read from any point on."""

    share: Share

    @property
    def version(self) -> int:
        """Of the order."""
        ...

    def begin(self, history: History) -> Iterator[tuple[X_co, int]]:
        """Items, each with the number of stored samples used up by then, itself included."""
        ...

    def describe(self) -> dict[str, Any]:
        """What a state has to agree with, as JSON."""
        ...

    def adopt(self, state: Mapping[str, Any], history: History) -> None:
        """Take the order from a state; an error changes nothing.

        Args:
            state: The state.
            history: What was read by the time it was saved.

        Raises:
            StateError: It is of other samples or another order, or more was read than there is.
        """
        ...


def state_of(stream: Stream[Any], history: History, taken: int) -> dict[str, Any]:
    """A state."""
    return {
        "atdata_state": stream.version,
        **stream.describe(),
        "history": [list(run) for run in history],
        "rank": stream.share.rank,
        "world_size": stream.share.world_size,
        "taken": taken,
    }


def history_of(state: Mapping[str, Any], stream: Stream[Any]) -> History:
    """What was read by the time a state was saved; the stream adopts the order of the state.

    Raises:
        StateError: It is no state, or one of another dataset, order or version.
    """
    history = _checked(state)
    stream.adopt(state, history)
    return history


def next_epoch_of(state: Mapping[str, Any]) -> int | None:
    """The epoch after that of a loader's state, where it is not the one that follows.

    Raises:
        StateError: It is no epoch.
    """
    epoch = state.get("next_epoch")
    if epoch is not None and not _is_count(epoch):
        raise StateError(f"The state is damaged: next_epoch={epoch!r:.40} is no epoch.")
    return epoch


def merge_states(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One state for all ranks, of the states of all ranks, in any order.

    Needed where ranks stopped after different numbers of samples; any rank's own state says
    the same where they have read equally many.

    Raises:
        StateError: They are not of every rank of one run.
    """
    if not states:
        raise StateError("There are no states to merge.")
    for state in states:
        _checked(state)
    by_rank = {state["rank"]: state for state in states}
    first = states[0]
    of_one_run = all(
        {**state, "rank": 0, "taken": 0} == {**first, "rank": 0, "taken": 0} for state in states
    )
    if not of_one_run or sorted(s["rank"] for s in states) != list(range(first["world_size"])):
        raise StateError(
            f"The {len(states)} states are not those of the {first['world_size']} ranks of one run."
        )
    taken = [by_rank[rank]["taken"] for rank in range(first["world_size"])]
    history = [*first["history"], [first["world_size"], taken]]
    return {**first, "history": history, "rank": 0, "world_size": 1, "taken": 0}


def _checked(state: Mapping[str, Any]) -> History:
    if not isinstance(state, Mapping) or "atdata_state" not in state:
        raise StateError("This is not a state that state_dict() returned.")
    version = state["atdata_state"]
    if not _is_count(version) or not SHORT_LAST_WINDOW <= version <= VERSION:
        raise StateError(
            f"The state is of version {version!r:.20}, and this atdata reads versions "
            f"{SHORT_LAST_WINDOW} to {VERSION}. Load it with the atdata that saved it."
        )
    history = state.get("history")
    session: list[Any] = [state.get("world_size"), state.get("taken")]
    rank: Any = state.get("rank")
    if not isinstance(history, list) or not _is_count(rank):
        raise StateError("The state is damaged: it has no history.")
    _check_limit("state_sessions", limits.state_sessions, len(history))
    checked: History = []
    ranks = 0
    for entry in [*history, session]:
        if not isinstance(entry, list | tuple) or len(entry) != 2 or not _is_session(*entry):
            raise StateError(f"The state is damaged: {entry!r:.80} is no part of a history.")
        ranks += entry[0]
        _check_limit("state_ranks", limits.state_ranks, ranks)
        _append(checked, *entry)
    if rank >= session[0]:
        raise StateError(f"The state is damaged: there is no rank {rank} of {session[0]}.")
    return checked


def _check_limit(name: str, most: int, found: int) -> None:
    if found > most:
        raise StateError(
            f"The state has {found} of what may be {most} at most: limits.{name}. If it is one "
            f"of yours, set atdata.limits.{name} higher."
        )


def continued(history: History, world_size: int, taken: Taken) -> History:
    """A history with one session more."""
    made = list(history)
    _append(made, world_size, taken)
    return made


def _append(history: History, world_size: int, taken: Taken) -> None:
    if isinstance(taken, list) and len(set(taken)) == 1:
        taken = taken[0]
    world, before = history[-1] if history else (0, 0)
    if world == world_size and isinstance(taken, int) and isinstance(before, int):
        # The same number of ranks continues: one session, not two.
        history[-1] = (world_size, before + taken)
    elif taken:
        history.append((world_size, taken))


def _is_session(world_size: Any, taken: Any) -> bool:
    if not _is_count(world_size) or world_size < 1:
        return False
    if isinstance(taken, list):
        return len(taken) == world_size and all(map(_is_count, taken))
    return _is_count(taken)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def is_of_buffer(state: Mapping[str, Any]) -> bool:
    """Whether a state was saved while reading through a shuffle buffer."""
    shuffle = state.get("shuffle")
    return isinstance(shuffle, dict) and "buffer" in shuffle


def same_or_raise(mine: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Compare the samples that a state was saved for with those of a dataset.

    Raises:
        StateError: They are others.
    """
    for name, what in (("samples", "a dataset of {} samples"), ("data", "the dataset {}")):
        if state.get(name) != mine[name]:
            raise StateError(
                f"The state is of {what.format(state.get(name))}; this is "
                f"{what.format(mine[name])}. Shards that were written again are another dataset."
            )


__all__ = ["History", "Stream", "Taken", "merge_states"]
