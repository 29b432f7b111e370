"""Profiles of clusters: what the section ``cluster`` is on one of them, in a file of the package or of the user."""

from __future__ import annotations

import os
from pathlib import Path as FilePath

from harness.errors import Problem, SpecError
from harness.spec.document import Document, load_file
from harness.spec.place import Mark
from harness.spec.references import sites
from harness.spec.report import Report, shown, suggestion

PACKAGED = FilePath(__file__).parent / "clusters"
SECTION = "cluster"


def user_folder() -> FilePath:
    """Where the user's own profiles lie: ``harness/clusters`` in ``XDG_CONFIG_HOME``, else in ``~/.config``."""
    shared = os.environ.get("XDG_CONFIG_HOME")
    return (FilePath(shared).expanduser() if shared else FilePath.home() / ".config") / "harness" / "clusters"


def available() -> dict[str, FilePath]:
    """Profiles by name; the user's own before the package's."""
    folders = (PACKAGED, user_folder())
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def load_profile(name: str) -> Document:
    """The profile of that name, or in the file of that path, as a layer of a composition.

    Raises :class:`SpecError` where there is none, and for what is no plain mapping.
    """
    path = FilePath(name).expanduser() if name.endswith((".yaml", ".yml")) or os.sep in name else available().get(name)
    if path is None:
        remedy = f"{suggestion(name, available(), 'profiles')}; your own lie in {user_folder()}"
        raise SpecError([Problem(f"there is no cluster {shown(name)}", "--cluster", remedy=remedy)])
    document = load_file(path)
    content = {key: value for key, value in document.value.items() if key != "description"}
    report = Report()
    for site, text in sites(content):
        # It holds commands, and a sweep file could fill them in.
        message = f"a profile refers to nothing, found {shown(text)}"
        report.add(message, document.marks[site].value, site, "write the value itself; $NAME is the job's environment")
    report.raise_if_any()
    marks = {(SECTION, *path): mark for path, mark in document.marks.items()}
    marks[SECTION,] = Mark(document.top, document.top, is_mapping=True)
    return Document({SECTION: content} if content else {}, marks, document.top)
