"""What will happen to each stage of a plan, and why: reuse, resume, run or skip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.errors import HarnessError
from harness.plan.graph import Plan
from harness.plan.preparations import PREPARATIONS
from harness.spec.experts import COMPUTED_MAPS
from harness.store import DamagedStage, Stage, Store
from harness.store.attempts import FAILED, Attempt
from harness.store.batches import Batches
from harness.store.encoding import canonical

State = Literal["reuse", "resume", "run", "skip"]

COMPARED = 200
"""Finished stages of a kind that a new one is compared with."""

SHOWN = 3
"""Differences that a reason names."""


_ROLES = {"features": "its features", "previous": "the phase before it", "model": "its model"}
_STATES = {"run": "will be new", "resume": "will be new (begun)"}


@dataclass(frozen=True)
class Outlook:
    """``reuse``: finished, its result will be used; ``resume``: begun; ``run``: new; ``skip``: features or label maps
    that are not there, as in an export, and that nothing left to compute reads. ``reason`` is for people.
    """

    state: State
    reason: str


def outlook(plan: Plan, store: Store, saved: Iterable[Mapping[str, Any]] = ()) -> dict[str, Outlook]:
    """The outlook of every stage by id. ``saved`` are the records of earlier sweeps in the same results folder."""
    found: dict[str, Outlook] = {}
    neighbours = _Neighbours(store, saved)
    given = {stage_id: jobs[-1][1] for stage_id, jobs in Batches(store.root).jobs().items()}
    for stage_id, stage in plan.stages.items():
        found[stage_id] = _judge(stage, store, given, found, neighbours)
        if found[stage_id].state == "reuse":
            neighbours.add(stage.to_json())
    needed = {
        stage_id
        for user in plan.stages.values()
        if found[user.id].state != "reuse"
        for stage_id in user.inputs.values()
    }
    for stage_id, stage in plan.stages.items():
        if stage.kind in PREPARATIONS and found[stage_id].state != "reuse" and stage_id not in needed:
            found[stage_id] = Outlook("skip", "nothing that is left to compute reads it")
    return found


def _judge(
    stage: Stage, store: Store, given: Mapping[str, str], found: Mapping[str, Outlook], neighbours: _Neighbours
) -> Outlook:
    try:
        record = store.record(stage)
    except DamagedStage as damage:
        return Outlook("run", f"{damage.message} It is computed again by `harness run --repair`")
    if record is not None:
        outcome = ", it diverged" if record.outcome == "diverged" else ""
        return Outlook("reuse", f"finished {record.finished}{outcome}")
    known = store.find(stage.id) is not None  # whoever works on a stage has made its folder first
    attempts = store.attempts(stage) if known else []
    holder = store.holder(stage) if known else None
    if holder is not None and holder.owner.is_alive():
        return Outlook("resume", f"{holder.owner} is working on it")
    if attempts:
        return Outlook("resume", _begun(attempts[-1], store.progress(stage).get("progress", {})))
    if stage.id in given:
        return Outlook("run", f"submitted as job {given[stage.id]}, not begun")
    for role, stage_id in stage.inputs.items():
        if found[stage_id].state != "reuse":
            return Outlook("run", f"new: {_role(role)} {_STATES[found[stage_id].state]}")
    return Outlook("run", neighbours.explain(stage))


def _role(role: str) -> str:
    """What another stage is to the one that reads it."""
    if role.startswith(COMPUTED_MAPS):
        return f"its maps of {role.removeprefix(COMPUTED_MAPS)}"
    return _ROLES.get(role, f"its {role}")


def _begun(attempt: Attempt, progress: Any) -> str:
    how = f"failed: {attempt.reason}" if attempt.state == FAILED else "was interrupted"
    where = ""
    if isinstance(progress, dict) and isinstance(progress.get("step"), int):
        of = f" of {progress['steps']}" if isinstance(progress.get("steps"), int) else ""
        where = f" at step {progress['step']}{of}"
    return f"attempt {attempt.number} {how}{where}"


class _Neighbours:
    """Finished stages, to say of a new one in what it differs from the nearest of them."""

    def __init__(self, store: Store, saved: Iterable[Mapping[str, Any]]) -> None:
        self._store = store
        self._unchecked: dict[str, dict[str, Mapping[str, Any]]] = {}
        self._known: dict[str, list[tuple[str, frozenset[tuple[str, str]]]]] = {}
        for sweep in saved:
            for content in sweep["stages"]:
                if isinstance(content, dict) and isinstance(content.get("kind"), str) and "id" in content:
                    self._unchecked.setdefault(content["kind"], {})[str(content["id"])] = content

    def add(self, content: Mapping[str, Any]) -> None:
        """A stage that is finished."""
        self._unchecked.get(content["kind"], {}).pop(content["id"], None)
        name = f"{content['slug']}-{content['id']}"
        self._known.setdefault(content["kind"], []).append((name, _leaves(content)))

    def explain(self, stage: Stage) -> str:
        """In what a stage that has never been computed differs from the nearest one that has."""
        for stage_id, content in list(self._unchecked.pop(stage.kind, {}).items())[-COMPARED:]:
            try:
                if self._store.is_done(stage_id):
                    self.add(content)
            except HarnessError:
                continue
        known = self._known.get(stage.kind, [])[-COMPARED:]
        if not known:
            return "new: no stage of its kind has been computed here"
        mine = _leaves(stage.to_json())
        name, theirs = min(known, key=lambda entry: len(entry[1] ^ mine))
        before, now = dict(theirs - mine), dict(mine - theirs)
        keys = sorted({*before, *now})
        shown = "; ".join(f"{key}: {before.get(key, '(absent)')} → {now.get(key, '(absent)')}" for key in keys[:SHOWN])
        more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
        return f"new: differs from {name} in {shown}{more}"


def _leaves(content: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """Every key of an identity with its value as text."""
    leaves: list[tuple[str, str]] = [("version", str(content["version"]))]

    def walk(value: Any, place: str) -> None:
        if isinstance(value, Mapping):
            for key, item in value.items():
                walk(item, f"{place}.{key}" if place else key)
        else:
            leaves.append((place, canonical(value)))

    walk(content["config"], "")
    for kind, name in (("inputs", "input"), ("digests", "content")):
        for role, value in content[kind].items():
            leaves.append((f"{name} {role}", value[:12]))
    return frozenset(leaves)
