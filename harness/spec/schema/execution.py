"""How the work is carried out on a machine or a cluster. Nothing here can change a result."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.spec.schema.base import Count, Positive, PositiveNumber, Section, Text


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


class ClusterConfig(Section):
    """What a Slurm job asks for; ``setup`` are shell lines run before it.

    ``cpus`` and ``memory_gb`` are those of each process of a job (``runtime.ranks``), ``gpus`` those of a node.

    ``requeue: false`` where Slurm must not put a job into the queue again: what was interrupted is submitted anew.
    """

    partition: Text | None = None
    account: Text | None = None
    qos: Text | None = None
    time_minutes: Positive = 60
    memory_gb: PositiveNumber = 4.0
    cpus: Positive = 1
    gpus: Count = 0
    setup: Annotated[tuple[str, ...], Field(strict=False)] = ()
    requeue: bool = True
