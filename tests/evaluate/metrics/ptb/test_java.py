from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.evaluate.metrics import cider_d
from harness.evaluate.metrics.ptb import java, ptb_tokenize
from harness.evaluate.metrics.ptb.java import find_java, java_ptb_tokenize

needs_java = pytest.mark.skipif(find_java() is None, reason="there is no Java on this machine")


@needs_java
def test_many_captions_in_one_run() -> None:
    captions = ["A man (one).", "", "  ", "It's\na dog's\r\nlife", "😀", "plan B.", "The end", "\ud800x"]
    assert java_ptb_tokenize(captions) == [ptb_tokenize(caption) for caption in captions]
    assert java_ptb_tokenize(captions)[0] == ["a", "man", "-lrb-", "one", "-rrb-"]
    assert java_ptb_tokenize([]) == []


@needs_java
def test_a_caption_does_not_depend_on_the_next() -> None:
    # On adjacent lines the program takes the point off: "b" and "the".
    assert java_ptb_tokenize(["plan B.", "The end of no.", "5 men"]) == [
        ["plan", "b."],
        ["the", "end", "of", "no"],
        ["5", "men"],
    ]


@needs_java
def test_cider_with_java_equals_cider_with_python() -> None:
    candidates, references = (
        {1: "A dog isn't here!", 2: "Two cats"},
        {1: ["No dog (at all)."], 2: ["Two cats, sleeping"]},
    )
    ours = cider_d(candidates, references)
    theirs = cider_d(candidates, references, tokenizer="java")
    assert theirs.per_image == ours.per_image
    assert (theirs.tokenizer, ours.tokenizer) == ("ptb-3.4.1-java-1", "ptb-3.4.1-python-1")


def test_without_java_the_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java.shutil, "which", lambda name: None)
    with pytest.raises(HarnessError, match="Java tokeniser was asked for"):
        java_ptb_tokenize(["a dog"])


def test_a_program_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java.shutil, "which", lambda name: "/bin/false")
    with pytest.raises(HarnessError, match="failed"):
        java_ptb_tokenize(["a dog"])
