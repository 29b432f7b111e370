"""Data and pretrained models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.application import EPILOG, data, models
from harness.cli.options import RESULTS, Debug, FilesAndOverrides, Processes, Results, split


@data.command("microworld", epilog=EPILOG, short_help="Write the embedded world in the official formats.")
def microworld(
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder.", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]…", help="seed, train_scenes, test_scenes, …")
    ] = None,
    processes: Processes = 0,
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

    return preparing.prepare(*split(files), results)


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


@models.command("fetch", epilog=EPILOG, short_help="Bring the hub's models that sweeps name into the cache.")
def models_fetch(files: FilesAndOverrides, debug: Debug = False) -> int:
    """Fetch every model of the hub that sweeps name, where there is a network: plans and jobs then need none.

    \b
    harness models fetch ablations/*.yaml scale=lab
    """
    from harness.cli import preparing

    return preparing.fetch(*split(files))
