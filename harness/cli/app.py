"""The commands and their options. Each body imports what it needs, so that ``harness --help`` is there at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

EPILOG = "Exit codes: 0 complete, 1 error, 2 bad spec or usage, 3 incomplete."


class Interrupted(BaseException):
    """Ctrl-C on its way through typer, some versions of which end without a word."""


class InOrder(TyperGroup):
    """Commands in the order in which they are needed."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted from error

    def list_commands(self, ctx: Any) -> list[str]:
        """The order of definition."""
        return list(self.commands)


app = typer.Typer(
    cls=InOrder,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
    help="""Ablations of vision-language models: one YAML file in, a trustworthy table out.

    \b
    harness run ablations/token_pooling.yaml                   train, evaluate, print the table
    harness run ablations/token_pooling.yaml seeds=[0,1,2]     any key can be overridden
    harness plan ablations/token_pooling.yaml                  what would run, why, and at what cost
    """,
)
data = typer.Typer(
    cls=InOrder,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Write the embedded microworld, or index your own data.",
)

models = typer.Typer(
    cls=InOrder,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Fetch the pretrained models that sweeps name.",
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A sweep file (YAML).", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]…", help="Overrides of any key.", show_default=False)
]
FilesAndOverrides = Annotated[
    list[str], typer.Argument(metavar="FILE… [KEY=VALUE]…", help="Sweep files and overrides.", show_default=False)
]
Source = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="A sweep that was run, or a sweep file.", show_default=False)
]


def _results(text: str | Path) -> Path:
    """An empty name, as an unset variable in a script gives it, would fill the current folder."""
    path = Path(text)
    if not str(text).strip():
        raise typer.BadParameter("the name of the folder is empty")
    if path.exists() and not path.is_dir():
        raise typer.BadParameter(f"{path} is not a folder")
    return path


def _split(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Sweep files and overrides, which come in any order."""
    overrides = [text for text in arguments if "=" in text and not Path(text).is_file()]
    files = [Path(text) for text in arguments if text not in overrides]
    if not files:
        raise typer.BadParameter("no sweep file is named, such as ablations/*.yaml")
    return files, overrides


Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where results are kept.", parser=_results)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A sweep that was run.", show_default=False)]
Where = Annotated[
    list[str] | None,
    typer.Option("-w", "--where", metavar="FACTOR=LEVEL", help="Only such runs; !FACTOR=LEVEL: all others."),
]
Cluster = Annotated[str, typer.Option("--cluster", metavar="NAME", help="On Slurm: `slurm`, or your own profile.")]
RESULTS = Path("results")


def run(arguments: Sequence[str]) -> int:
    """Runs the command that the arguments name and returns its exit code."""
    command = typer.main.get_command(app)
    try:
        result = command.main(list(arguments), prog_name="harness", standalone_mode=False)
    except Interrupted as interruption:
        raise KeyboardInterrupt from interruption
    return result if isinstance(result, int) else 0


@app.command("run", epilog=EPILOG, short_help="Run a sweep and print its table; goes on where it was.")
def run_command(
    file: File,
    overrides: Overrides = None,
    cluster: Cluster = "",
    wait: Annotated[bool, typer.Option("--wait", help="With --cluster: follow the jobs to the end.")] = False,
    processes: Annotated[int, typer.Option(metavar="N", help="Worker processes; 0 is one a core.", min=0)] = 0,
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
    processes: Annotated[int, typer.Option(metavar="N", help="Worker processes; 0 is one a core.", min=0)] = 0,
    results: Annotated[
        Path | None, typer.Option("--results", metavar="DIR", help="Keep what is computed there.", parser=_results)
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

    return checking.check(*_split(files), scale, processes, results)


@app.command(epilog=EPILOG, short_help="Print the table of a sweep.")
def table(
    source: Source,
    overrides: Overrides = None,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX (booktabs).")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to a file (.md, .tex, .csv, .json).")] = None,
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="IMPORTED", help="A row for a model that was imported; may be repeated."),
    ] = None,
    published: Annotated[
        list[str] | None,
        typer.Option(metavar="PAPER[:TABLE]", help="Rows as a paper prints them; may be repeated."),
    ] = None,
    averages: Annotated[bool, typer.Option("--averages", help="Show the other ways to average benchmarks.")] = False,
    bootstrap: Annotated[bool, typer.Option("--bootstrap", help="With --json: bootstrap intervals as well.")] = False,
    results: Results = RESULTS,
    debug: Debug = False,
) -> int:
    """Print the table of a sweep: scores with intervals, paired differences to the baseline, blind scores, costs.

    \b
    harness table token_pooling
    harness table token_pooling --out token_pooling.tex
    harness table token_pooling --published idefics2:T8 --with my_model
    """
    from harness.cli import tables

    given = {"json": json, "csv": csv, "markdown": markdown, "latex": latex}
    chosen = [name for name in tables.FORMATS if given[name]]
    wanted = tables.Wanted(with_ or (), published or (), averages, bootstrap)
    return tables.show(source, overrides or [], results, chosen, out, wanted)


@app.command(epilog=EPILOG, short_help="Compare two variants, stages or imported models.")
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A variant, stage, file or import.", show_default=False)],
    second: Annotated[str, typer.Argument(metavar="B", help="What is compared with it.", show_default=False)],
    overrides: Overrides = None,
    sweep: Annotated[str, typer.Option(metavar="NAME|FILE", help="The sweep whose variants A and B are.")] = "",
    results: Results = RESULTS,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Compare B with A on equal samples: differences with intervals and verdicts, and the samples that differ most.

    A and B are variants of a sweep (a name, a part of one that no other has, or baseline), ids or folders of evaluate
    stages, files of scores, or models that were imported.

    \b
    harness compare baseline pooling=average,tokens=36 --sweep token_pooling
    harness compare 3f2a9c0d11e8b476 my_model --json
    """
    from harness.cli import comparing

    return comparing.compare(first, second, sweep, overrides or [], results, json)


@app.command("import", epilog=EPILOG, short_help="Import lm-eval's sample logs of a model.")
def import_command(
    logs: Annotated[list[Path], typer.Argument(metavar="SAMPLES.jsonl…", help="One log a task.", show_default=False)],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What to call the model.", show_default=False)],
    results: Results = RESULTS,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Import a model that was evaluated elsewhere on our prompts, from the logs that lm-eval writes of our tasks.

    \b
    harness lm-eval run --model … --tasks harness_vqav2 --log_samples --output_path out
    harness import out/*/samples_harness_*.jsonl --name my_model
    harness table token_pooling --with my_model
    """
    from harness.cli import comparing

    return comparing.import_logs(logs, name, results, json)


@app.command("export", epilog=EPILOG, short_help="Copy a sweep's results, without weights, to a folder of their own.")
def export_command(
    source: Annotated[str, typer.Argument(metavar="NAME", help="A sweep that was run.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to; a results folder, new or not.")],
    results: Results = RESULTS,
    debug: Debug = False,
) -> int:
    """Copy what a sweep's tables, figures and claims are made from: a small results folder that can be given away.

    \b
    harness export token_pooling --out token_pooling_results
    harness table token_pooling --results token_pooling_results
    cp -r token_pooling_results/. results/            merges it into another results folder
    """
    from harness.cli import exporting

    return exporting.run(source, results, out)


@app.command(epilog=EPILOG, short_help="Compare with the literature: replicated, contradicted or undecided.")
def claims(
    source: Annotated[
        str, typer.Argument(metavar="[NAME|FILE]", help="A sweep; without one, a summary of all.", show_default=False)
    ] = "",
    overrides: Overrides = None,
    json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to a file (.md, .json).")] = None,
    results: Results = RESULTS,
    debug: Debug = False,
) -> int:
    """Compare with the literature: for each claim what the paper found, what we measured, and whether it replicates.

    \b
    harness claims token_pooling               one block a claim of this sweep
    harness claims                             all sweeps: how often do signs agree with the literature?
    """
    from harness.cli import claims as comparison

    chosen = [name for name, given in (("json", json), ("markdown", markdown)) if given]
    return comparison.show(source, overrides or [], results, chosen, out)


@app.command(epilog=EPILOG, short_help="Draw the figures of a sweep.")
def figures(
    source: Source,
    overrides: Overrides = None,
    only: Annotated[
        str,
        typer.Option(metavar="NAME,…", help="forest, tokens, fronts, convergence, score_curves, interactions, seeds."),
    ] = "",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write them.")] = None,
    results: Results = RESULTS,
    debug: Debug = False,
) -> int:
    """Draw the figures of a sweep as SVG and PNG, by default into figures/ beside its table.

    \b
    harness figures token_pooling
    harness figures token_pooling --only forest,fronts --out pictures
    """
    from harness.cli import drawing

    return drawing.draw(source, overrides or [], results, only, out)


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


@app.command(epilog=EPILOG, short_help="Render the overview notebook of a sweep.")
def notebook(
    source: Source,
    out: Annotated[Path | None, typer.Option(metavar="FILE.ipynb", help="Where to write it.")] = None,
    results: Results = RESULTS,
    debug: Debug = False,
) -> int:
    """Render the overview notebook of a sweep: table, figure, predictions with their images.

    \b
    harness notebook token_pooling --out overview.ipynb
    """
    from harness.cli import notebooks

    return notebooks.write(source, results, out)


app.add_typer(data, name="data")
app.add_typer(models, name="models")


@data.command("microworld", epilog=EPILOG, short_help="Write the embedded world in the official formats.")
def microworld(
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder.", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]…", help="seed, train_scenes, test_scenes, …")
    ] = None,
    processes: Annotated[int, typer.Option(metavar="N", help="Processes; 0 is one a core.", min=0)] = 0,
    debug: Debug = False,
) -> int:
    """Write the embedded microworld: VQAv2, TextVQA, OK-VQA and COCO files, images, training shards.

    \b
    harness data microworld --out world
    harness data microworld --out small train_scenes=500 seed=1
    """
    from harness.cli import datasets

    return datasets.write_microworld(out, overrides or [], processes)


@data.command("index", epilog=EPILOG, short_help="Index and check a data folder of your own.")
def index(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder laid out as in docs/data.md.")],
    debug: Debug = False,
) -> int:
    """Index a data folder: checksums of all files, once; then check that every annotation has its image.

    \b
    harness data index ~/data
    harness run ablations/token_pooling.yaml data.root=$HOME/data
    """
    from harness.cli import datasets

    return datasets.index(folder)


@data.command("prepare", epilog=EPILOG, short_help="Write, index and check the data of sweeps.")
def data_prepare(files: FilesAndOverrides, results: Results = RESULTS, debug: Debug = False) -> int:
    """Do with the data of sweeps what has to be done before jobs read them; `harness run` does it by itself.

    Embedded worlds are written into the cache, folders of your own are indexed once, annotations are read.

    \b
    harness data prepare ablations/*.yaml scale=lab data.root=$HOME/data
    """
    from harness.cli import preparing

    return preparing.prepare(*_split(files), results)


@models.command("fetch", epilog=EPILOG, short_help="Bring the hub's models that sweeps name into the cache.")
def models_fetch(files: FilesAndOverrides, debug: Debug = False) -> int:
    """Fetch every model of the hub that sweeps name, where there is a network: plans and jobs then need none.

    \b
    harness models fetch ablations/*.yaml scale=lab
    """
    from harness.cli import preparing

    return preparing.fetch(*_split(files))


@data.command("check", epilog=EPILOG, short_help="Look for leaks between training and test.")
def data_check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder laid out as in docs/data.md.")],
    pixels: Annotated[bool, typer.Option("--pixels", help="Compare decoded pictures, not files: slower.")] = False,
    debug: Debug = False,
) -> int:
    """Check that no picture of the test or the demonstrations is trained on, and no sign or fact that is held out.

    \b
    harness data check ~/data
    """
    from harness.cli import datasets

    return datasets.check(folder, pixels)


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
