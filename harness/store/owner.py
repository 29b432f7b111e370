"""Who holds something, and whether that process still lives.

A process id alone lies: ids are used again, a killed child that its parent has not collected still has one, and the
same number on another host is somebody else. So an owner is host, boot, process-id namespace, id and start time.
"""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Owner:
    """A process that holds a lease.

    ``start`` counts clock ticks since the boot (0 = unknown), ``job`` is the scheduler's job id or empty, and ``token``
    makes every holding different, also two by the same process.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    start: int
    job: str
    token: str

    @classmethod
    def current(cls, job: str = "") -> Owner:
        """This process, with a new token."""
        pid = os.getpid()
        start = _start_time(pid) or 0
        return cls(socket.gethostname(), _boot(), _namespace(), pid, start, job, uuid.uuid4().hex)

    @property
    def is_this_process(self) -> bool:
        """Whether the owner is the process that asks."""
        return _same_machine(self) and self.pid == os.getpid() and self.start == (_start_time(self.pid) or 0)

    def is_alive(self) -> bool | None:
        """Whether the process lives; ``None`` when that cannot be told from here (another host or container)."""
        if not _same_machine(self):
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # somebody else's; /proc may hide it, and then its absence says nothing
            return None if _start_time(self.pid) is None else _start_time(self.pid) == self.start
        start = _start_time(self.pid)
        if start is None and not Path("/proc/self/stat").exists():
            return True  # no /proc on this system: the id is all there is
        return start == self.start

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Owner:
        """The owner that ``to_json`` wrote. Raises ``ValueError`` for anything else."""
        try:
            owner = cls(**value)
        except TypeError as error:
            raise ValueError(f"not an owner ({error})") from error
        if type(owner.pid) is not int or type(owner.start) is not int or owner.pid <= 0:
            raise ValueError("not an owner (its process id is no number)")
        return owner

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}"


def _same_machine(owner: Owner) -> bool:
    # The boot id alone is not enough: machines restored from one snapshot share it. Nor is the host name: containers
    # share those.
    return (owner.host, owner.boot, owner.namespace) == (socket.gethostname(), _boot(), _namespace())


def _start_time(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process; ``None`` when it is gone, or dead and not yet collected."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field, the command in parentheses, may itself hold spaces and parentheses.
    fields = text[text.rfind(")") + 1 :].split()
    if len(fields) < 20 or fields[0] in "ZXx":
        return None
    return int(fields[19])


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
