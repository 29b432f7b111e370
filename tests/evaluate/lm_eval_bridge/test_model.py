"""Tasks of others on our model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance

from harness.errors import HarnessError
from harness.evaluate.lm_eval_bridge.model import HarnessLM
from harness.models import VLM, ModelInputs, PixelInputs

from ..tiny import picture


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory, built: tuple[VLM, Any]) -> HarnessLM:
    folder = tmp_path_factory.mktemp("model")
    for part in built:
        part.save_pretrained(folder)
    return HarnessLM(model=str(folder), batch_size=2)


def request(kind: Any, *arguments: Any) -> Instance:
    return Instance(kind, {}, arguments, 0, ("somebody_elses", 0, 1))


def logits(vlm: VLM, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        found = vlm(ModelInputs.of_rows(torch.tensor([ids]))).logits
    assert found is not None
    return found[0].double().log_softmax(-1)


def test_log_likelihoods_of_continuations(lm: HarnessLM, vlm: VLM) -> None:
    pairs = [("What color is", " red"), ("How many", " of them are there"), ("", "blue thing"), ("A", " red thing")]
    scored = lm.loglikelihood([request("loglikelihood", *pair) for pair in pairs], disable_tqdm=True)
    for (context, continuation), (value, greedy) in zip(pairs, scored, strict=True):
        # As lm-eval defines it: the continuation is what the whole has beyond the context.
        before = [lm.prefix_token_id, *lm.tok_encode(context, add_special_tokens=False)]
        after = lm.tok_encode(context + continuation, add_special_tokens=False)[len(before) - 1 :]
        expected = logits(vlm, before + after)
        steps = [expected[len(before) - 1 + place] for place in range(len(after))]
        assert value == pytest.approx(sum(step[id].item() for step, id in zip(steps, after, strict=True)), abs=1e-4)
        assert greedy == all(int(step.argmax()) == id for step, id in zip(steps, after, strict=True))


def test_rolling_log_likelihood(lm: HarnessLM, vlm: VLM) -> None:
    text = "A red thing on green."
    (value,) = lm.loglikelihood_rolling([request("loglikelihood_rolling", text)], disable_tqdm=True)
    ids = [lm.prefix_token_id, *lm.tok_encode(text, add_special_tokens=False)]
    expected = logits(vlm, ids)
    assert value == pytest.approx(sum(expected[place, id].item() for place, id in enumerate(ids[1:])), abs=1e-4)


def greedily(lm: HarnessLM, vlm: VLM, ids: list[int], images: Any, limit: int) -> list[int]:
    written: list[int] = []
    while len(written) < limit:
        with torch.no_grad():
            found = vlm(ModelInputs.of_rows(torch.tensor([ids + written]), images=images)).logits
        assert found is not None
        scores = found[0, -1]
        scores[vlm.config.image_token_id] = -torch.inf
        token = int(scores.argmax())
        if token == lm.eot_token_id:
            break
        written.append(token)
    return written


def test_generation_with_images_and_stop_strings(lm: HarnessLM, vlm: VLM, processor: Any, tmp_path: Path) -> None:
    pictures = [picture(1), picture(2)]
    pictures[1].save(tmp_path / "second.png")
    marks = [vlm.config.image_token_id] * vlm.placeholders_per_image
    first, second = (lm.tok_encode(text, add_special_tokens=False) for text in (" What color?", " And this?"))
    ids = [lm.prefix_token_id, *marks, *first, *marks, *second]
    images = PixelInputs(processor.image_processor(pictures, return_tensors="pt")["pixel_values"])
    expected = lm._text(greedily(lm, vlm, ids, images, 8))
    assert len(expected) > 3

    def said(**settings: Any) -> str:
        visual = [pictures[0], str(tmp_path / "second.png")]
        arguments = ("<image> What color?<image> And this?", {"max_gen_toks": 8, **settings}, {"visual": visual})
        (text,) = lm.generate_until([request("generate_until", *arguments)])
        return text

    assert said() == expected
    stop = expected[2:4]
    assert said(until=[stop]) == expected.split(stop)[0]


def test_marks_and_images_have_to_agree(lm: HarnessLM) -> None:
    with pytest.raises(HarnessError, match="2 <image> marks for 1 images"):
        lm.generate_until([request("generate_until", "<image><image> x", {}, {"visual": [picture(1)]})])


def test_nothing_is_truncated_and_nothing_sampled(lm: HarnessLM) -> None:
    with pytest.raises(HarnessError, match="too long"):
        lm.generate_until([request("generate_until", "What color is it? " * 200, {"max_gen_toks": 5})])
    with pytest.raises(HarnessError, match="greedily"):
        lm.generate_until([request("generate_until", "x", {"do_sample": True, "temperature": 1.0})])
