"""A Slurm to try things on, in the foreground until Ctrl-C: ``python -m tests.slurm.cluster --nodes 4 --accounting``.

Prints what another terminal has to export, so that ``harness run … --cluster slurm`` there uses it.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys

from tests.slurm.slurm_cluster import Cluster, Unavailable, install


def main() -> int:
    """Starts it, waits, and takes everything down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd and MariaDB: sacct, accounts, QOS")
    parser.add_argument("--no-requeue", action="store_true", help="JobRequeue=0")
    parser.add_argument("--preempt-signal", action="store_true", help="preempt_send_user_signal and a grace time")
    options = parser.parse_args()
    # A terminal that is closed, and kill, end it as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    install()
    try:
        cluster = Cluster(
            options.nodes,
            accounting=options.accounting,
            requeue=not options.no_requeue,
            preempt_signal=options.preempt_signal,
        )
    except Unavailable as reason:
        print(reason, file=sys.stderr)
        return 1
    try:
        cluster.start()
        print(f"export SLURM_CONF={shlex.quote(cluster.environment['SLURM_CONF'])}")
        print(f"# {options.nodes} nodes; partitions toys and urgent, which preempts it. Ctrl-C ends it.", flush=True)
        signal.pause()
    except Unavailable as reason:
        print(reason, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        cluster.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
