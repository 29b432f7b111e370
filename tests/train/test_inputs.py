from __future__ import annotations

from harness.data.documents import Document
from harness.data.packing import pack
from harness.train.inputs import to_model_inputs


def test_labels_reach_the_model_as_they_were_packed() -> None:
    """The end of an answer keeps its label, also where the tokenizer pads with that token."""
    documents = [Document((5, 6, 2), (False, True, True), ()), Document((7, 2), (False, True), ())]
    inputs = to_model_inputs(pack(documents, placeholders=4, image_id=1, capacity=3, padding=2), lambda keys: None)
    assert inputs.labels is not None
    assert inputs.labels.tolist() == [[-100, 6, 2], [-100, 2, -100]]
