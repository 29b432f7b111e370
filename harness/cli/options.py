"""Arguments and options that several commands have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer


def folder(text: str | Path) -> Path:
    """A folder for results; an empty name, as an unset variable in a script gives it, would fill the current one."""
    path = Path(text)
    if not str(text).strip():
        raise typer.BadParameter("the name of the folder is empty")
    if path.exists() and not path.is_dir():
        raise typer.BadParameter(f"{path} is not a folder")
    return path


def split(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Sweep files and overrides, which come in any order."""
    overrides = [text for text in arguments if "=" in text and not Path(text).is_file()]
    files = [Path(text) for text in arguments if text not in overrides]
    if not files:
        raise typer.BadParameter("no sweep file is named, such as ablations/*.yaml")
    return files, overrides


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
Name = Annotated[str, typer.Argument(metavar="NAME", help="A sweep that was run.", show_default=False)]
Where = Annotated[
    list[str] | None,
    typer.Option("-w", "--where", metavar="FACTOR=LEVEL", help="Only such runs; !FACTOR=LEVEL: all others."),
]
Cluster = Annotated[str, typer.Option("--cluster", metavar="NAME", help="On Slurm: `slurm`, or your own profile.")]
Processes = Annotated[int, typer.Option(metavar="N", help="Worker processes; 0 is one a core.", min=0)]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where results are kept.", parser=folder)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
RESULTS = Path("results")
