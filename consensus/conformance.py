"""Judge the shipping order by published cases: `python -m consensus.conformance FILE...`.

Prints one JSON line a case, {"id", "pass", "got", "expect"}, and exits 1 if any case fails, 2 if a file cannot be read. The
format of cases is that of the vectors' README (format 1). Nothing imports this script.

What is exercised is what validators run: blocks go into a `Dag`, which `decide` and a `Linearizer` read; `check_block` judges
validity; `quorum_index` counts votes. Two things are here alone. A block's digest begins with the case's number of
the variant, as cases order the blocks of one slot by it. And the `clock` of the cases is that of other implementations: ours
waits for the member's own block (SPEC D3), so the few lines that say what theirs does stand below.

A case that is not about this protocol (another wave, several leaders a round, a skip rule or a filter that we have not) is
neither passed nor failed: {"id", "pass": null, "skipped": why}, without effect on the exit status. So "pass": true always means
that the rule ran and gave what was expected; null says that nothing was shown. Where several skip rules give one result the
case lists them all, ours among them, and is run.
"""

import argparse
import hashlib
import json
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from consensus.codec import payload_root
from consensus.commit_rule import Decision, Forked, Status, decide
from consensus.committee import Committee
from consensus.dag import Dag
from consensus.linearizer import Linearizer
from consensus.types import (
    WAVE_LENGTH,
    ZERO_DIGEST,
    Block,
    Digest,
    Header,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
)
from consensus.validity import InvalidBlock, check_block
from consensus.votes import quorum_index

FORMAT: Final = 1
LEADER_RULE: Final = "(round+offset) mod n"
BLAME: Final = "block"  # SPEC D4: the skip rule of `commit_rule`
MODE: Final = "set"  # SPEC D5: the filter of `linearizer`
ROUND_MS: Final = 1_000  # cases have no times; these ascend

Case = Mapping[str, Any]


class CannotRead(Exception):
    """A file that is no file of cases: names file and place."""


class NotOurs(Exception):
    """The case is about a rule that this protocol has not."""


# --- blocks --------------------------------------------------------------------------------------


def committee_of(size: int) -> Committee:
    """Leaders take turns in the order of their indexes, as cases assume."""
    return Committee.with_order(
        leaders=tuple(map(ValidatorIndex, range(size))),
        chain_id=Digest(hashlib.sha256(b"conformance").digest()),
        members=Digest(hashlib.sha256(b"conformance members").digest()),
        genesis_time_ms=Millis(0),
    )


@dataclass(frozen=True, slots=True)
class Names:
    """Case references [author, round] or [author, round, e] to refs and back."""

    committee: Committee

    def ref(self, named: Sequence[int]) -> Ref:
        author, round_, *rest = named
        variant = rest[0] if rest else 0
        if round_ == 0 and variant == 0 and author < self.committee.size:
            return self.committee.genesis[author]
        digest = variant.to_bytes(4, "big") + hashlib.sha256(b"%d/%d" % (round_, author)).digest()
        return Ref(Round(round_), ValidatorIndex(author), Digest(digest[: len(ZERO_DIGEST)]))

    def named(self, ref: Ref) -> list[int]:
        return [ref.author, ref.round, int.from_bytes(ref.digest[:4], "big")]

    def block(self, listed: Sequence[Any]) -> Block:
        """[author, round, [references]] or [author, round, [references], e]; parents in the listed order."""
        author, round_, references, *rest = listed
        header = Header(
            chain_id=self.committee.chain_id,
            epoch=self.committee.epoch,
            round=Round(round_),
            author=ValidatorIndex(author),
            time_ms=Millis(ROUND_MS * round_),
            flags=0,
            parents=tuple(map(self.ref, references)),
            payload_root=payload_root(()),
            payload_len=0,
            commit_votes=(),
            evidence=(),
        )
        return Block(
            header=header, payload=(), signature=bytes(64), ref=self.ref([author, round_, *rest])
        )

    def on_the_wire(self, listed: Sequence[Any]) -> Block:
        """As `block`, parents after the first ascending by author: our one spelling of what cases list in any order."""
        author, round_, references, *rest = listed
        ordered = [*references[:1], *sorted(references[1:], key=lambda named: int(named[0]))]
        return self.block([author, round_, ordered, *rest])


# --- kinds of cases ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    passed: bool
    got: Any
    expect: Any


def judge_decide(case: Case) -> Outcome:
    """`got`: per step the statuses, as `expect` writes them. The committed prefix and what lies behind it are both compared."""
    _ours(case, "wave_length", WAVE_LENGTH)
    _ours(case, "leaders", 1)
    if not case["pipelined"]:
        raise NotOurs("pipelined=false: here every round has a leader")
    _ours(case, "leader_rule", LEADER_RULE)
    if BLAME not in case["blame"]:
        raise NotOurs(f"blame={case['blame']}: the skip rule here is {BLAME!r}")
    names = Names(committee_of(case["n"]))
    refused = _refused(case["blocks"], names) if case["wire_valid"] else []
    got, expect = [], []
    for step in case["steps"]:
        dag = Dag(names.committee)
        for listed in case["blocks"][: step["blocks"]]:
            dag.accept(names.block(listed))
        finished = step["last_decided"]
        first = Round(finished[1] + 1 if finished else 1)
        got.append([_status(decision, names) for decision in decide(dag, first)])
        expect.append(step["expect"])
    if refused:
        return Outcome(passed=False, got={"refused": refused}, expect=expect)
    return Outcome(passed=got == expect, got=got, expect=expect)


def _ours(case: Case, name: str, value: object) -> None:
    if case[name] != value:
        raise NotOurs(f"{name}={case[name]!r}: here it is {value!r}")


def _refused(blocks: Sequence[Sequence[Any]], names: Names) -> list[list[Any]]:
    """What `check_block` refuses of blocks that a case calls valid."""
    refused = []
    for listed in blocks:
        try:
            check_block(names.on_the_wire(listed), names.committee)
        except InvalidBlock as error:
            refused.append([listed[0], listed[1], str(error)])
    return refused


def _status(decision: Decision, names: Names) -> list[Any]:
    how = [] if decision.how is None else [decision.how.value]
    slot = [decision.author, decision.round]
    if decision.leader is not None:
        slot = names.named(decision.leader)
    assert (decision.status is Status.UNDECIDED) == (not how), decision
    return [decision.status.value, *slot, *how]


def judge_linearize(case: Case) -> Outcome:
    """`got`: the blocks of each commit in final order, as `expect` writes them."""
    _ours(case, "mode", MODE)
    names = Names(committee_of(case["n"]))
    dag = Dag(names.committee)
    for listed in case["blocks"]:
        dag.accept(names.block(listed))
    linearizer = Linearizer(names.committee, gc_depth=case["gc_depth"])  # 0 is off, here as there
    got = []
    for leader in case["leaders"]:
        commit = linearizer.order(dag, names.ref(leader))
        got.append([names.named(ref) for ref in commit.blocks])
    counts = case.get("counts", [len(blocks) for blocks in got])
    # A reference may leave out its last number, if that is 0.
    wanted = [[(*ref, 0)[:3] for ref in blocks] for blocks in case["expect"]]
    return Outcome(
        passed=[[tuple(ref) for ref in blocks] for blocks in got] == wanted
        and counts == [len(blocks) for blocks in got],
        got=got,
        expect=case["expect"],
    )


def judge_validity(case: Case) -> Outcome:
    """Accepted or refused is compared; the reason may be another (cases and SPEC 3 list the rules in different orders)."""
    names = Names(committee_of(case["n"]))
    got = "ok"
    try:
        check_block(names.on_the_wire(case["block"]), names.committee)
    except InvalidBlock as error:
        got = error.flaw.value
    expect = case["expect"]
    return Outcome(passed=(got == "ok") == (expect == "ok"), got=got, expect=expect)


def judge_clock(case: Case) -> Outcome:
    """The clock of other implementations: one block above it moves it there, a quorum of authors at it one on."""
    quorum = committee_of(case["n"]).quorum
    clock = case["start"]
    authors: set[int] = set()
    got = []
    for author, round_ in case["blocks"]:
        if round_ > clock:
            clock, authors = round_, set()
        if round_ == clock:
            authors.add(author)
        # In the branch that jumps as well: a committee of one moves on by every block (SPEC 17.1).
        if len(authors) >= quorum:
            clock, authors = clock + 1, set()
        got.append(clock)
    return Outcome(passed=got == case["expect"], got=got, expect=case["expect"])


def judge_quorum_index(case: Case) -> Outcome:
    committee = committee_of(case["n"])
    got = quorum_index(case["votes"], committee.quorum)
    return Outcome(passed=got == case["expect"], got=got, expect=case["expect"])


JUDGES: Final = {
    "decide": judge_decide,
    "linearize": judge_linearize,
    "validity": judge_validity,
    "clock": judge_clock,
    "quorum_index": judge_quorum_index,
}


# --- files ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    unreadable: list[str] = field(default_factory=list)

    def cannot_read(self, error: CannotRead) -> None:
        self.unreadable.append(str(error))
        print(error, file=sys.stderr)

    @property
    def exit_status(self) -> int:
        return 2 if self.unreadable else 1 if self.failed else 0


def read_cases(path: Path) -> list[Case]:
    """Raises CannotRead."""
    try:
        loaded = json.loads(path.read_bytes().decode("utf-8"))
    except (OSError, ValueError) as error:
        raise CannotRead(f"{path}: {error}") from error
    if not isinstance(loaded, dict) or loaded.get("format") != FORMAT:
        raise CannotRead(f'{path}: not an object with "format": {FORMAT}')
    cases = loaded.get("cases")
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise CannotRead(f'{path}: "cases" is not a list of objects')
    return cases


def judge(case: Case) -> dict[str, Any]:
    """The line to print. Raises CannotRead for a case that lacks a field or has one of another shape, naming it."""
    name = case.get("id")
    run = JUDGES.get(str(case.get("kind")))
    if run is None:
        return {"id": name, "pass": None, "skipped": f"kind={case.get('kind')!r}: unknown"}
    try:
        outcome = run(case)
    except NotOurs as why:
        return {"id": name, "pass": None, "skipped": str(why)}
    except (Forked, AssertionError) as error:
        # The order stopped where a validator would stop: an answer, and a wrong one.
        stopped = f"{type(error).__name__}: {error}"
        return {"id": name, "pass": False, "got": stopped, "expect": case.get("expect")}
    except (LookupError, TypeError, ValueError, struct.error) as error:
        raise CannotRead(f"case {name}: {type(error).__name__}: {error}") from error
    return {"id": name, "pass": outcome.passed, "got": outcome.got, "expect": outcome.expect}


def judge_file(path: Path, tally: Tally) -> None:
    """One case that cannot be read hides no other: it fails, and its file counts as one that cannot be read."""
    try:
        cases = read_cases(path)
    except CannotRead as error:
        tally.cannot_read(error)
        return
    for case in cases:
        try:
            line = judge(case)
        except CannotRead as error:
            tally.cannot_read(error)
            line = {"id": case.get("id"), "pass": False, "got": f"cannot be read: {error}"}
            line["expect"] = case.get("expect")
        print(json.dumps(line, ensure_ascii=False))
        tally.passed += line["pass"] is True
        tally.failed += line["pass"] is False
        tally.skipped += line["pass"] is None


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m consensus.conformance",
        description="Judge the order by published cases; one JSON line a case.",
        epilog="Exit status: 0 all passed or not about this protocol, 1 some failed, 2 a file, or a case of it, cannot be read.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="cases, format 1")
    tally = Tally()
    for path in parser.parse_args(arguments).files:
        judge_file(path, tally)
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped", file=sys.stderr)
    return tally.exit_status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
