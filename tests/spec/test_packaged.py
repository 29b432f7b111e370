"""The recipes, scales and ablations that ship, and what importing the package costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.spec import backbones, document
from harness.spec.checks import findings
from harness.spec.compose import available
from harness.spec.references import sites, template
from harness.spec.schema import Config
from harness.spec.schema.sweep import SweepKeys
from harness.spec.sweep import config_of, load

PACKAGE = Path(harness.__file__).parent
ABLATIONS = sorted((PACKAGE.parent / "ablations").glob("*.yaml"))
LAYERS = sorted([*(PACKAGE / "spec" / "recipes").glob("*.yaml"), *(PACKAGE / "spec" / "scales").glob("*.yaml")])


@pytest.mark.parametrize("recipe", available("recipe"))
@pytest.mark.parametrize("scale", available("scale"))
def test_every_recipe_is_complete_at_every_scale(recipe: str, scale: str) -> None:
    assert findings(config_of(recipe, scale)) == []


@pytest.mark.parametrize("path", LAYERS, ids=lambda path: path.stem)
def test_recipes_and_scales_hold_config_only(path: Path) -> None:
    value = document.load_file(path).value
    assert value.keys() <= {*Config.model_fields, "sizes", "analysis", "description"}
    assert value["description"]
    assert not value.keys() & (SweepKeys.model_fields.keys() - {"sizes", "analysis", "description"})


@pytest.mark.parametrize("path", LAYERS, ids=lambda path: path.stem)
def test_recipes_and_scales_refer_to_single_sizes(path: Path) -> None:
    # OmegaConf follows a reference that a mapping is merged into, too early; single values are never merged into.
    for _, text in sites(document.load_file(path).value):
        for part in template(text) or ():
            if isinstance(part, tuple):
                assert part[0] == "sizes"
                for scale in available("scale"):
                    sizes = document.load_file(PACKAGE / "spec" / "scales" / f"{scale}.yaml").value["sizes"]
                    assert isinstance(sizes[part[1]], str | int | float)


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
@pytest.mark.parametrize("scale", available("scale"))
def test_every_ablation_runs_at_every_scale_and_has_a_positive_control_or_says_why_not(path: Path, scale: str) -> None:
    sweep = load(path, [f"scale={scale}"])
    assert sweep.name == path.stem
    assert sweep.question.endswith("?")
    assert len(sweep.variants) > 1
    assert sweep.positive_control is not None or "\n# No positive control: " in path.read_text()
    assert sweep.notes == ()


def test_token_pooling_asks_what_it_says() -> None:
    sweep = load(PACKAGE.parent / "ablations" / "token_pooling.yaml")
    levels = {factor.name: [level.name for level in factor.levels] for factor in sweep.factors}
    assert levels.keys() == {"tokens", "pooling"}
    assert {"4", "36"} <= set(levels["tokens"])
    assert set(levels["pooling"]) == {"perceiver", "average"}
    assert len(sweep.variants) == len(levels["tokens"]) * 2
    assert dict(sweep.baseline.levels) == {"tokens": "36", "pooling": "perceiver"}
    assert {claim.id: claim.expect for claim in sweep.claims} == {"I2-13": "equivalent", "I2-12": "better"}
    assert sweep.positive_control is not None
    assert sweep.positive_control.benchmark == "textvqa"
    assert sweep.positive_control.contrast.levels == {"tokens": ("4", "36")}
    assert len(sweep.seeds) == 1
    assert load(PACKAGE.parent / "ablations" / "token_pooling.yaml", ["seeds=[0,1,2]"]).seeds == (0, 1, 2)


def test_the_zoo_is_as_the_spec_believes() -> None:
    folders = {path.parent.name: path for path in (PACKAGE / "zoo").glob("**/config.json")}
    for name, backbone in backbones.ZOO.items():
        if name not in folders:
            continue  # not built yet; whether the zoo is whole is the zoo's to test
        config = json.loads(folders[name].read_text())
        is_vision = "patch_size" in config or "vision_config" in config
        assert (backbone.role == "vision") == is_vision
        if is_vision:
            assert config.get("vision_config", config)["patch_size"] == backbone.patch
    assert backbones.known("zoo/vision-base") == backbones.ZOO["vision-base"]
    assert backbones.known("vision-base") is backbones.known("zoo/nothing") is None


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, harness.spec, harness.errors\n"
        "heavy = {'pydantic', 'omegaconf', 'yaml', 'torch', 'transformers', 'pandas', 'scipy', 'numpy'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
        "from harness.spec import *\n"
        "assert load and Config and Sweep and identity_part\n"
        "load(sys.argv[1])\n"
        "assert not (heavy - {'pydantic', 'omegaconf', 'yaml'}) & sys.modules.keys()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(ABLATIONS[0])], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_unknown_names_of_the_package_are_attribute_errors() -> None:
    import harness.spec

    assert set(harness.spec.__all__) == set(dir(harness.spec))
    with pytest.raises(AttributeError, match="nothing"):
        harness.spec.nothing  # noqa: B018
