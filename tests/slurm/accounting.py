"""Accounting for a cluster of the kit: slurmdbd and a MariaDB of its own, without which ``sacct`` cannot work.

The database listens on a socket in the cluster's folder only, and nobody but the folder's owner can reach it.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = ("slurmdbd", "mariadb-server-core", "mariadb-client-core")
COMMANDS = ("slurmdbd", "sacct", "sacctmgr", "mariadbd", "mariadb-install-db")
ACCOUNT, QOS, LIMITED = "lab", "normal", "scarce"
LIMITED_JOBS = 6

# Jobs need an account and a QOS that exist, and their limits hold. The password is, with munge, the path of its socket.
CONFIGURATION = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={port}
AccountingStoragePass={root}/munge.socket
AccountingStorageEnforce=associations,limits,qos
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
"""

DATABASE_DAEMON = """
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
DbdHost=localhost
DbdPort={port}
SlurmUser={user}
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={user}
StorageLoc=slurm_acct_db
LogFile={root}/slurmdbd.log
PidFile={root}/slurmdbd.pid
"""

# Names instead of paths: no defaults of this machine, small files, and no wait for a disk that nobody needs.
_DATABASE = (
    "--no-defaults",
    "--innodb-log-file-size=4M",
    "--innodb-buffer-pool-size=32M",
    "--innodb-flush-log-at-trx-commit=0",
    "--skip-name-resolve",
)


def create_database(root: Path) -> list[str]:
    """Creates the data folder and returns the command of the server."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    installer, server = (shutil.which(name, path=path) for name in ("mariadb-install-db", "mariadbd"))
    data, user = root / "database", getpass.getuser()
    options = [*_DATABASE, f"--user={user}", f"--datadir={data}"]
    create = [str(installer), *options, "--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(create, capture_output=True, timeout=120, check=True)
    return [str(server), *options, f"--socket={socket(root)}", "--skip-networking", "--skip-grant-tables"]


def socket(root: Path) -> Path:
    """The database's."""
    return root / "database.socket"


def write_configuration(root: Path, port: int) -> None:
    """Writes ``slurmdbd.conf``, which Slurm looks for beside ``slurm.conf`` and wants to be private."""
    path = root / "slurmdbd.conf"
    path.write_text(DATABASE_DAEMON.format(root=root, port=port, user=getpass.getuser()))
    path.chmod(0o600)


def introductions(cluster: str) -> list[list[str]]:
    """Commands that make the cluster known, with one account, and a QOS that takes few jobs."""
    user = getpass.getuser()
    manage = ["sacctmgr", "--immediate"]
    return [
        [*manage, "add", "cluster", cluster],
        [*manage, "add", "account", ACCOUNT, f"cluster={cluster}", "description=tests", "organization=tests"],
        [*manage, "add", "qos", LIMITED, f"MaxSubmitJobsPerUser={LIMITED_JOBS}"],
        [*manage, "add", "user", user, f"account={ACCOUNT}", f"defaultaccount={ACCOUNT}", f"qos={QOS},{LIMITED}"],
        [*manage, "modify", "user", user, "set", f"defaultaccount={ACCOUNT}", f"qos={QOS},{LIMITED}"],
    ]
