"""This machine, and what other programs do with our models."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.application import EPILOG, app
from harness.cli.options import RESULTS, Debug, Json, Overrides, Results


@app.command(epilog=EPILOG, short_help="Check this machine: versions, disk, Slurm, a training.")
def doctor(
    overrides: Overrides = None,
    train: Annotated[str, typer.Option(metavar="RECIPE", help="Rehearse a training of this recipe.")] = "",
    scale: Annotated[str, typer.Option(metavar="NAME", help="With --train: the sizes to run it at.")] = "smoke",
    cluster: Annotated[str, typer.Option(metavar="NAME", help="Check a cluster: slurm, or your profile.")] = "",
    probe_seconds: Annotated[
        float, typer.Option(min=0, help="With --cluster: how long to wait for a small job; 0: submit none.")
    ] = 60.0,
    results: Results = RESULTS,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Check this machine: what is there, what is missing, and what it is needed for.

    With --train: twenty steps of a recipe on generated data with this machine's device and kernels. Are packed
    documents read as they are alone, does an interrupted training go on where it was, how much memory, how fast?

    \b
    harness doctor --train idefics2 --scale lab
    harness doctor --train flamingo --scale lab runtime.gradient_checkpointing=true

    With --cluster: Slurm's settings and what they mean for a sweep, and a small job that looks at --results from a
    node. The exit code is 1 when sweeps would not work there.

    \b
    harness doctor --cluster slurm --results /shared/results
    """
    if train and cluster:
        raise typer.BadParameter("--train rehearses here, --cluster looks at a cluster: one at a time")
    if train:
        from harness.cli import rehearsal

        return rehearsal.rehearse(train, scale, overrides or [], json)
    if overrides or scale != "smoke":
        raise typer.BadParameter("overrides and --scale go with --train RECIPE")
    if cluster:
        from harness.cli import clusters

        return clusters.examine(cluster, results, probe_seconds, json)
    from harness.cli import doctor as examination

    return examination.examine(results, json)


@app.command(
    "lm-eval",
    short_help="Hand our models and tasks to lm-eval's command line.",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def lm_eval(context: typer.Context) -> int:
    """Everything after the name goes to lm-eval's own command line, which then knows our models and tasks."""
    from harness.evaluate.lm_eval_bridge import main as hand_over

    return hand_over(context.args)
