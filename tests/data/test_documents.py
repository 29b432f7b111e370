from harness.data.documents import IMAGE, Example, choose, choose_questions, pair_example, tokenise
from harness.data.pairs import SolvedQuestion


def encode(text):
    return [ord(character) for character in text]


def test_answers_and_their_ends_are_supervised_and_nothing_else():
    example = Example("a", ((" Caption:", "cat"), (" Question: q? Answer:", "2")))
    document = tokenise([example], encode, begin=1, end=2)
    told = "".join(chr(i) if i > 2 else "$" for i, flag in zip(document.ids, document.supervised, strict=True) if flag)
    assert told == " cat$ 2$"
    assert document.ids[:2] == (1, IMAGE)
    assert document.images == ("a",)


def test_length_counts_placeholders():
    document = tokenise([Example("a", ((" C:", "x"),)), Example("b", ((" C:", "y"),))], encode, begin=None, end=2)
    assert document.length(1) == len(document.ids)
    assert document.length(36) == len(document.ids) + 70


def test_choice_is_a_pure_function_of_its_names():
    assert choose(range(20), 5, "a", 1) == choose(range(20), 5, "a", 1)
    assert choose(range(20), 5, "a", 1) != choose(range(20), 5, "a", 2)


def test_no_task_crowds_out_the_others():
    questions = [SolvedQuestion(f"q{i}", "a", "vqav2") for i in range(12)] + [SolvedQuestion("sign", "42", "textvqa")]
    assert all("textvqa" in {q.task for q in choose_questions(questions, 3, seed)} for seed in range(20))
    assert len(choose_questions(questions, 50, 0)) == 13


def test_after_one_question_of_each_task_come_those_about_what_is_seen():
    tasks = ["vqav2"] * 5 + ["okvqa"] * 6 + ["textvqa"] * 2
    questions = [SolvedQuestion(f"q{i}", "a", task) for i, task in enumerate(tasks)]
    for seed in range(20):
        chosen = [question.task for question in choose_questions(questions, 6, seed)]
        assert sorted(chosen) == ["okvqa", "textvqa", "vqav2", "vqav2", "vqav2", "vqav2"]


def test_captions_rotate_over_passes():
    captions = ["one", "two", "three"]
    seen = {pair_example("i", captions, [], 0, 0, epoch).solved[0][1] for epoch in range(30)}
    assert seen == set(captions)
