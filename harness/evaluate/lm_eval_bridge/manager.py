"""lm-eval's task manager, knowing our tasks besides its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lm_eval.tasks import TaskManager
from lm_eval.tasks.manager import TaskDict

from harness.evaluate.lm_eval_bridge.source import PREFIX
from harness.evaluate.lm_eval_bridge.task import HarnessTask
from harness.evaluate.tasks import TASKS

OURS = tuple(f"{PREFIX}{name}" for name in TASKS)


class HarnessTaskManager(TaskManager):
    """Builds our tasks from the model's arguments, which lm-eval passes as ``metadata``."""

    @property
    def all_tasks(self) -> list[str]:
        """Names of all tasks, ours included."""
        return sorted([*super().all_tasks, *OURS])

    def load(self, task_list: Any) -> TaskDict:
        """Task objects by name; ours are built here."""
        names: Sequence[Any] = task_list if isinstance(task_list, list) else [task_list]
        return super().load([self._ours(name) if name in OURS else name for name in names])

    def _ours(self, name: str) -> HarnessTask:
        return HarnessTask(name.removeprefix(PREFIX), self.metadata or {})
