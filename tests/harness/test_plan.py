"""Which member answers which copy of a request."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import batches
from btrans_eval.harness.plan import plan_questions, share_of, share_out


def ALL(question) -> int:  # noqa: N802
    return len(question.draws)


def config(**arguments) -> PopulationConfig:
    return PopulationConfig(**{"sigma": 0.1, **arguments})


def request(prompt="p", repeats=1, task="t", doc_id=0, **generation):
    return SimpleNamespace(
        args=(prompt, generation), repeats=repeats, task_name=task, doc_id=doc_id, doc={}
    )


@pytest.mark.parametrize(
    "repeats, members, draws",
    [
        (1, None, [(m, 0) for m in range(8)]),
        (1, 3, [(0, 0), (1, 0), (2, 0)]),
        (4, None, [(0, 0), (1, 0), (2, 0), (3, 0)]),
        (4, 2, [(0, 0), (1, 0), (0, 1), (1, 1)]),
        (4, 8, [(0, 0), (1, 0), (2, 0), (3, 0)]),  # R < K runs members 0 to R - 1
        (3, 1, [(0, 0), (0, 1), (0, 2)]),
    ],
)
def test_copies_are_shared_out_among_members_and_samples(repeats, members, draws):
    assert share_out(repeats, config(members=members), True, "t") == draws


def test_first_asks_member_0_alone_unless_the_task_repeats():
    assert share_out(1, config(aggregate="first"), False, "t") == [(0, 0)]
    assert len(share_out(4, config(aggregate="first"), False, "t")) == 4


def test_repeats_that_members_do_not_divide_are_an_error():
    with pytest.raises(UserError, match="members: .* repeats=8 and members=3; use members=2"):
        share_out(8, config(members=3), True, "t")
    with pytest.raises(UserError, match="members: .* repeats=8 and members=3; use members=8"):
        share_out(8, config(members=3), False, "t")  # a divisor would be refused, too


def test_more_repeats_than_members_without_sampling_is_an_error():
    with pytest.raises(UserError, match="greedy decoding gives a member the same response"):
        share_out(8, config(members=4), False, "t")


def test_copies_are_told_apart_by_counting_and_padding_starts_again():
    first, second = request(repeats=2), request(repeats=2)  # equal in all but identity
    questions = plan_questions(
        [first, first, second, second, second, second], config(), lambda request: False
    )
    assert [question.request is first for question in questions] == [True, False]
    assert questions[0].places == [0, 1] and questions[1].places == [2, 3, 4, 5]
    assert questions[1].draws == [(0, 0), (1, 0)] and questions[1].wants_all


@pytest.mark.parametrize("documents", [5, 3, 1])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_share_whole_documents_and_miss_none(documents, ranks):
    requests = [request(f"{doc}{part}", doc_id=doc) for doc in range(documents) for part in "ab"]
    questions = plan_questions(requests, config(), lambda request: False)
    shares = [share_of(questions, (rank, ranks)) for rank in range(ranks)]
    seen = [question.request.args[0] for share in shares for question in share]
    assert sorted(seen) == sorted(r.args[0] for r in requests)
    documents_of = [{question.request.doc_id for question in share} for share in shares]
    assert sum(map(len, documents_of)) == documents


def test_batches_mix_questions_and_members_but_not_generation_arguments():
    requests = [
        request("a b c", max_gen_toks=3),
        request("a b", max_gen_toks=3),
        request("a b c d", max_gen_toks=3),
        request("a", max_gen_toks=4),
    ]
    questions = plan_questions(requests, config(members=3), lambda request: False)

    def words(question):
        return len(question.request.args[0].split())

    plan = list(batches(questions, ALL, lambda longest: 4, words))
    assert [len(batch) for batch in plan] == [4, 4, 1, 3]
    rows = [(row.question.request.args[0], row.member) for batch in plan for row in batch]
    prompts = ["a b c d", "a b c", "a b", "a"]
    assert rows == [(prompt, member) for prompt in prompts for member in range(3)]
    again = list(batches(questions[::-1], ALL, lambda longest: 4, words))
    assert [[(r.question.request.args[0], r.member) for r in batch] for batch in again] == [
        [(r.question.request.args[0], r.member) for r in batch] for batch in plan
    ]


@pytest.mark.parametrize("size", [3, None])
@pytest.mark.parametrize(
    "documents, members, parts", [(30, 64, 8), (1, 7, 3), (2, 1, 4), (5, 3, 1)]
)
def test_parts_are_equally_long_and_miss_no_row(documents, members, parts, size):
    """Also with fewer questions than parts: rows are dealt, not questions."""
    requests = [request(f"{doc}", doc_id=doc, max_gen_toks=doc % 3) for doc in range(documents)]
    questions = plan_questions(requests, config(members=members), lambda request: False)
    shares = []
    for part in range(parts):
        plan = batches(questions, ALL, lambda longest: size, lambda each: 1, (part, parts))
        assert size is None or max(map(len, plan), default=0) <= size
        for batch in plan:
            assert len({row.question.request.args[1]["max_gen_toks"] for row in batch}) == 1
        shares.append([(row.question.request.args[0], row.draw) for b in plan for row in b])
    everything = [(str(doc), draw) for doc in range(documents) for draw in range(members)]
    assert sorted(row for share in shares for row in share) == sorted(everything)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("documents, members, parts", [(30, 64, 8), (1, 7, 3), (2, 1, 4)])
def test_members_of_few_questions_are_shared_out_too(documents, members, parts):
    requests = [request(f"{doc}{half}", doc_id=doc) for doc in range(documents) for half in "ab"]
    questions = plan_questions(requests, config(), lambda request: False)
    shares = [
        [
            (question.request.args[0], member)
            for member in range(members)
            for question in share_of(questions, (part, parts), member, members)
        ]
        for part in range(parts)
    ]
    everything = [(q.request.args[0], member) for q in questions for member in range(members)]
    assert sorted(row for share in shares for row in share) == sorted(everything)
    assert max(map(len, shares)) - min(map(len, shares)) <= 2  # both halves of a document
    for share in shares:
        assert all((f"{name[:-1]}{half}", m) in share for name, m in share for half in "ab")
