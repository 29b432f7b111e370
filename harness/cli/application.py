"""The command line as a whole: one application with two groups; the modules of ``commands`` fill it."""

from __future__ import annotations

from typing import Any

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
app.add_typer(data, name="data")
app.add_typer(models, name="models")
