"""How the work is carried out on a machine or a cluster. Nothing here can change a result."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from harness.spec.schema.base import Count, Positive, PositiveNumber, Section, Text

Kind = Literal["features", "experts", "train", "evaluate"]
"""The kinds of stages."""


class RuntimeConfig(Section):
    """Local execution.

    ``processes: 0`` is one a core; ``threads`` a process are recorded with the results, because equality to the last
    bit is promised for equal thread counts only; ``feature_cache`` keeps the features of frozen encoders within
    ``feature_cache_gb`` gigabytes. ``gradient_checkpointing`` runs layers again in the backward pass instead of keeping
    what they computed: less memory, a third more time, the same gradients to the bit. ``attention``: the kernel of the
    language model's attention in training, ``sdpa`` anywhere, ``flash`` on NVIDIA GPUs in bfloat16, ``auto`` the second
    where it can run; the results say which did (``harness.models.kernels``). ``checkpoint_seconds``: how often training
    saves what it would resume from, and so how much work an interruption costs at most.

    ``ranks``: processes that train or evaluate one stage together, on GPUs one a GPU. The batch is split over them, so
    results are those of one process up to the rounding of sums. ``sharding``: in training each has the whole model
    (``replicate``, as DDP) or its share of every parameter (``shard``, FSDP2).
    """

    feature_cache: Literal["auto", "on", "off"] = "auto"
    feature_cache_gb: PositiveNumber = 20.0
    processes: Count = 0
    threads: Positive = 1
    gradient_checkpointing: bool = False
    attention: Literal["auto", "sdpa", "flash"] = "auto"
    checkpoint_seconds: PositiveNumber = 20.0
    ranks: Positive = 1
    sharding: Literal["replicate", "shard"] = "replicate"


Words = Annotated[tuple[Text, ...], Field(strict=False)]


def _slurm_name(text: str) -> str:
    # A line break would go on in the job's script as a command; what contains a slash is a file to Slurm.
    if not re.fullmatch(r"[A-Za-z0-9_.,:@+\[\]-]+", text):
        raise PydanticCustomError(
            "slurm_name", "expected a name that Slurm knows: letters, digits and any of _.,:@+-[]"
        )
    return text


SlurmName = Annotated[Text, AfterValidator(_slurm_name)]
"""A name of the cluster's, or several in Slurm's notation (``node[01-04],node17``)."""


class JobConfig(Section):
    """What the jobs of one kind of stage ask for, where that differs from ``cluster`` itself.

    ``sbatch`` is added to what stands there.
    """

    partition: SlurmName | None = None
    account: SlurmName | None = None
    qos: SlurmName | None = None
    time_minutes: Positive | None = None
    memory_gb: PositiveNumber | None = None
    cpus: Positive | None = None
    gpus: Count | None = None
    gpu_type: SlurmName | None = None
    sbatch: Mapping[str, Any] = {}


class ClusterConfig(Section):
    """What a Slurm job asks for, and how it is started.

    ``time_minutes`` is the most: jobs whose like is on record ask for what it took and room (``launch.slurm.wishes``).
    ``sbatch`` are further options by their long names (``constraint: a100``), ``exclude`` nodes to stay away from,
    ``stages`` what differs for a kind of stage. ``requeue: false`` where Slurm must not put a job into the queue again:
    what was interrupted is submitted anew. ``snapshot``: jobs run the code as it was when they were submitted.

    ``setup`` are shell lines run before the stage, ``python`` the command that is Python in a job (``[apptainer, exec,
    --nv, vlm.sif, python]``), ``srun`` further words for ``srun``, ``scratch`` a folder of the node's own, to which
    data and weights are copied before they are read; environment variables in it are the job's.

    ``cpus`` and ``memory_gb`` are those of each process of a job (``runtime.ranks``), ``gpus`` those of a
    node, of the ``gpu_type`` that the cluster names (``a100``).
    """

    partition: SlurmName | None = None
    account: SlurmName | None = None
    qos: SlurmName | None = None
    time_minutes: Positive = 60
    memory_gb: PositiveNumber = 4.0
    cpus: Positive = 1
    gpus: Count = 0
    gpu_type: SlurmName | None = None
    exclude: Annotated[tuple[SlurmName, ...], Field(strict=False)] = ()
    sbatch: Mapping[str, Any] = {}
    stages: Mapping[Kind, JobConfig] = {}
    requeue: bool = True
    snapshot: bool = True
    setup: Words = ()
    python: Words = ()
    srun: Words = ()
    scratch: Text | None = None

    def of(self, kind: str) -> ClusterConfig:
        """What the jobs of a kind of stage ask for."""
        own = self.stages.get(kind)  # type: ignore[call-overload]
        if own is None:
            return self
        differing = {name: value for name in JobConfig.model_fields if (value := getattr(own, name)) is not None}
        return self.model_copy(update={**differing, "sbatch": {**self.sbatch, **own.sbatch}, "stages": {}})


RUNS_SHELL = ("setup", "python", "srun", "sbatch", "scratch")
"""Keys of ``cluster`` that name commands, or folders that are written to: a sweep file, which may come from a stranger,
cannot set them. They belong into a cluster's profile, or on the command line.
"""

OF_A_STAGE = ("gradient_checkpointing", "attention", "checkpoint_seconds", "ranks", "sharding")
"""Keys of ``runtime`` that each training is told; the others are a whole sweep's."""
