"""Profiles of clusters, resources of stages and levels, and who may say what a cluster runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import Problem, SpecError
from harness.spec import profiles
from harness.spec.cluster_checks import cluster_of_profile
from harness.spec.sweep import Sweep, load

TEXT = "name: t\nrecipe: idefics2\nscale: micro\n"
LEVELS = """factors:
  size:
    levels:
      small: {model.connector.num_tokens: 4}
      large: {model.connector.num_tokens: 36, cluster.memory_gb: 40.0, runtime.gradient_checkpointing: true}
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's profiles."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config" / "harness" / "clusters"
    folder.mkdir(parents=True)
    return folder


def test_a_profile_is_weaker_than_the_file_and_stronger_than_the_scale(own: Path, write: Callable[[str], str]) -> None:
    (own / "big.yaml").write_text("description: ours\npartition: gpu\nmemory_gb: 9.0\nsetup: [module load cuda]\n")
    sweep = load(write(TEXT + "cluster: {memory_gb: 11.0}\n"), ["cluster.qos=low"], "big")
    assert (sweep.cluster.partition, sweep.cluster.memory_gb, sweep.cluster.qos) == ("gpu", 11.0, "low")
    assert sweep.cluster.setup == ("module load cuda",)
    assert load("sweep.yaml").cluster.partition is None
    assert load("sweep.yaml").digest == sweep.digest


def test_a_profile_is_found_by_name_by_path_and_in_the_package(own: Path, write: Callable[[str], str]) -> None:
    Path("here.yaml").write_text("gpus: 2\n")
    write(TEXT)
    assert load("sweep.yaml", (), str(Path("here.yaml").absolute())).cluster.gpus == 2
    assert load("sweep.yaml", (), "here.yaml").cluster.gpus == 2
    assert load("sweep.yaml", (), "slurm").cluster == load("sweep.yaml").cluster
    (own / "slurm.yaml").write_text("gpus: 3\n")
    assert load("sweep.yaml", (), "slurm").cluster.gpus == 3


def test_every_packaged_profile_loads(write: Callable[[str], str]) -> None:
    write(TEXT)
    names = [path.stem for path in profiles.PACKAGED.glob("*.yaml")]
    assert "slurm" in names
    for name in names:
        load("sweep.yaml", (), name)


@pytest.mark.parametrize(
    ("content", "message", "line"),
    [
        ("gpu: 2\n", "unknown key", 1),
        ("partition: gpu\ngpus: two\n", "expected a whole number", 2),
        ("partition: ${name}\n", "a profile refers to nothing", 1),
        ("sbatch: {partition: gpu}\n", "has a key of its own", 1),
        ("sbatch: {gpus-per-task: 2}\n", "has a key of its own", 1),
        ("sbatch: {gres: 'gpu:a100:2'}\n", "GPUs have a key of their own", 1),
        ("sbatch: {gres: 'scratch:1,gpu'}\n", "GPUs have a key of their own", 1),
        ("sbatch: {tres-per-task: 'cpu=4,gres/gpu:1'}\n", "GPUs have a key of their own", 1),
        ("stages: {train: {sbatch: {gres: 'gpu:1'}}}\n", "GPUs have a key of their own", 1),
        ("sbatch: {array: 1-5}\n", "the harness sets the option array itself", 1),
        ('sbatch: {constraint: "a\\nb"}\n', "constraint", 1),
        ("stages: {trian: {gpus: 1}}\n", "trian", 1),
        ("- a\n", "expected a mapping", 1),
    ],
)
def test_mistakes_in_a_profile_are_told_with_its_place(
    own: Path, write: Callable[[str], str], content: str, message: str, line: int
) -> None:
    (own / "ours.yaml").write_text(content)
    write(TEXT)
    with pytest.raises(SpecError, match=message) as caught:
        load("sweep.yaml", (), "ours")
    assert {(Path(problem.file).name, problem.line) for problem in caught.value.problems} == {("ours.yaml", line)}
    assert all(problem.remedy for problem in caught.value.problems)
    with pytest.raises(SpecError) as alone:
        cluster_of_profile("ours")
    assert alone.value.problems == caught.value.problems


def test_a_profile_is_read_without_a_sweep(own: Path) -> None:
    (own / "ours.yaml").write_text("description: ours\ngpus: 2\nstages: {features: {gpus: 0}}\n")
    cluster = cluster_of_profile("ours")
    assert (cluster.gpus, cluster.of("train").gpus, cluster.of("features").gpus) == (2, 2, 0)


def test_an_unknown_profile_names_the_known_ones_and_mistakes_in_both_files_are_told(
    own: Path, write: Callable[[str], str]
) -> None:
    (own / "jupiter.yaml").write_text("gpus: 1\n")
    with pytest.raises(SpecError, match="did you mean jupiter") as caught:
        load(write("recipe: idefics2\nscale: [\n"), (), "jupitre")
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("cluster:\n  §setup: [rm -rf ~]\n", "cluster.setup"),
        ("cluster:\n  §python: [evil]\n", "cluster.python"),
        ("cluster:\n  §srun: [--task-prolog=evil]\n", "cluster.srun"),
        ("cluster:\n  §sbatch: {prolog: evil}\n", "cluster.sbatch"),
        ("cluster:\n  §scratch: /home/me\n", "cluster.scratch"),
        ("cluster:\n  stages:\n    train:\n      §sbatch: {prolog: evil}\n", "cluster.stages.train.sbatch"),
    ],
)
def test_a_sweep_file_does_not_say_what_a_cluster_runs(
    refuse: Callable[..., tuple[Problem, ...]], text: str, key: str
) -> None:
    (problem,) = refuse(text)
    assert problem.key == key
    assert "does not say what a cluster runs" in problem.message
    assert "profile" in problem.remedy
    # Not even where the command sets another part of it.
    assert any(
        p.key == key for p in refuse(text.replace("§", ""), f"{key}=" + ("{hint: x}" if "sbatch" in key else "[a]"))
    )


@pytest.mark.parametrize(
    "text",
    [
        "sizes: {x: {setup: [evil]}}\ncluster: ${sizes.x}\n",
        "sizes: {x: {train: {sbatch: {prolog: x}}}}\ncluster: {stages: '${sizes.x}'}\n",
    ],
)
def test_not_by_a_reference_either(refuse: Callable[..., tuple[Problem, ...]], text: str) -> None:
    assert any("write the keys themselves" in problem.remedy for problem in refuse(text))


@pytest.mark.parametrize(
    "key",
    [
        "cluster.setup",
        "cluster.sbatch",
        "cluster",
        "cluster.stages.train.sbatch",
        "cluster.stages",
        "cluster.stages.train",
        "runtime.threads",
        "cluster.requeue",
    ],
)
def test_nor_in_a_level(refuse: Callable[..., tuple[Problem, ...]], key: str) -> None:
    refuse(f"factors:\n  f:\n    levels:\n      a: {{}}\n      b: {{training.batch_size: 8, {key}: [x]}}\n")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('cluster:\n  account: §"vlm\\ntouch evil"\n', "cluster.account"),
        ("cluster:\n  partition: §$(evil)\n", "cluster.partition"),
        ("cluster:\n  qos: §a b\n", "cluster.qos"),
        ('cluster:\n  exclude: [n1, §"n2\\n"]\n', "cluster.exclude[1]"),
        ("cluster:\n  stages:\n    train:\n      account: §./file\n", "cluster.stages.train.account"),
    ],
)
def test_names_of_the_cluster_are_names(refuse: Callable[..., tuple[Problem, ...]], text: str, key: str) -> None:
    """They stand in the job's script, in which a line break would begin a command."""
    (problem,) = refuse(text)
    assert problem.key == key
    assert "expected a name that Slurm knows" in problem.message


def test_every_notation_of_names_is_taken(accept: Callable[..., Sweep]) -> None:
    cluster = accept("cluster: {partition: 'gpu,gpu_2', account: a.b@c, qos: x+y, exclude: ['n[01-04,7]:x']}\n").cluster
    assert (cluster.partition, cluster.account, cluster.qos) == ("gpu,gpu_2", "a.b@c", "x+y")
    assert cluster.exclude == ("n[01-04,7]:x",)


def test_the_command_line_may(accept: Callable[..., Sweep]) -> None:
    sweep = accept("", "cluster.setup=[module load x]", "cluster.stages.train.sbatch={constraint: a100}")
    assert sweep.cluster.setup == ("module load x",)
    assert sweep.cluster.of("train").sbatch == {"constraint": "a100"}


def test_a_level_may_ask_for_what_it_needs(accept: Callable[..., Sweep]) -> None:
    small, large = accept(LEVELS).variants
    assert (small.config.cluster.memory_gb, large.config.cluster.memory_gb) == (4.0, 40.0)
    assert large.config.runtime.gradient_checkpointing


def test_but_it_makes_no_level(refuse: Callable[..., tuple[Problem, ...]]) -> None:
    refuse("factors:\n  m:\n    levels:\n      a: {}\n      §b: {cluster.memory_gb: 8.0}\n")
    refuse("factors:\n  m:\n    §key: cluster.memory_gb\n    levels: [8.0, 9.0]\n".replace("§", ""))


def test_a_kind_of_stage_has_its_own(accept: Callable[..., Sweep]) -> None:
    overrides = [
        "cluster.stages={features: {gpus: 0, cpus: 32}}",
        "cluster.gpus=4",
        "cluster.sbatch={hint: nomultithread, constraint: gpu, gres: 'scratch:1'}",
    ]
    cluster = accept("", *overrides).cluster
    assert (cluster.of("features").gpus, cluster.of("features").cpus) == (0, 32)
    assert (cluster.of("train").gpus, cluster.of("train").cpus) == (4, 1)
    assert cluster.of("features").sbatch == {"hint": "nomultithread", "constraint": "gpu", "gres": "scratch:1"}


EXPERTS = "model: {experts: {kinds: [depth]}}\nphases: {main: {tuning: {experts: full}}}\n"


def test_ranks_do_not_train_what_has_batch_normalisation(
    accept: Callable[..., Sweep], refuse: Callable[..., tuple[Problem, ...]]
) -> None:
    accept(EXPERTS)
    (problem,) = refuse(EXPERTS, "runtime.ranks=2")
    assert problem.key == "runtime.ranks"
    assert "batch normalisation" in problem.message
