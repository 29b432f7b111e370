from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from harness.errors import Problem, SpecError
from harness.spec.messages import add_violations, all_keys, complete_key, fields_at
from harness.spec.place import Place
from harness.spec.report import Report
from harness.spec.schema import Section


@pytest.mark.parametrize(
    ("text", "key", "message", "remedy"),
    [
        ("§seed: [1]\n", "seed", "unknown key", "did you mean seeds?"),
        ("§factor: {}\n", "factor", "unknown key", "did you mean factors?"),
        ("§num_tokens: 4\n", "num_tokens", "unknown key", "did you mean model.connector.num_tokens?"),
        ("§connector: {kind: mlp}\n", "connector", "unknown key", "did you mean model.connector?"),
        ("model: {§conector: {kind: mlp}}\n", "model.conector", "unknown key", "did you mean model.connector?"),
        (
            "model: {connector: {§dept: 3}}\n",
            "model.connector.dept",
            "unknown key",
            "did you mean model.connector.depth?",
        ),
        ("model: {§zebra: 3}\n", "model.zebra", "unknown key", "vision, image, connector, fusion, language"),
        ("phases: {main: {§step: 3}}\n", "phases.main.step", "unknown key", "did you mean phases.main.steps?"),
        ("training: {§steps: 3}\n", "training.steps", "unknown key", "write phases.NAME.steps"),
        ("training: {§zebra: 3}\n", "training.zebra", "unknown key", "known keys"),
        ("training: {tuning: {§visoin: lora}}\n", "training.tuning.visoin", "unknown key", "training.tuning.vision"),
        (
            "evaluation: {tasks: {§vqav3: {samples: 1}}}\n",
            "evaluation.tasks.vqav3",
            "one of vqav2",
            "did you mean vqav2?",
        ),
        (
            "analysis: {§minimum_effect: 1}\n",
            "analysis.minimum_effect",
            "unknown key",
            "did you mean analysis.min_effect?",
        ),
        ("runtime: {§thread: 1}\n", "runtime.thread", "unknown key", "did you mean runtime.threads?"),
        ("positive_control: {contrast: {}, §bench: x}\n", "positive_control.bench", "unknown key", "benchmark"),
        (
            "training: {max_length: §'4'}\n",
            "training.max_length",
            "a whole number, found the text '4'",
            "remove the quotes",
        ),
        ("training: {max_length: §1_000}\n", "training.max_length", "a whole number", "underscores"),
        ("training: {max_length: §4.0}\n", "training.max_length", "a whole number, found 4.0", "write 4"),
        ("training: {max_length: §true}\n", "training.max_length", "a whole number, found true", "whole number"),
        ("training: {max_length: §}\n", "training.max_length", "found nothing", "fill the key in"),
        ("training: {max_length: §-3}\n", "training.max_length", "greater than 0, found -3", "greater than 0"),
        (
            "training: {clip_norm: §fast}\n",
            "training.clip_norm",
            "expected a number, found the text 'fast'",
            "a number",
        ),
        (
            "training: {schedule: {kind: §cosin}}\n",
            "training.schedule.kind",
            "cosine, linear, constant",
            "did you mean cosine?",
        ),
        ("training: {schedule: {kind: §3}}\n", "training.schedule.kind", "expected one of", "one of these"),
        ("training: {optimizer: {betas: [0.9, §x]}}\n", "training.optimizer.betas[1]", "expected a number", "number"),
        (
            "training: {optimizer: {betas: §0.9}}\n",
            "training.optimizer.betas",
            "expected a list, found 0.9",
            "write [0.9]",
        ),
        ("training: {tuning: §full}\n", "training.tuning", "expected a mapping", "{key: value}"),
        ("model: §3\n", "model", "expected a mapping", "{key: value}"),
        ("seeds: §3\n", "seeds", "expected a list, found 3", "write [3]"),
        ("seeds: §[]\n", "seeds", "at least 1", "at least 1"),
        ("seeds: [0, §-1]\n", "seeds[1]", "of at least 0, found -1", "at least 0"),
        ("seeds: [0, §1.5]\n", "seeds[1]", "a whole number, found 1.5", "whole number"),
        ("seeds: [§a]\n", "seeds[0]", "a whole number", "whole number"),
        ("training: {optimizer: {betas: §[0.9]}}\n", "training.optimizer.betas[1]", "missing", "items"),
        ("training: {optimizer: {betas: §[0.9, 0.9, 1]}}\n", "training.optimizer.betas", "at most 2", "at most 2"),
        ("seeds: [0, §0]\n", "seeds[1]", "given twice", "remove"),
        ("seeds: [§4294967296]\n", "seeds[0]", "too large", "2^32"),
        ("question: §3\n", "question", "expected text, found 3", 'write "3"'),
        ("analysis: {confidence: §1}\n", "analysis.confidence", "less than 1", ""),
        ("analysis: {min_effect: §-1}\n", "analysis.min_effect", "at least 0", ""),
        ("evaluation: {shots: §-1}\n", "evaluation.shots", "of at least 0, found -1", ""),
        ("evaluation: {tasks: {coco: {samples: §0}}}\n", "evaluation.tasks.coco.samples", "greater than 0", ""),
    ],
)
def test_what_is_wrong_where_and_what_to_do(refuse: Callable, text: str, key: str, message: str, remedy: str) -> None:
    (problem,) = refuse(text)
    assert problem.key == key
    assert message in problem.message
    assert remedy in problem.remedy


class Switch(Section):
    """A section with what no section of the config has at present."""

    on: bool


@pytest.mark.parametrize(
    ("value", "found", "remedy"),
    [
        ("yes", "the text 'yes'", "write true, without quotes"),
        ("off", "the text 'off'", "write false, without quotes"),
        ("true", "the text 'true'", "write true, without quotes"),
        (1, "1", "write true or false"),
        (None, "nothing", "fill the key in"),
    ],
)
def test_words_are_no_switches(value: object, found: str, remedy: str) -> None:
    report = Report()
    with pytest.raises(ValidationError) as wrong:
        Switch.model_validate({"on": value})
    add_violations(report, wrong.value, ("switch",), lambda path, of_key: (Place("f", 1, 1), path))
    with pytest.raises(SpecError) as caught:
        report.raise_if_any()
    (problem,) = caught.value.problems
    assert problem == Problem(problem.message, "f", 1, 1, "switch.on", problem.remedy)
    assert f"expected true or false, found {found}" in problem.message
    assert remedy in problem.remedy


@pytest.mark.parametrize(("kind", "typo"), [("recipe", "recpie"), ("scale", "sclae"), ("recipe", "Recipe")])
def test_a_misspelt_recipe_or_scale_is_named(refuse: Callable, kind: str, typo: str) -> None:
    head = {"recipe": "recipe: idefics2\n", "scale": "scale: micro\n"}
    (problem,) = refuse(f"§{typo}: x\n" + "".join(line for key, line in head.items() if key != kind), head="name: t\n")
    assert problem.key == typo
    assert problem.message == f"unknown key, and {kind} is missing"
    assert problem.remedy == f"did you mean {kind}?"


def test_steps_are_known_in_phases(refuse: Callable) -> None:
    (problem,) = refuse("phases: {main: {§stesp: 10}}\n")
    assert problem.remedy == "did you mean phases.main.steps?"


def test_a_missing_key_stands_at_what_should_hold_it(refuse: Callable) -> None:
    (problem,) = refuse("phases:\n  §more: {batch_size: 32}\n")
    assert problem.key == "phases.more.steps"
    assert "whole number" in problem.message
    assert "steps" in problem.remedy


def test_a_mistake_in_the_training_defaults_is_shown_once_and_there(refuse: Callable) -> None:
    (problem,) = refuse("training: {max_length: §x}\n")
    assert problem.key == "training.max_length"
    (problem,) = refuse("training: {§maxlength: 3}\n")
    assert problem.key == "training.maxlength"
    (problem,) = refuse("phases: {main: {max_length: §x}}\n")
    assert problem.key == "phases.main.max_length"


def test_all_mistakes_are_shown_at_once(refuse: Callable) -> None:
    problems = refuse(
        "§sed: 1\nseeds: [§a]\nmodel: {connector: {kind: §percever}}\ntraining: {§batchsize: 3, clip_norm: §x}\n"
        "evaluation: {shots: §-1}\nfactors:\n  §tokens: {}\n  depth: {key: §model.connector.dept, levels: [1]}\n"
    )
    assert len(problems) == 8


def test_values_brought_in_by_alias_stand_at_the_alias(refuse: Callable) -> None:
    (problem,) = refuse("sizes: {s: &s {kind: average}}\nmodel: {connector: §*s}\n")
    assert problem.key == "model.connector.kind"


def test_values_brought_in_by_reference_stand_at_the_reference(refuse: Callable) -> None:
    (problem,) = refuse('sizes: {n: four}\nmodel: {connector: {num_tokens: §"${sizes.n}"}}\n')
    assert problem.key == "model.connector.num_tokens"


def test_mistakes_of_overrides_name_the_override(refuse: Callable) -> None:
    (problem,) = refuse("", "training.max_length=x")
    assert (problem.file, problem.line, problem.key) == ("override 'training.max_length=x'", 0, "training.max_length")


def test_the_schema_is_walked() -> None:
    assert fields_at(("model", "connector"))[:2] == ["kind", "num_tokens"]
    assert fields_at(("phases", "any")) == [*fields_at(("training",)), "steps", "trains"]
    assert fields_at(("evaluation", "tasks")) == ["vqav2", "textvqa", "okvqa", "coco", "docvqa"]
    assert fields_at(("evaluation", "tasks", "coco"))[:3] == ["samples", "metric", "max_new_tokens"]
    assert fields_at(("data", "microworld"))[0] == "seed"
    assert fields_at(("claims", 0))[0] == "id"
    assert fields_at(("sizes",)) == fields_at(("training", "clip_norm")) == fields_at(("nothing", "here")) == []
    assert "seeds" in fields_at(())
    assert "model" in fields_at(())


def test_keys_are_completed_where_there_is_one_way() -> None:
    assert complete_key("connector.kind") == "model.connector.kind"
    assert complete_key("steps") is None
    assert complete_key("rank") == "training.lora.rank"
    assert complete_key("kind") is None
    assert len(all_keys()) == len(set(all_keys()))
