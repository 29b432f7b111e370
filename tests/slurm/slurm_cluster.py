"""A real Slurm of several nodes on this machine: own munge, controller and node daemons, ports and folders.

Nothing of it touches another Slurm: ``SLURM_CONF`` selects it, and every process that was started, or that a job of it
started, is found by that variable and ended with it.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.slurm import accounting

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
PACKAGES = ("slurm-wlm", "munge")
_ACCOUNTING = dict.fromkeys(accounting.COMMANDS, accounting.PACKAGES)
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])

CONFIGURATION = """
ClusterName=toys
SlurmctldHost=localhost
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,sched_min_interval=100000,bf_interval=2,batch_sched_delay=0
SlurmdTimeout=5
SlurmctldTimeout=10
MessageTimeout=5
KillWait=2
MinJobAge=60
JobRequeue={requeue}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
MailProg=/bin/true
NodeName=n[1-{nodes}] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{first_port}-{last_port}] CPUs=2 RealMemory=64000
PartitionName=toys Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=1 GraceTime={grace}
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=10 PreemptMode=OFF
"""


NO_ACCOUNTING = """
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
"""
PREEMPTION_SIGNAL = """
SlurmctldParameters=preempt_send_user_signal
"""
GRACE_SECONDS = 20


class Unavailable(Exception):
    """Slurm cannot run here; the message says why."""


class Cluster:
    """Daemons in the foreground, children of the tests; ``environment`` is what commands need to talk to them.

    ``accounting``: with slurmdbd and a database, so that ``sacct`` answers and accounts and QOS are enforced.
    ``requeue`` is whether the cluster puts jobs into the queue again. ``preempt_signal``: jobs that are preempted get
    their warning, and twenty seconds. ``extra`` are more lines of ``slurm.conf``.
    """

    def __init__(
        self,
        nodes: int = 4,
        *,
        accounting: bool = False,
        requeue: bool = True,
        preempt_signal: bool = False,
        extra: str = "",
    ) -> None:
        self.has_accounting = accounting
        self._requeue = requeue
        self._preempt_signal = preempt_signal
        self._extra = extra
        needed = {**dict.fromkeys(COMMANDS, PACKAGES), **(_ACCOUNTING if accounting else {})}
        for command, packages in needed.items():
            if shutil.which(command, path=SEARCH) is None:
                raise Unavailable(f"{command} is not installed (packages {', '.join(packages)})")
        # Not pytest's folder: the sockets' paths have to be short.
        self.root = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.names = [f"n{number}" for number in range(1, nodes + 1)]
        self.environment = {"SLURM_CONF": str(self.root / "slurm.conf"), "PATH": SEARCH}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._before = {name: os.environ.get(name) for name in self.environment}

    def start(self) -> None:
        """Starts everything and waits until all nodes are idle."""
        self.root.chmod(0o755)
        for folder in ("state", *(f"spool-{name}" for name in self.names)):
            (self.root / folder).mkdir()
        ports = _free_ports(len(self.names) + 2)
        configuration = CONFIGURATION.format(
            root=self.root,
            user=getpass.getuser(),
            controller_port=ports[0],
            first_port=ports[2],
            last_port=ports[-1],
            nodes=len(self.names),
            requeue=int(self._requeue),
            grace=GRACE_SECONDS if self._preempt_signal else 0,
        )
        configuration += (
            accounting.CONFIGURATION.format(root=self.root, port=ports[1]) if self.has_accounting else NO_ACCOUNTING
        )
        configuration += PREEMPTION_SIGNAL if self._preempt_signal else ""
        (self.root / "slurm.conf").write_text(configuration + self._extra)
        (self.root / "munge.key").write_bytes(os.urandom(1024))
        (self.root / "munge.key").chmod(0o600)
        self.select()
        self._munge()
        if self.has_accounting:
            self._start_accounting(ports[1])
        self.start_controller()
        for name in self.names:
            self.start_node(name)
        self.wait(lambda: self.node_states() == dict.fromkeys(self.names, "idle"), 30, "idle nodes")

    def select(self) -> None:
        """Makes this the cluster that commands of this process talk to."""
        os.environ.update(self.environment)

    def start_controller(self) -> None:
        """Starts the controller, from the state that an earlier one left."""
        self._start("slurmctld", "slurmctld", "-D", "-i")
        self.wait(lambda: self.command("scontrol", "ping", check=False).returncode == 0, 30, "the controller")

    def wait_until_saved(self) -> None:
        """Until the controller has written its jobs down once more: what it took since is lost when it is killed."""
        file = self.root / "state" / "job_state"
        before = file.stat().st_mtime_ns if file.exists() else 0
        self.wait(lambda: file.exists() and file.stat().st_mtime_ns > before, 30, "the state of the jobs on disk")

    def start_database_daemon(self) -> None:
        """Starts slurmdbd, on the database that an earlier one left."""
        # No setting names the socket.
        self._start("slurmdbd", "slurmdbd", "-D", variables={"MYSQL_UNIX_PORT": str(accounting.socket(self.root))})
        ping = ("sacctmgr", "--noheader", "show", "stats")
        self.wait(lambda: self.command(*ping, check=False).returncode == 0, 60, "slurmdbd")

    def start_node(self, name: str) -> None:
        """Starts the daemon of a node."""
        self._start(name, "slurmd", "-D", "-N", name)

    def is_running(self, daemon: str) -> bool:
        """Whether ``slurmctld`` or a node's daemon has been started and not been killed here."""
        return daemon in self._daemons

    def kill(self, daemon: str) -> None:
        """``kill -9`` of ``slurmctld`` or of a node's daemon, by the node's name."""
        process = self._daemons.pop(daemon)
        process.kill()
        process.wait()

    def kill_node(self, name: str) -> None:
        """The end of a machine: its daemon and everything that runs on it, at once."""
        self.kill(name)
        for pid in self.processes({"SLURMD_NODENAME": name}):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self, variables: dict[str, str]) -> list[int]:
        """Processes of this cluster that have all these environment variables."""
        wanted = {
            f"{name}={value}".encode() for name, value in (self.environment | variables).items() if name != "PATH"
        }
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if wanted <= set((entry / "environ").read_bytes().split(b"\0")):
                        found.append(int(entry.name))
        return found

    def node_states(self) -> dict[str, str]:
        """State of each node, as ``sinfo`` words it."""
        answer = self.command("sinfo", "--noheader", "--Node", "--format=%N %T", check=False)
        return dict(line.split()[:2] for line in answer.stdout.splitlines() if line.strip())

    def command(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs one of Slurm's commands."""
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=check)

    def wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Waits for a condition; after ``seconds`` it raises, with the ends of the daemons' logs."""
        end = time.monotonic() + seconds
        while not condition():
            dead = [name for name, process in self._daemons.items() if process.poll() is not None]
            if dead or time.monotonic() > end:
                logs = {path.name: path.read_text(errors="replace")[-1500:] for path in self.root.glob("*.log")}
                text = "\n".join(f"--- {name}\n{log}" for name, log in sorted(logs.items()))
                raise Unavailable(f"no {what} within {seconds} s; ended: {dead or 'nothing'}\n{text}")
            time.sleep(0.1)

    def idle(self) -> None:
        """Empties the queue, brings back what a test killed and waits until all nodes are idle."""
        if "slurmctld" not in self._daemons:
            self.start_controller()
        self.command("scancel", f"--user={getpass.getuser()}", check=False)
        for name in self.names:
            if name not in self._daemons:
                self.start_node(name)
        self.wait(lambda: not self.command("squeue", "--noheader").stdout.strip(), 40, "empty queue")
        for name, state in self.node_states().items():
            if state.startswith(("down", "drain")):
                self.command("scontrol", "update", f"NodeName={name}", "State=RESUME", check=False)
        self.wait(lambda: self.node_states() == dict.fromkeys(self.names, "idle"), 40, "idle nodes")

    def stop(self) -> None:
        """Ends every process of the cluster and removes its folder."""
        for process in self._daemons.values():
            process.kill()
        for process in self._daemons.values():
            process.wait()
        for pid in self.processes({}):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(self.root, ignore_errors=True)

    def _munge(self) -> None:
        files = {
            "--socket": "munge.socket",
            "--key-file": "munge.key",
            "--pid-file": "munge.pid",
            "--log-file": "munge.log",
            "--seed-file": "munge.seed",
        }
        options = [f"{option}={self.root / name}" for option, name in files.items()]
        self._start("munged", "munged", "--foreground", "--force", *options)
        self.wait((self.root / "munge.socket").exists, 10, "munge socket")

    def _start_accounting(self, port: int) -> None:
        try:
            server = accounting.create_database(self.root)
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"MariaDB does not start here: {error}") from error
        self._start("mariadbd", *server)
        self.wait(accounting.socket(self.root).exists, 30, "the database")
        accounting.write_configuration(self.root, port)
        self.start_database_daemon()
        for command in accounting.introductions("toys"):
            self.command(*command, check=False)  # some say with an error that nothing had to be changed

    def _start(self, name: str, *command: str, variables: Mapping[str, str] | None = None) -> None:
        # Should the tests be killed, the daemons die with them. (The signal comes when the starting thread ends.)
        setpriv = shutil.which("setpriv") if threading.current_thread() is threading.main_thread() else None
        guard = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        with open(self.root / f"{name}.out.log", "ab") as output:
            self._daemons[name] = subprocess.Popen(
                [*guard, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **(variables or {})},
            )


def install() -> None:
    """Installs Slurm where that is possible without asking: as root, on Debian and its kin."""
    commands = (*COMMANDS, *accounting.COMMANDS)
    missing = [command for command in commands if shutil.which(command, path=SEARCH) is None]
    if not missing or os.getuid() != 0 or shutil.which("apt-get") is None:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update"],
        ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES, *accounting.PACKAGES],
    ):
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, env=environment, capture_output=True, timeout=180, check=False)


def _free_ports(count: int) -> list[int]:
    """Free ports, all but the first one in a row, as the configuration of the nodes needs them."""
    # Far apart for processes that were started one after the other, and look at the same time.
    for first in range(20000 + os.getpid() * 97 % 20000, 60000, count):
        ports = list(range(first, first + count))
        with contextlib.ExitStack() as stack:
            try:
                for port in ports:
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return ports
    raise Unavailable("no free ports")
