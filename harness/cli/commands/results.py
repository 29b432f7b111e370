"""What came out of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.application import EPILOG, app
from harness.cli.options import RESULTS, Debug, Json, Overrides, Results, Source


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
