"""From the harness's list of requests to the responses that a population must give.

The harness hands over one object per request, listed once for each of its task's repeats; which
copy is which can only be told by counting (docs/lm-eval.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError


@dataclass(eq=False)
class Question:
    """One request and the responses it needs.

    Attributes:
        request: the harness's ``Instance``.
        draws: the (member, sample) of each response, in the order the harness wants them.
        wants_all: whether the harness gets every response (``repeats`` > 1), or one.
        is_sampled: whether responses are sampled, not greedy.
        places: where the request stands in the harness's list.
        prompt: digest of the prompt's tokens, once it is known.
        not_asked: how many more members there are, which a vote that was decided did not need.
    """

    request: Any
    draws: list[tuple[int, int]]
    wants_all: bool
    is_sampled: bool = False
    places: list[int] = field(default_factory=list)
    prompt: str | None = None
    not_asked: int = 0


def plan_questions(
    requests: Sequence[Any], config: PopulationConfig, is_sampled: Callable[[Any], bool]
) -> list[Question]:
    """The distinct requests in order of first appearance, with their draws.

    Args:
        requests: what the harness passed to ``generate_until``.
        config: how many members, and how they are aggregated.
        is_sampled: whether a request's generation arguments ask for sampling.

    Raises:
        UserError: if a task's repeats cannot be shared out among the members.
    """
    questions: dict[int, Question] = {}
    for place, request in enumerate(requests):
        known = questions.get(id(request))
        if known is None:
            repeats = request.repeats or 1
            sampled = is_sampled(request)
            draws = share_out(repeats, config, sampled, request.task_name)
            known = questions[id(request)] = Question(request, draws, repeats > 1, sampled)
        known.places.append(place)
    return list(questions.values())


def share_out(
    repeats: int, config: PopulationConfig, sampled: bool, task: str | None
) -> list[tuple[int, int]]:
    """The (member, sample) of every response to one request.

    With repeats R > 1 copy r is member r mod K, sample r div K, K = ``members`` if given, else R;
    with R = 1 the members 0 to K - 1 answer once each.
    """
    if repeats == 1:
        return [(member, 0) for member in range(config.vote_members)]
    members = min(config.members or repeats, repeats)
    if repeats % members:
        raise UserError(
            f"members: repeats must be a multiple of members, but {task} has repeats={repeats} "
            f"and members={members}; use members="
            f"{_nearest_divisor(repeats, members) if sampled else repeats}"
        )
    if repeats > members and not sampled:
        raise UserError(
            f"members: {task} has repeats={repeats} for members={members}, and greedy decoding "
            f"gives a member the same response every time; use members={repeats}, or sample "
            "with --gen_kwargs do_sample=True,temperature=0.7"
        )
    return [(copy % members, copy // members) for copy in range(repeats)]


def _nearest_divisor(repeats: int, members: int) -> int:
    divisors = [n for n in range(1, repeats + 1) if repeats % n == 0]
    return min(divisors, key=lambda n: abs(n - members))


def count_members(question: Question) -> int:
    """How many members answer a question."""
    return len({member for member, _ in question.draws})


def share_of(
    questions: Sequence[Question], share: tuple[int, int], turn: int = 0, turns: int = 1
) -> list[Question]:
    """Part i of n of the questions: whole documents, dealt in turn.

    Args:
        share: i, from 0, and n.
        turn: number of this round of all questions, of ``turns``; each goes on where the last
            ended, so that parts are equally long also with fewer questions than parts.
    """
    part, parts = share
    documents: dict[tuple[Any, Any], int] = {}
    mine = []
    for question in questions:
        document = (question.request.task_name, question.request.doc_id)
        place = documents.setdefault(document, len(documents))
        if (place * turns + turn) % parts == part:
            mine.append(question)
    return mine
