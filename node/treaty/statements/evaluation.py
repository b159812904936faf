"""`eval`: an independent evaluator measures a model (MODEL 3, kind 15; LAW K29, K40, K47)."""

from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty import benchmarks, releases
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.capabilities import capabilities
from node.treaty.checks import forecasts
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.evaluators import first_evaluated, require_evaluator, require_independence
from node.treaty.filing import require_past
from node.treaty.kinds import Kind
from node.treaty.lives import enter
from node.treaty.motions.halt import halt_for_score
from node.treaty.runs import gates_of, weigh
from node.treaty.scores import Evaluation, is_over_cap, keep

_PRESENCE: Final = {
    pb.PRESENCE_PRESENT: "present",
    pb.PRESENCE_ABSENT: "absent",
    pb.PRESENCE_UNKNOWN: "unknown",
}


def take_eval(book: Book, entry: Entry, body: pb.Eval) -> Accepted:
    """Judge an evaluation; the model's run may rise to Tier 3 by it."""
    author = entry.parsed.author
    model = book.qualified(author, body.model)
    row = book.state.models.get(model)
    if row is None:
        raise Refused(Code.UNKNOWN_REF, f"no model {model}")
    require_evaluator(book, entry)
    run = row.run
    require_independence(book, author, run)
    require_past(book, entry)
    results = sorted((one.capability, _PRESENCE[one.presence]) for one in body.capabilities)
    keep(
        book,
        model,
        Evaluation(
            evaluator=author,
            state=book.state_of(author),
            entry=entry.entry_hash,
            bench_ver=body.bench_ver,
            items=body.items,
            score_bp=body.score_bp,
            capabilities=tuple(results),
            at=book.now,
        ),
    )
    if releases.is_released(book, model):
        releases.evaluated(book, model, capabilities(book))
    life = book.state.lives[run]
    if life.status == "ENDED":
        enter(book, run, life._replace(status="EVALUATED"))
        first_evaluated(book, run)
    weigh(book, run)
    gates = gates_of(book, run)
    cap = benchmarks.cap_of(book, run, gates, body.bench_ver)
    is_over = is_over_cap(body.score_bp, body.items, cap)
    if is_over and len(benchmarks.over_cap_states(book, run, gates)) == 1:
        halt_for_score(book, run, entry.name)
    forecasts.evaluated(book, run, entry.entry_hash, body.bench_ver, body.items, body.score_bp)
    return Accepted(f"eval:{model}")


def _eval_capabilities(body: Any) -> None:
    if any(not item.capability or not item.presence for item in body.capabilities):
        raise MalformedContent("eval.capabilities", "capability or presence missing")


KIND: Final[Kind] = Kind(
    form=Form(
        required=("model", "bench_ver", "items", "score_bp"),
        integers=("bench_ver", "items"),
        basis_points=("score_bp",),
        references=("model",),
        hashes=("detail",),
        lists=("capabilities",),
        extra=(_eval_capabilities,),
    ),
    take=take_eval,
    classes="PR",
)
