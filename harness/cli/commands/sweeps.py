"""Running a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.application import EPILOG, app
from harness.cli.options import (
    RESULTS,
    Cluster,
    Debug,
    File,
    FilesAndOverrides,
    Json,
    Overrides,
    Processes,
    Results,
    folder,
    split,
)


@app.command("run", epilog=EPILOG, short_help="Run a sweep and print its table; goes on where it was.")
def run_command(
    file: File,
    overrides: Overrides = None,
    cluster: Cluster = "",
    wait: Annotated[bool, typer.Option("--wait", help="With --cluster: follow the jobs to the end.")] = False,
    processes: Processes = 0,
    repair: Annotated[bool, typer.Option("--repair", help="Check all stages; compute damaged ones again.")] = False,
    only: Annotated[
        str, typer.Option(metavar="ID", help="Only this stage (its id, how that begins, or its name), in this process.")
    ] = "",
    results: Results = RESULTS,
    debug: Debug = False,
) -> int:
    """Run a sweep: train and evaluate what is not done yet, then print the table.

    Interrupted or killed at any moment, the same command goes on where it was. With --only, one stage is computed here
    in the foreground, with what it needs, also of a sweep that is on a cluster: to look into it with --debug or a
    debugger.

    \b
    harness run ablations/token_pooling.yaml seeds=[0,1,2]
    harness run ablations/token_pooling.yaml --cluster slurm --wait
    harness run ablations/token_pooling.yaml --only 5e17cd43 --debug
    """
    if only:
        if cluster or wait or processes or repair:
            raise typer.BadParameter("--only computes one stage here: it goes with none of the other options")
        from harness.cli import single

        return single.run(file, overrides or [], results, only, debug)
    from harness.cli import running

    options = running.Options(cluster=cluster, wait=wait, processes=processes, repair=repair)
    return running.run(file, overrides or [], results, options)


@app.command(epilog=EPILOG, short_help="Show what would run, why, and at what cost.")
def plan(
    file: File,
    overrides: Overrides = None,
    cluster: Cluster = "",
    results: Results = RESULTS,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Show what a run would do: every variant and stage, reused or new and why, and the cost. Computes nothing.

    \b
    harness plan ablations/token_pooling.yaml
    harness plan ablations/token_pooling.yaml seeds=[0,1,2] --json
    harness plan ablations/token_pooling.yaml --cluster slurm        and the jobs that it would submit
    """
    from harness.cli import planning

    return planning.show(file, overrides or [], results, json, cluster)


@app.command(epilog=EPILOG, short_help="Check that every variant of sweep files trains and evaluates as it should.")
def check(
    files: FilesAndOverrides,
    scale: Annotated[str, typer.Option(metavar="NAME", help="The scale of the check.")] = "smoke",
    processes: Processes = 0,
    results: Annotated[
        Path | None, typer.Option("--results", metavar="DIR", help="Keep what is computed there.", parser=folder)
    ] = None,
    debug: Debug = False,
) -> int:
    """Train every variant for a few steps, evaluate it on a few samples, and check what has to hold for any design.

    The loss moves, what is declared trainable is what changes, models load as they were saved, documents are read
    packed, cached and alone alike.

    \b
    harness check ablations/*.yaml
    """
    from harness.cli import checking

    return checking.check(*split(files), scale, processes, results)
