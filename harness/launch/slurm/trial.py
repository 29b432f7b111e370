"""Would Slurm take a stage's job: asked with the very options of one, and nothing is submitted."""

from __future__ import annotations

from typing import Any

from harness.launch.slurm import queue
from harness.launch.slurm.resources import Resources
from harness.launch.slurm.sbatch import asked_for, refusal


def try_out(wish: Resources) -> None:
    """Asks with ``sbatch --test-only`` for a job of one core, unless ``wish`` says how many.

    Raises ``HarnessError`` with Slurm's words when it refuses; ``QueueFull`` and ``QueueUnreachable`` when it would
    not take such a job now, or did not answer.
    """
    import submitit

    transport: Any = submitit.SlurmExecutor(folder=".")  # where logs would go; nothing is written
    transport.update_parameters(**asked_for(wish, 1))
    script = transport._make_submission_file_text("true", "trial")  # what submitit itself would submit
    try:
        queue.ask("sbatch", "--test-only", text=script)
    except queue.QueueUnreachable as error:
        raise refusal(error.answer) from error
