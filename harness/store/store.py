"""The store: the only code that knows the layout on disk.

::

    ROOT/stages/KIND/SLUG-ID/    one folder a stage
        stage.json               what it is; written first
        …                        its outputs
        scratch/                 what helps to resume; gone when finished
        progress.json, log.txt, attempts/N.json
        done.json                checksums, outcome, provenance; written last
    ROOT/names/ID                which folder an id lives in: the first process that names it wins
    ROOT/leases/ID/              who works on it now
    ROOT/lease.json              how long a silent worker is waited for, if not as usual (``store.lease.Terms``)
    ROOT/batches/KEY/            what was given to a scheduler (``store.batches``)
    ROOT/runs/USER/TITLE.jsonl   what the latest submission of a sweep wanted, for whoever goes on with it
    ROOT/damaged/                stages that were set aside
    ROOT/trash/                  what is being removed (``store.disposal``)

The truth is in ``stages``; names are rebuilt from it. It works on network file systems: rename and link only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.store import atomic, attempts, record
from harness.store.attempts import KILLED, RUNNING, Attempt
from harness.store.encoding import differences
from harness.store.lease import Held, Lease, Terms, Watch, holder
from harness.store.owner import Owner
from harness.store.provenance import provenance
from harness.store.record import DamagedStage, Record
from harness.store.stage import ID_LENGTH, Stage, is_stage_id
from harness.store.workspace import Listener, Workspace

_BLOCK = 1 << 16


@dataclass(frozen=True)
class Outputs:
    """The verified outputs of a finished stage."""

    directory: Path
    record: Record

    def path(self, name: str) -> Path:
        """The path of one output. Raises ``HarnessError`` when the stage has none, or it stayed behind in an export."""
        if name in self.record.left_out:
            raise Exported(self.directory.name)
        if name not in self.record.outputs:
            known = ", ".join(sorted(self.record.outputs)) or "none"
            raise HarnessError(f"Stage {self.directory.name} has no output {name!r} (it has: {known}).")
        return self.directory / name


@dataclass(frozen=True)
class SetAside:
    """A damaged stage that was moved away, so that it runs again: where it lies now and what was wrong with it."""

    id: str
    path: Path
    reason: str


class Exported(HarnessError):
    """A stage came without what the work at hand needs of it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Stage {name} was exported without its weights or features, and they are needed now.",
            "Run the sweep again with `harness run --repair …`: it is set aside and computed again.",
        )


class Busy(HarnessError):
    """Another living process works on the stage."""

    def __init__(self, stage_id: str, held: Held) -> None:
        self.held = held
        super().__init__(f"Stage {stage_id} is being worked on by {held.owner}.", "Wait for it or stop it.")


class Store:
    """Finished and unfinished stages below a folder. Creating the object reads and writes nothing.

    ``terms`` are those of the leases (tests shorten them).
    """

    def __init__(self, root: str | os.PathLike[str], terms: Terms | None = None) -> None:
        self.root = Path(root).expanduser().absolute()
        self.terms = terms or Terms.of(self.root)
        self._names = str(self.root / "names")
        self._folders: dict[str, Path] = {}
        self._real_root: str | None = None
        self._unnamed: dict[str, Path] | None = None
        self._surveyed: dict[str, str] = {}
        self._verified: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    @classmethod
    def of_spec(cls, spec: str | os.PathLike[str], terms: Terms | None = None) -> tuple[Store, Stage]:
        """The store and the stage that a ``stage.json`` belongs to; all that a worker is told is this path."""
        path = Path(spec).absolute()
        if path.name != "stage.json" or len(path.parents) < 4 or path.parents[2].name != "stages":
            remedy = "Give the folder of a stage where its run wrote it: RESULTS/stages/KIND/NAME."
            raise HarnessError(f"{path} is not the stage.json of a store.", remedy)
        store = cls(path.parents[3], terms)
        stage = _read_spec(path.parent)
        if stage is None:
            raise HarnessError(f"{path} does not exist.", "Give the command that planned it again.")
        if store.find(stage.id) != path.parent:
            raise DamagedStage(path, f"the folder of stage {stage.id} is another one")
        return store, stage

    # Where things are

    def find(self, stage_id: str) -> Path | None:
        """The folder of a stage by its id; ``None`` when the store has none."""
        if not is_stage_id(stage_id):
            raise HarnessError(f"{stage_id!r} is not a stage id.", "Ids are 16 or more hexadecimal digits.")
        folder = self._folders.get(stage_id)
        if folder is None and stage_id in self._surveyed:
            folder = self._folders[stage_id] = Path(self._surveyed[stage_id])
        if folder is None or not folder.is_dir():
            folder = self._named(stage_id) or self._search(stage_id)
            if folder is None:
                return None
            self._inside(folder)
            self._folders[stage_id] = folder
        return folder

    def survey(self) -> None:
        """Looks through all folders once, so that finding thousands of stages costs no look each.

        What is not found that way (links, several folders of one id, stages made since) is found as ever.
        """
        found: dict[str, str] = {}
        twice: set[str] = set()
        for kind in _folders(f"{self.root}{os.sep}stages"):
            self._inside(Path(kind))
            for folder in _folders(kind):
                stage_id = folder[-ID_LENGTH:]
                if stage_id in found:
                    twice.add(stage_id)
                found[stage_id] = folder
        for stage_id in twice:
            del found[stage_id]
        self._surveyed = found

    def path(self, stage: Stage) -> Path:
        """The folder of a stage, whether it exists or not yet (another name may win until it is registered)."""
        return self.find(stage.id) or self.root / "stages" / stage.kind / stage.name

    def stage(self, stage_id: str) -> Stage:
        """The stage with an id. Raises ``HarnessError`` when the store has none."""
        folder = self.find(stage_id)
        stage = _read_spec(folder) if folder else None
        if stage is None:
            raise HarnessError(f"The store at {self.root} has no stage {stage_id}.", "See `harness status`.")
        return stage

    # Reading

    def is_done(self, stage: Stage | str) -> bool:
        """Whether a stage is finished, complete or diverged. Reads two small files and verifies no outputs.

        Raises ``DamagedStage`` for a record that was cut short, and ``HarnessError``, showing the difference, when the
        stored config is not the one expected.
        """
        return self.record(stage) is not None

    def record(self, stage: Stage | str) -> Record | None:
        """The record of a finished stage, else ``None``. Verifies no outputs; raises as ``is_done``."""
        folder = self.find(stage.id if isinstance(stage, Stage) else stage)
        if folder is None:
            return None
        found = record.read(folder, stage if isinstance(stage, Stage) else None)
        if found is not None:
            stored = _read_spec(folder, stage if isinstance(stage, Stage) else None)
            if stored is None:
                raise DamagedStage(folder / "stage.json", "it is missing")
            if stored.digest != found.digest:
                raise DamagedStage(folder / record.NAME, f"it belongs to stage {found.id}, not to {stored.id}")
        return found

    def outcome(self, stage: Stage) -> Record | None:
        """The record of a finished stage by ``done.json`` alone, for who looks at tens of thousands; else ``None``.

        Raises as ``is_done``, but for what may be wrong with ``stage.json`` beside it.
        """
        folder = self.find(stage.id)
        return record.read(folder, stage) if folder is not None else None

    def seal(self, stage_id: str) -> str | None:
        """Stands for the record of a finished stage as it lies on the disk, byte for byte; ``None`` without one.

        It tells that nothing has changed since the record was read: the outputs are named in it by their checksums. Of
        the outputs themselves it says nothing.
        """
        folder = self._surveyed.get(stage_id) or self.find(stage_id)
        if folder is None:
            return None
        try:
            descriptor = os.open(f"{folder}{os.sep}{record.NAME}", os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            if stage_id not in self._surveyed:
                return None
            del self._surveyed[stage_id]  # it may have gone, or be made again under another name
            return self.seal(stage_id)
        try:
            digest = hashlib.sha256()
            while block := os.read(descriptor, _BLOCK):
                digest.update(block)
                if len(block) < _BLOCK:
                    break
        finally:
            os.close(descriptor)
        return digest.hexdigest()[:32]

    def size(self, stage_id: str, name: str) -> int | None:
        """The bytes that an output of a stage has now; ``None`` when it is not there or a link."""
        folder = self._surveyed.get(stage_id) or self.find(stage_id)
        try:
            found = os.lstat(f"{folder}{os.sep}{name}") if folder is not None else None
        except OSError:
            return None
        return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else None

    def outputs(self, stage: Stage | str) -> Outputs:
        """The outputs of a finished stage; their checksums are verified when this object reads them first.

        Raises ``DamagedStage`` naming the file that differs, ``HarnessError`` when the stage is not finished.
        """
        stage_id = stage.id if isinstance(stage, Stage) else stage
        found = self.record(stage)
        if found is None:
            raise HarnessError(f"Stage {stage_id} is not finished.", "Run its sweep first; see `harness status`.")
        folder = self.find(stage_id)
        assert folder is not None
        if self._verified.get(stage_id) != found.checksum:
            record.verify(folder, found)
            self._verified[stage_id] = found.checksum
        return Outputs(folder, found)

    def content(self, found: Record, name: str) -> bytes:
        """One output of the finished stage with this record, verified now, and no other output of it.

        Raises ``DamagedStage`` when it is not what was written, ``HarnessError`` when there is no such output.
        """
        folder = self.find(found.id)
        if folder is None:
            raise HarnessError(f"The store at {self.root} has no stage {found.id}.", "See `harness status`.")
        Outputs(folder, found).path(name)
        return record.read_output(folder, found, name)

    def attempts(self, stage: Stage | str) -> list[Attempt]:
        """The attempts at a stage so far, oldest first."""
        folder = self.find(stage.id if isinstance(stage, Stage) else stage)
        return attempts.attempts(folder) if folder else []

    def progress(self, stage: Stage | str) -> dict[str, Any]:
        """What the stage reported last, empty when nothing; ``time`` (UTC) and ``attempt`` beside ``progress``."""
        folder = self.find(stage.id if isinstance(stage, Stage) else stage)
        with contextlib.suppress(OSError, ValueError):
            if folder is not None:
                value = json.loads((folder / "progress.json").read_bytes())
                return value if isinstance(value, dict) else {}
        return {}

    def leased(self) -> set[str]:
        """The ids of stages that somebody may work on: of the others nobody needs to ask for a holder.

        Raises ``OSError`` where that cannot be known, so that no stage is taken for one that nobody has.
        """
        try:
            return {name for name in os.listdir(self.root / "leases") if is_stage_id(name)}
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return set()

    def holder(self, stage: Stage | str) -> Held | None:
        """Who works on a stage, dead or alive, to be told; ``None`` also when that cannot be read now."""
        with contextlib.suppress(OSError):
            return holder(self._lease_folder(stage.id if isinstance(stage, Stage) else stage))
        return None

    def watch(self, stage: Stage, job: str = "") -> Watch:
        """Tells, by being asked repeatedly, whether somebody alive works on a stage."""
        return Watch(self._lease_folder(stage.id), job, self.terms)

    # Writing

    def register(self, stage: Stage) -> Path:
        """Creates the folder of a stage with its ``stage.json`` if need be, and returns the path of that file.

        For a stage that is not done, a new ``location`` replaces the stored one (data may have moved). Raises
        ``HarnessError``, showing the difference, when the stored config is not the one expected.
        """
        folder = self.find(stage.id) or self._claim(stage)
        path = folder / "stage.json"
        # Listed before it is read: what lies there was put there after the spec, which another process may be writing.
        others = [name for name in os.listdir(folder) if not name.startswith(".")]
        stored = _read_spec(folder, stage)
        if stored is not None:
            if dict(stored.location) == dict(stage.location) or (folder / record.NAME).exists():
                return path
        elif others:
            raise DamagedStage(path, "it is missing")
        with atomic.storing(path):
            atomic.write_json(path, stage.to_json())
        return path

    def end_attempt(self, stage: Stage, number: int, state: str, reason: str, retryable: bool = True) -> None:
        """Records the end of an attempt whose process can no longer do it: ``failed`` or ``killed``, and why."""
        folder = self.find(stage.id)
        for attempt in attempts.attempts(folder) if folder else []:
            if folder and attempt.number == number and attempt.state not in (attempts.FINISHED, attempts.FAILED):
                ended = replace(self._closed(stage, attempt, state), reason=reason, retryable=retryable)
                with contextlib.suppress(OSError, HarnessError):  # a note for people; on a full disk it is missing
                    attempts.update(folder, ended)

    def open(
        self,
        stage: Stage,
        *,
        wait: bool = True,
        job: str = "",
        presumed_dead: str = "",
        listener: Listener | None = None,
        on_wait: Callable[[Held], None] | None = None,
    ) -> Workspace:
        """Takes the lease of a stage and returns the workspace in which to compute it.

        When another living process holds it, waits for that one (``on_wait`` is told once) or, with ``wait=False``,
        raises ``Busy``. A stage that is or becomes done is returned with ``finished`` set and holds no lease. Inputs
        must be done, else ``HarnessError``. ``job`` is the scheduler's job id of this process. ``listener`` is given
        every progress report. ``presumed_dead`` is what a ``watch`` of another process found.
        """
        folder = self.register(stage).parent
        found = record.read(folder, stage)
        if found is not None:
            return Workspace(self, stage, folder, found, None, None)
        for role, stage_id in stage.inputs.items():
            before = self.record(stage_id)
            if before is not None and before.left_out:
                raise Exported(str(self.stage(stage_id)))
            if before is None:
                raise HarnessError(
                    f"Stage {stage} needs stage {stage_id} as its {role}, and that one is not finished.",
                    "Run the sweep again; it computes what is missing first.",
                )
        lease = self._acquire(stage, wait, job, presumed_dead, on_wait)
        if isinstance(lease, Record):
            return Workspace(self, stage, folder, lease, None, None)
        try:
            # Somebody else may have set the folder aside or finished the stage before the lease was ours. Listing it
            # makes a network file system forget that it believed done.json absent.
            folder = self.register(stage).parent
            os.listdir(folder)
            found = record.read(folder, stage)
            if found is not None:
                lease.release(finished=True)
                return Workspace(self, stage, folder, found, None, None)
            with atomic.storing(folder):
                atomic.recover(folder)
                spent, attempt = self._begin(folder, stage, lease.owner)
        except BaseException:
            lease.release()
            raise
        return Workspace(self, stage, folder, None, lease, attempt, spent, listener)

    def follow(self, stage: Stage) -> Workspace:
        """The workspace of a stage for a process that helps the one that holds it: it reads inputs and writes nothing.

        Raises ``HarnessError`` when nobody has opened the stage.
        """
        folder = self.find(stage.id)
        if folder is None:
            raise HarnessError(f"The store at {self.root} has no stage {stage.id}.", "See `harness status`.")
        return Workspace(self, stage, folder, None, None, None)

    @contextlib.contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Lets one process at a time, of all that use this store, into the body; ``name`` says which body."""
        folder = self.root / "leases" / name
        watch = Watch(folder, "", self.terms)
        while isinstance(lease := Lease.acquire(folder, name, self.terms, watch=watch), Held):
            time.sleep(self.terms.poll)
        try:
            yield
        finally:
            lease.release()

    def set_aside(self, stage: Stage | str, reason: str) -> SetAside:
        """Moves the folder of a stage away, so that it runs again. Raises ``Busy`` if it is being worked on."""
        stage_id = stage.id if isinstance(stage, Stage) else stage
        folder = self.find(stage_id)
        if folder is None:
            raise HarnessError(f"The store at {self.root} has no stage {stage_id}.", "See `harness status`.")
        lease = Lease.acquire(self._lease_folder(stage_id), f"stage {stage_id}", self.terms)
        if isinstance(lease, Held):
            raise Busy(stage_id, lease)
        try:
            with atomic.storing(self.root / "damaged"):
                (self.root / "damaged").mkdir(exist_ok=True)
                number = 1
                while (target := self.root / "damaged" / f"{folder.name}.{number}").exists():
                    number += 1
                os.rename(folder, target)
                atomic.sync_directory(folder.parent)
                atomic.write_json(target / "damaged.json", {"reason": reason, "time": attempts.now()})
        finally:
            lease.release()
        self._folders.pop(stage_id, None)
        self._surveyed.pop(stage_id, None)
        self._verified.pop(stage_id, None)
        return SetAside(stage_id, target, reason)

    def repair(self, stages: Iterable[Stage]) -> list[SetAside]:
        """Verifies every output and record of the given stages; sets aside and returns the damaged and the incomplete.

        Stages computed from a damaged one stay: it was whole when they read it, and computing it again gives the same.
        """
        moved = []
        for stage in stages:
            if self.find(stage.id) is None:
                continue
            try:
                self._verified.pop(stage.id, None)
                if self.is_done(stage):
                    if self.outputs(stage).record.left_out:
                        moved.append(self.set_aside(stage, "it was exported without all of its outputs"))
                else:
                    self.register(stage)
            except DamagedStage as damage:
                moved.append(self.set_aside(stage, damage.message))
        return moved

    # Inner workings

    def _lease_folder(self, stage_id: str) -> Path:
        if not is_stage_id(stage_id):
            raise HarnessError(f"{stage_id!r} is not a stage id.", "Ids are 16 or more hexadecimal digits.")
        return self.root / "leases" / stage_id

    def _named(self, stage_id: str) -> Path | None:
        """The folder that a name file points to, if it exists and is one that a stage may have."""
        try:
            # A plan asks for tens of thousands of stages: plain strings, because a Path costs more than the call.
            with open(f"{self._names}{os.sep}{stage_id}", errors="replace") as file:
                parts = _name_parts(file.read(), stage_id)
        except (FileNotFoundError, NotADirectoryError):
            return None
        folder = self.root.joinpath("stages", *parts) if parts else None
        return folder if folder is not None and folder.is_dir() else None

    def _search(self, stage_id: str) -> Path | None:
        """Finds a stage without a valid name by looking through all folders, once: a store that was copied in parts."""
        if self._unnamed is None:
            # Ids registered after this look have names.
            folders = sorted((self.root / "stages").glob("*/*"))
            self._unnamed = {folder.name[-ID_LENGTH:]: folder for folder in folders if folder.is_dir()}
        folder = self._unnamed.get(stage_id)
        return folder if folder is not None and folder.is_dir() else None

    def _claim(self, stage: Stage) -> Path:
        """Creates the folder of a stage; of several processes with different slugs, the first one's name is taken."""
        name = self.root / "names" / stage.id
        text = f"{stage.kind}/{stage.name}"
        with atomic.storing(name):
            name.parent.mkdir(parents=True, exist_ok=True)
            if not atomic.create(name, text.encode()):
                claimed = _name_parts(name.read_text(errors="replace"), stage.id)
                if claimed is not None:
                    text = "/".join(claimed)
                else:
                    atomic.write_bytes(name, text.encode())
            folder = self.root / "stages" / text
            self._inside(folder)
            folder.mkdir(parents=True, exist_ok=True)
        self._folders[stage.id] = folder
        return folder

    def _inside(self, folder: Path) -> None:
        """Refuses a stage folder that a link leads out of the store."""
        if self._real_root is None:
            self._real_root = os.path.realpath(self.root)
        real = os.path.realpath(folder)
        if os.path.commonpath((real, self._real_root)) != self._real_root:
            raise HarnessError(f"{folder} leads out of the store to {real}.", "Replace the link by the folder itself.")

    def _acquire(
        self, stage: Stage, wait: bool, job: str, presumed_dead: str, on_wait: Callable[[Held], None] | None
    ) -> Lease | Record:
        folder = self._lease_folder(stage.id)
        watch = Watch(folder, job, self.terms, presumed_dead)
        told = False
        while True:
            lease = Lease.acquire(folder, f"stage {stage.id}", self.terms, job, watch)
            if isinstance(lease, Lease):
                return lease
            if lease.owner.is_this_process:
                raise RuntimeError(f"stage {stage.id} is already open in this process")
            if not wait:
                raise Busy(stage.id, lease)
            if not told and on_wait is not None:
                on_wait(lease)
                told = True
            time.sleep(self.terms.poll)
            found = self.record(stage)
            if found is not None:
                return found

    def _begin(self, folder: Path, stage: Stage, owner: Owner) -> tuple[float, Attempt]:
        """Closes the books of attempts that died, opens those of a new one; returns what the old ones had spent."""
        earlier = attempts.attempts(folder)
        for index, attempt in enumerate(earlier):
            if attempt.state == RUNNING:  # nobody else can be at work: the lease is ours
                earlier[index] = self._closed(stage, attempt, KILLED)
                attempts.update(folder, earlier[index])
        log = folder / "log.txt"
        begun = Attempt(
            0,
            RUNNING,
            job=owner.job,
            owner=owner.to_json(),
            started=attempts.now(),
            log_offset=log.stat().st_size if log.exists() else 0,
            relief=sum(attempt.out_of_memory and attempt.retryable for attempt in earlier),
            provenance=provenance(),
        )
        begun = attempts.add(folder, begun)
        return sum(attempt.core_seconds for attempt in earlier), begun

    def _closed(self, stage: Stage, attempt: Attempt, state: str) -> Attempt:
        """An attempt that others end: what it had spent is what it reported last."""
        wall, core = self.spent(stage, attempt)
        return replace(attempt, state=state, wall_seconds=wall, core_seconds=core, ended=attempts.now())

    def spent(self, stage: Stage, attempt: Attempt) -> tuple[float, float]:
        """Wall and core seconds of an attempt; of one that has not ended, those that it reported last."""
        if attempt.wall_seconds:
            return attempt.wall_seconds, attempt.core_seconds
        reported = self.progress(stage)
        if reported.get("attempt") != attempt.number:
            return 0.0, 0.0
        return float(reported.get("wall_seconds") or 0.0), float(reported.get("core_seconds") or 0.0)


def _folders(directory: str) -> list[str]:
    """The folders in a folder, without links."""
    try:
        with os.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _name_parts(text: str, stage_id: str) -> tuple[str, str] | None:
    """Kind and folder from a name file; ``None`` when it is damaged or would lead elsewhere."""
    kind, _, folder = text.strip().partition("/")
    safe = all(part and "/" not in part and not part.startswith(".") for part in (kind, folder))
    return (kind, folder) if safe and folder.endswith(stage_id) else None


def _read_spec(folder: Path, expected: Stage | None = None) -> Stage | None:
    """The stage that ``stage.json`` describes, ``None`` without one; ``DamagedStage`` if it is not ``expected``."""
    path = f"{folder}{os.sep}stage.json"
    try:
        with open(path, "rb", buffering=0) as file:
            value = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise DamagedStage(path, f"it is cut short or overwritten ({error})") from error
    try:
        stage = Stage.from_json(value)
    except ValueError as error:  # written by hand
        shown = _difference(value, expected.to_json()) if expected is not None and isinstance(value, dict) else ""
        raise DamagedStage(path, f"{error}{shown}") from error
    if expected is not None and stage.digest != expected.digest:
        raise DamagedStage(path, "it is another stage" + _difference(stage.identity, expected.identity))
    if not folder.name.endswith(stage.id):
        raise DamagedStage(path, f"it is stage {stage.id}, which does not belong in this folder")
    return stage


def _difference(stored: dict[str, Any], expected: dict[str, Any]) -> str:
    """The keys that differ, for people; what only names a stage is left out."""
    ignored = {"slug", "location", "format", "id", "digest"}
    lines = [line for line in differences(stored, expected) if re.split(r"[.:]", line)[0] not in ignored]
    if not lines:
        return ""
    more = [f"… and {len(lines) - 20} more"] if len(lines) > 20 else []
    return "; stored → expected:" + "".join(f"\n    {line}" for line in lines[:20] + more)
