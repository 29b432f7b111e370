"""Handing over to lm-eval's command line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import lm_eval.tasks
from lm_eval.__main__ import cli_evaluate

from harness.errors import HarnessError
from harness.evaluate.lm_eval_bridge import model  # noqa: F401  registers the model
from harness.evaluate.lm_eval_bridge.manager import HarnessTaskManager
from harness.evaluate.lm_eval_bridge.source import PREFIX


def run(argv: Sequence[str]) -> int:
    """lm-eval with our model and tasks; its exit code."""
    with _arguments(quote_stages(argv)), _our_tasks(only=_asks_only_for_ours(argv)):
        try:
            cli_evaluate()
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else int(error.code is not None)
        except (ValueError, KeyError, FileNotFoundError, NotImplementedError) as error:
            # lm-eval's own way to refuse arguments; the cause is kept for those who look for it.
            raise HarnessError(f"lm-eval: {error}", remedy="see: harness lm-eval run --help") from error
    return 0


def quote_stages(argv: Sequence[str]) -> list[str]:
    """``--model_args stage=…`` as JSON, which lm-eval takes as it is.

    Otherwise it would cut the names of stages (``vqav2-seed0-tokens=36,pooling=average-…``) at their commas, and take
    an id that looks like a number for one.
    """
    words = list(argv)
    for place, word in enumerate(words):
        flag, _, value = word.partition("=")
        if flag not in ("--model_args", "-a"):
            continue
        end = place + 1
        while not value and end < len(words) and not words[end].startswith("-"):
            end += 1
        given = [value] if value else words[place + 1 : end]
        if not any(each.startswith("stage=") for each in given):
            return words
        quoted: dict[str, str] = {}
        for each in given:
            match = re.fullmatch(r"(?s)(stage)=(.*?)(?:,results=(.*))?|(?s:(\w+)=(.*))", each)
            if match is None:
                return words
            stage, stages, results, key, other = match.groups()
            quoted |= {stage: stages} if stage else {key: other}
            quoted |= {"results": results} if results else {}
        return [*words[:place], flag, json.dumps(quoted), *words[end:]]
    return words


@contextmanager
def _arguments(argv: Sequence[str]) -> Iterator[None]:
    """lm-eval reads ``sys.argv``."""
    before, sys.argv = sys.argv, ["lm-eval", *argv]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _our_tasks(only: bool) -> Iterator[None]:
    """lm-eval has no path for plugins: its command line takes the task manager from its package when it starts.

    ``only``: leave its 14,000 task files unread, which takes seconds.
    """
    before = lm_eval.tasks.TaskManager
    manager = partial(HarnessTaskManager, include_defaults=False) if only else HarnessTaskManager
    lm_eval.tasks.TaskManager = manager
    try:
        yield
    finally:
        lm_eval.tasks.TaskManager = before


def _asks_only_for_ours(argv: Sequence[str]) -> bool:
    """Whether ``--tasks`` names our tasks and no others."""
    names: list[str] = []
    reading = False
    for word in argv:
        if word.startswith("-"):
            flag, _, value = word.partition("=")
            reading = flag in ("--tasks", "-t")
            names += value.split(",") if reading and value else []
        elif reading:
            names += word.split(",")
    return bool(names) and all(name.startswith(PREFIX) for name in names if name)
