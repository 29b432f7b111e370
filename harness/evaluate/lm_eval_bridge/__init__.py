"""lm-eval's command line for our models and tasks.

``main`` hands over to lm-eval's own ``main`` after it has registered

* the model ``harness``: a trained VLM of this package, for our tasks and for any other of lm-eval's;
* the tasks ``harness_vqav2``, ``harness_textvqa``, … : ours, with demonstrations chosen by our own functions (lm-eval's
  own few-shot passes one image for five marks).

Both are told by ``--model_args`` what to evaluate, see ``source.Source``. Nothing here imports lm-eval before it is
used.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Run lm-eval's command line with ``argv`` (without the program's name); returns its exit code.

    Raises HarnessError for arguments that make no sense.
    """
    from harness.evaluate.lm_eval_bridge.command import run

    return run(argv)


__all__ = ["main"]
