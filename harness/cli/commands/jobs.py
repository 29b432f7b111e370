"""How a sweep stands, and its jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.application import EPILOG, app
from harness.cli.options import RESULTS, Debug, Json, Name, Overrides, Results, Source, Where


@app.command(epilog=EPILOG, short_help="Show how a sweep stands, here and in the queue.")
def status(
    source: Source,
    overrides: Overrides = None,
    where: Where = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it until it has ended.")] = False,
    results: Results = RESULTS,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Show how a sweep stands: every run, how far it is, how long it needs, where, and what went wrong. What is left is
    told without the time in a queue. Needs no accounting from Slurm.

    \b
    harness status ablations/token_pooling.yaml
    harness status token_pooling --watch -w tokens=36 -w '!seed=0'
    harness status token_pooling --json
    """
    from harness.cli import standing

    return standing.show(source, overrides or [], where or [], results, json, watch)


@app.command(epilog=EPILOG, short_help="Cancel the jobs of a sweep.")
def cancel(name: Name, where: Where = None, results: Results = RESULTS, debug: Debug = False) -> int:
    """Cancel the Slurm jobs of a sweep, or of some of its runs. What they wrote stays, to be resumed.

    \b
    harness cancel token_pooling
    harness cancel token_pooling -w tokens=4 -w '!seed=0'
    """
    from harness.cli import jobs

    return jobs.cancel(name, where or [], results)


@app.command(epilog=EPILOG, short_help="Submit anew what failed in a sweep.")
def retry(
    name: Name,
    where: Where = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed, not what got lost.")] = False,
    oom: Annotated[bool, typer.Option("--oom", help="Only what ran out of memory, with half as much again.")] = False,
    results: Results = RESULTS,
    debug: Debug = False,
) -> int:
    """Submit anew what failed or got lost in a sweep on a cluster, and what waits behind it. Elsewhere: `harness run`.

    \b
    harness retry token_pooling --oom
    """
    from harness.cli import jobs

    return jobs.retry(name, where or [], failed, oom, results)


@app.command(epilog=EPILOG, short_help="Print the log of a stage.")
def logs(
    stage: Annotated[str, typer.Argument(metavar="ID", help="A stage's id, or how it begins.", show_default=False)],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the stage is done.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", help="So many lines; 0 is the end.", min=0)] = 0,
    results: Results = RESULTS,
    debug: Debug = False,
) -> int:
    """Print the end of what a stage has written, or its job where the stage has not begun. `harness status --json`
    has the ids.

    \b
    harness logs 5e17cd43 -f
    """
    from harness.cli import jobs

    return jobs.logs(stage, follow, lines, results)


@app.command(epilog=EPILOG, short_help="Show what went wrong in a sweep, and what to do.")
def failures(
    name: Name, where: Where = None, results: Results = RESULTS, json: Json = False, debug: Debug = False
) -> int:
    """Show what went wrong in a sweep, grouped by the reason, with what to do about each.

    \b
    harness failures token_pooling
    """
    from harness.cli import failing

    return failing.show(name, where or [], results, json)


@app.command(epilog=EPILOG, short_help="List what a results folder no longer needs; remove it.")
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Remove what is listed.")] = False,
    unnamed: Annotated[bool, typer.Option("--unnamed", help="Also finished results that no sweep names.")] = False,
    results: Results = RESULTS,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """List what a results folder no longer needs, and with --delete remove it: checkpoints of finished stages, stages
    that were begun and that no sweep names, what killed processes left, job arrays that have ended, damaged stages.

    Nothing that somebody works on, and no finished result of a sweep. A sweep names what its last run wanted.

    \b
    harness gc
    harness gc --delete
    harness gc --unnamed                      results of earlier seeds and levels as well
    """
    from harness.cli import collecting

    return collecting.collect(results, delete, unnamed, json)
