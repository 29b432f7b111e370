"""Runs a graph of stages in worker processes of this machine.

The scheduler takes the first stage, in the order given, whose inputs are done; with the stages of a variant one after
the other, first variants finish early. It keeps no state of its own: killed at any moment, the next run reads from the
store what is done, and each stage resumes from what it wrote. Two runs at once share the work, by the stages' leases.
"""

from __future__ import annotations

import selectors
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.launch.budget import Ledger
from harness.launch.events import Event, Kind, OnEvent, Report, Result, State, ignore
from harness.launch.execution import log_tail
from harness.launch.graph import Graph
from harness.launch.interruption import Interruption, signals
from harness.launch.pool import Worker, available_cores
from harness.launch.siblings import ranks_of
from harness.store import Stage, StorageFull, Store
from harness.store.attempts import FAILED, KILLED, RUNNING
from harness.store.lease import Watch

POLL_SECONDS = 0.5  # between two looks at stages that another run works on


def run(
    store: Store,
    stages: Sequence[Stage],
    *,
    processes: int = 0,
    threads: int = 1,
    retries: int = 1,
    on_event: OnEvent = ignore,
    registry: Path | None = None,
    ledger: Ledger | None = None,
) -> Report:
    """Computes all ``stages`` that are not done, those first in the list first, and says how each ended.

    ``processes`` workers (0 = as many as the cores allow) of ``threads`` threads each, the other ranks of stages that
    have several included. A stage whose worker dies is
    tried ``retries`` times more; then it has failed, what needs it is blocked, and the rest goes on. SIGINT and SIGTERM
    end the run within a moment, with everything resumable (``Report.interrupted``). The results do not depend on the
    number of processes. Nothing new begins when the ``ledger`` has an obstacle; what is at work ends. ``registry`` is
    another table of executors, for tests.

    Raises ``StorageFull`` when the disk is full, ``DamagedStage`` when what is stored is not what was written.
    """
    graph = Graph(stages)
    graph.check(store)
    processes = processes or max(1, available_cores() // threads)
    scheduler = _Scheduler(store, graph, processes, threads, retries, on_event, registry, ledger)
    with signals() as interruption:
        return scheduler.run(interruption)


class _Scheduler:
    def __init__(
        self,
        store: Store,
        graph: Graph,
        processes: int,
        threads: int,
        retries: int,
        on_event: OnEvent,
        registry: Path | None,
        ledger: Ledger | None,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._graph = graph
        self._processes = processes
        self._threads = threads
        self._retries = retries
        self._tell = on_event
        self._registry = registry
        self._workers: list[Worker] = []
        self._results: dict[str, Result] = {}
        self._waiting: set[str] = set(graph.stages)  # neither ended nor given to a worker
        self._held: dict[str, Watch] = {}  # of those waiting: another run works on them
        self._presumed_dead: dict[str, str] = {}  # holders elsewhere that fell silent, by stage
        self._crashes: dict[str, int] = {}
        self._full: StorageFull | None = None

    def run(self, interruption: Interruption) -> Report:
        """Walks the graph to its end, or until interrupted."""
        for stage in self._graph:
            self._reuse(stage)
        try:
            with selectors.DefaultSelector() as selector:
                if interruption.socket is not None:
                    selector.register(interruption.socket, selectors.EVENT_READ, None)
                while not interruption.number and self._advance(selector):
                    pass
            if interruption.number:
                self._interrupt()
        finally:
            for worker in self._workers:
                worker.kill()
        if self._full is not None:
            raise self._full
        unfinished = {stage.id: Result(stage, "unfinished") for stage in self._graph}
        results = {stage_id: self._results.get(stage_id, result) for stage_id, result in unfinished.items()}
        return Report(results, interruption.number)

    def _advance(self, selector: selectors.BaseSelector) -> bool:
        """Gives out what is ready and hears what has happened; False when nothing is left to do."""
        self._look_at_held()
        if self._full is None:  # else the run is about to end with that one error, and nothing is out of reach
            self._block()
            self._give_out(selector)
        busy = any(worker.stage for worker in self._workers)
        if not busy and (self._full is not None or not self._held):
            return False
        events = selector.select(POLL_SECONDS)
        heard = [key.data for key, _ in events if key.data is not None]
        silent = [worker for worker in self._workers if worker not in heard and worker.is_dead] if not events else []
        for worker in heard:
            messages = worker.hear()
            if messages is None:
                self._lost(worker, selector)
                continue
            for message in messages:
                self._heard(worker, message)
                if message.get("out_of_memory"):
                    # The next attempt needs all that the machine can give.
                    selector.unregister(worker)
                    self._workers.remove(worker)
                    worker.kill()
        for worker in silent:
            self._lost(worker, selector)
        return True

    def _give_out(self, selector: selectors.BaseSelector) -> None:
        for stage in self._ready():
            busy = sum(ranks_of(worker.stage) for worker in self._workers if worker.stage is not None)
            if busy and busy + ranks_of(stage) > self._processes:
                return  # a stage with more ranks than there are processes runs alone
            worker = next((worker for worker in self._workers if worker.stage is None), None)
            if worker is None and len(self._workers) >= self._processes:
                return
            overdrawn = self._ledger.obstacle() if self._ledger else ""
            if overdrawn:
                self._give_up(overdrawn)
                return
            if worker is None:
                worker = Worker(self._threads, self._registry)
                self._workers.append(worker)
                selector.register(worker, selectors.EVENT_READ, worker)
            spec = self._store.register(stage)
            worker.give(stage, spec, self._presumed_dead.get(stage.id, ""))
            self._waiting.remove(stage.id)

    def _give_up(self, reason: str) -> None:
        """Ends whatever has not begun."""
        for stage in [each for each in self._graph if each.id in self._waiting]:
            self._end(Result(stage, "blocked", reason))
            self._tell(Event("blocked", stage, reason=reason))

    def _ready(self) -> list[Stage]:
        """Stages whose inputs are done, in the order given."""
        return [
            stage
            for stage in self._graph
            if stage.id in self._waiting
            and stage.id not in self._held
            and all(self._state(stage_id) == "done" for stage_id in self._graph.inner_inputs(stage))
        ]

    def _state(self, stage_id: str) -> State | None:
        result = self._results.get(stage_id)
        return result.state if result else None

    def _block(self) -> None:
        """Ends the stages that can no longer be reached, and those behind them."""
        found = True
        while found:
            found = False
            for stage in [self._graph[stage_id] for stage_id in self._waiting]:
                for role, stage_id in stage.inputs.items():
                    state = self._state(stage_id)
                    if state not in ("failed", "blocked", "diverged"):
                        continue
                    reason = f"its {role}, {self._graph[stage_id]}, {'is' if state == 'blocked' else 'has'} {state}"
                    self._end(Result(stage, "blocked", reason))
                    self._tell(Event("blocked", stage, reason=reason))
                    found = True
                    break

    def _reuse(self, stage: Stage) -> bool:
        """Ends a stage that is done already."""
        record = self._store.record(stage)
        if record is None:
            return False
        state: State = "diverged" if record.outcome == "diverged" else "done"
        self._end(Result(stage, state, reused=True, log=self._store.path(stage) / "log.txt"))
        self._tell(Event("reused", stage, outcome=record.outcome))
        return True

    def _look_at_held(self) -> None:
        for stage_id, watch in list(self._held.items()):
            if not self._reuse(self._graph[stage_id]) and watch.look() is None:  # free, or its holder is dead
                del self._held[stage_id]
                self._presumed_dead[stage_id] = watch.presumed_dead

    def _heard(self, worker: Worker, message: Mapping[str, Any]) -> None:
        stage = worker.stage
        assert stage is not None
        if message["message"] == "started":
            worker.attempt, worker.log, worker.log_offset = message["attempt"], Path(message["log"]), message["offset"]
            self._tell(Event("started", stage, attempt=worker.attempt, log=worker.log))
        elif message["message"] == "progress":
            self._tell(Event("progress", stage, attempt=worker.attempt, progress=message["progress"], log=worker.log))
        else:
            worker.stage = None
            self._ended(worker, stage, message)

    def _ended(self, worker: Worker, stage: Stage, message: Mapping[str, Any]) -> None:
        state, reason = message["state"], message["reason"]
        if state in ("finished", "reused"):
            ended: State = "diverged" if message["outcome"] == "diverged" else "done"
            self._end(Result(stage, ended, reused=state == "reused", log=self._store.path(stage) / "log.txt"))
            self._tell(Event(state, stage, outcome=message["outcome"], attempt=worker.attempt, log=worker.log))
        elif state == "held":
            self._waiting.add(stage.id)
            watch = self._store.watch(stage)
            held = watch.look()
            if held is not None:
                self._held[stage.id] = watch
                self._tell(Event("held", stage, reason=str(held.owner)))
        else:
            if message["storage_full"]:
                self._full = StorageFull(self._store.path(stage))
            # A process keeps in part what earlier stages had: in a new one there may be enough.
            worn = message["out_of_memory"] and worker.given > 1
            retryable = (message["retryable"] or worn) and not message["storage_full"]
            tail = "" if message["foreseen"] else self._tail(worker)
            self._failed(worker, stage, reason, retryable, tail, counts=not message["out_of_memory"])

    def _tail(self, worker: Worker) -> str:
        return log_tail(worker.log, worker.log_offset) if worker.log else ""

    def _failed(
        self, worker: Worker, stage: Stage, reason: str, retryable: bool, tail: str, counts: bool = True
    ) -> None:
        # Attempts that ran out of memory are not counted: each has smaller batches, and one of a single sample ends it.
        self._crashes[stage.id] = self._crashes.get(stage.id, 0) + counts
        again = retryable and self._crashes[stage.id] <= self._retries
        kind: Kind = "retrying" if again else "failed"
        if again:
            self._waiting.add(stage.id)
        else:
            self._end(Result(stage, "failed", reason, log=worker.log))
        self._tell(Event(kind, stage, reason=reason, attempt=worker.attempt, log=worker.log, tail=tail))

    def _lost(self, worker: Worker, selector: selectors.BaseSelector) -> None:
        """A worker is dead; what it worked on has lost an attempt."""
        selector.unregister(worker)
        self._workers.remove(worker)
        reason = worker.bury()
        if worker.stage is not None:
            stage, worker.stage = worker.stage, None
            self._store.end_attempt(stage, worker.attempt, FAILED, reason)
            self._failed(worker, stage, reason, retryable=True, tail=self._tail(worker) or worker.last_words())

    def _interrupt(self) -> None:
        """Ends the workers; what they worked on is where their last write left it."""
        for worker in self._workers:
            worker.kill()
            if worker.stage is not None:
                # Its own word that the attempt has begun may not have been heard yet.
                for attempt in self._store.attempts(worker.stage):
                    if attempt.state == RUNNING and attempt.owner.get("pid") == worker.pid:
                        self._store.end_attempt(worker.stage, attempt.number, KILLED, "interrupted")

    def _end(self, result: Result) -> None:
        self._results[result.stage.id] = result
        self._waiting.discard(result.stage.id)
        self._held.pop(result.stage.id, None)
