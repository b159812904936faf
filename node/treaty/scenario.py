"""Run scenarios of the law: `python -m node.treaty.scenario FILE...` (LAW sections 0 to 3).

Prints one JSON line per scenario, {"name", "pass", "failures"}, and exits 1 if any fails; 2 if a file
or a scenario in it cannot be understood, which standard error tells with file, step and field. A step
becomes a real protobuf entry, goes through `parse_entry` and `Law.apply` like any other, and every
expectation is read from the law's own rows and derived values. Labels stand for hashes: an entry's
hash is the SHA-256 of its label, so refs need no table. Nothing imports this script.
"""

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty import ballots, consent
from node.treaty.cases import UNDECIDED
from node.treaty.codes import DROPPED, Code
from node.treaty.derived import Decision, Finding, FindingEnded, MotionOpened, PolicyStep
from node.treaty.entries import NO_PREVIOUS, Entry
from node.treaty.errors import MalformedContent
from node.treaty.genesis import LAW_VERSION, FoundingMember, FoundingParty, GenesisFacts
from node.treaty.law import Law
from node.treaty.memory_index import MemoryIndex
from node.treaty.parsing import parse_entry
from node.treaty.register import kid_of
from node.treaty.rows.motions import Motion
from node.treaty.rules import one_state_could_change
from node.treaty.scenario_entries import CHAIN_ID, Unwritable, label_hash, write_content
from node.treaty.scenario_form import PAYLOADS, MalformedScenario, check_scenario, subject_of
from node.treaty.veto import veto_check

ANY: Final = object()  # as an expected code: whatever comes
OFFER_OF: Final = "the offer of "  # begins the names of the entries that are no steps
_HASH: Final = re.compile("[0-9a-f]{64}")
_HASHES: Final = frozenset({"serial_root", "code_hash", "doc_root", "document"})


def key_of(author: str, purpose: str) -> bytes:
    return hashlib.sha256(f"{purpose} key of {author}".encode()).digest()


class Scenario:
    """One scenario on its way: the law, the index, and what has been derived."""

    def __init__(self, form: dict[str, Any]) -> None:
        check_scenario(form)
        self.form = form
        self.failures: list[str] = []
        self.index = MemoryIndex()
        try:
            self.law = Law.at_genesis(genesis_of(form), self.index)
        except ValueError as err:
            raise MalformedScenario("", f"no such founding: {err}") from None
        self.decided: dict[str, Decision] = {}
        self.findings: dict[str, Finding] = {}
        self.policy_steps: dict[str, PolicyStep] = {}
        self.codes: dict[str, Code | None] = {}
        self.uncountersigned: dict[str, bool] = {}
        self.leaf = 0
        self.labels: dict[str, str] = {}  # hashes in hex, as they stand in derived ids -> labels
        self.ids: dict[str, str] = {}  # derived ids, with labels for hashes -> as the law has them
        self.ended: set[str] = set()  # findings
        self.offers: dict[
            str, list[int]
        ] = {}  # author -> the seqs of its offers, which the scenario does not count

    def run(self) -> list[str]:
        for name, step in _with_offers(self.form["steps"]):
            if (
                "still_since" in step
            ):  # a commit came then, and the next one comes now (RULINGS R34)
                self._keep(self.law.advance(step["still_since"]))
                self._keep(self.law.stood_still(step["still_since"], step["at"]))
            self._keep(self.law.advance(step["at"]))
            said = _said(step)
            if said is not None:
                self._enter(name, step, *said)
            for expected in step.get("expect", ()):
                self._expect(step["at"], expected)
        return self.failures

    def _keep(self, derived: tuple[object, ...]) -> None:
        for value in derived:
            match value:
                case Decision():
                    self.decided[self._shown(value.motion)] = value
                case MotionOpened():
                    self._shown(value.motion)
                case Finding():
                    self.findings[self._shown(value.finding)] = value
                case FindingEnded():
                    self.ended.add(self._shown(value.finding))
                case PolicyStep():
                    self.policy_steps[self._shown(value.motion)] = value
                case _:
                    pass

    def _shown(self, derived_id: str) -> str:
        """A derived id as scenarios write it: with labels for the hashes inside."""
        shown = _HASH.sub(lambda found: self.labels.get(found[0], found[0]), derived_id)
        self.ids[shown] = derived_id
        return shown

    def id_of(self, shown: str) -> str:
        """The other way round."""
        return self.ids.get(shown, shown)

    def _as_the_law_has_it(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Derived ids in a payload; and its hashes are remembered by their labels."""
        for name in _HASHES.intersection(payload):
            if isinstance(payload[name], str):
                self.labels[label_hash(payload[name]).hex()] = payload[name]
        named = {
            name: self.id_of(payload[name])
            for name in ("motion", "about", "mandate")
            if isinstance(payload.get(name), str)
        }
        site = payload.get("site")
        if site in self.codes and site not in self.law.book.state.facilities:
            named["site"] = label_hash(site).hex()  # a note stands for the place it speaks of (K37)
        refs = payload.get("refs")
        if not isinstance(refs, list) or not all(isinstance(ref, str) for ref in refs):
            return payload | named
        return payload | named | {"refs": [self.id_of(ref) for ref in refs]}

    def _enter(self, name: str, step: dict[str, Any], sort: str, payload: dict[str, Any]) -> None:
        self.labels[label_hash(name).hex()] = name
        code, why = self._submit(name, step, sort, payload)
        if code not in DROPPED or self.codes.get(name, code) in DROPPED:
            self.codes[name] = (
                code  # of the entry that its label stands for, if one of the tries is on the ledger
            )
        wanted = step.get("rejected")
        if code != wanted and wanted is not ANY:
            self.failures.append(f"{step['at']} {name}: {code or 'accepted'} ({why}), not {wanted}")

    def _submit(
        self, name: str, step: dict[str, Any], sort: str, payload: dict[str, Any]
    ) -> tuple[Code | None, str]:
        author = step["by"]
        seq, prev = self.law.author_tip(author)
        if name.startswith(OFFER_OF):
            self.offers.setdefault(author, []).append(seq)
        elif "seq" in step and (wanted := self._with_the_offers(author, step["seq"])) != seq:
            earlier = self.index.at_seq(author, wanted - 1)
            seq, prev = wanted, earlier.entry_hash if earlier else NO_PREVIOUS
        attesting = payload.get("attested_by", ())
        attesting = attesting if isinstance(attesting, list) else ()
        endorsers = sorted(
            {*step.get("with", ()), *(one for one in attesting if isinstance(one, str))}
        )
        try:
            content = write_content(author, sort, self._as_the_law_has_it(payload))
            envelope = pb.Envelope(
                content=content, seq=seq, prev=prev, endorsements=[b"" for _ in endorsers]
            )
            parsed = parse_entry(envelope.SerializeToString())
        except (MalformedContent, Unwritable) as err:
            return Code.SCHEMA, str(err)
        entry = Entry(
            entry_hash=label_hash(name),
            name=name,
            leaf=self.leaf,
            kid=kid_of(key_of(author, "vote" if parsed.kind == "vote" else "author")),
            parsed=parsed,
            endorsers=tuple(endorsers),
        )
        outcome = self.law.apply(entry)
        if outcome.facts is not None:
            self.leaf += 1
            self.index.add(outcome.facts)
        if outcome.facts is not None or name not in self.codes:
            self.uncountersigned[name] = outcome.uncountersigned
        self._keep(outcome.derived)
        return outcome.code, outcome.why

    def _with_the_offers(self, author: str, seq: int) -> int:
        """The place in the author's chain that the scenario calls `seq`: its offers are no steps, but entries."""
        for used in self.offers.get(author, ()):
            seq += used <= seq
        return seq

    def _expect(self, at_s: int, expected: dict[str, Any]) -> None:
        subject = subject_of(expected)
        seen = _VIEWS[subject](self, expected[subject], expected)
        if not seen and not _says_there_is_none(subject, expected):
            self.failures.append(f"{at_s} {subject} {expected[subject]}: there is none")
            return
        for field, value in expected.items():
            if field == subject and field not in {
                "findings",
                "eif",
            }:  # there it is what is expected
                continue
            if field == "at" and subject == "policy":
                continue
            if seen.get(field) != value:
                self.failures.append(
                    f"{at_s} {subject} {expected[subject]}: {field} is {seen.get(field)!r}, not {value!r}"
                )


def _says_there_is_none(subject: str, expected: dict[str, Any]) -> bool:
    """Whether its nulls mean that the thing is missing, and not merely that it has no such value."""
    if subject == "case":  # its fields are compared with nothing
        return True
    telling = {"motion": "state", "run": "status"}.get(subject)
    return telling in expected and expected[telling] is None


def _with_offers(steps: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Each step with its name; and before one that says `offered` the offer note, which starts the 72 hours (RULINGS R15).

    The offer is no step of the scenario: nothing is expected of it.
    """
    named = [(step.get("id", f"step{number}"), step) for number, step in enumerate(steps)]
    offers: dict[tuple[str, bytes], tuple[str, dict[str, Any]]] = {}
    for name, step in named:
        content = _offered_content(step)
        if content is not None:
            digest = hashlib.sha256(content).digest()
            note = {"kind": "note", "type": "offer", "hash": digest}
            offer = {"at": step["offered"], "by": step["by"], "statement": note, "rejected": ANY}
            offers.setdefault((step["by"], digest), (OFFER_OF + name, offer))
    return sorted([*offers.values(), *named], key=lambda one: int(one[1]["at"]))


def _offered_content(step: dict[str, Any]) -> bytes | None:
    """None where nothing is offered, or what cannot be written."""
    said = _said(step)
    if "offered" not in step or said is None:
        return None
    try:
        return write_content(step["by"], *said)
    except Unwritable:
        return None


def _said(step: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Which of statement, motion and vote, and what it holds."""
    return next(((sort, step[sort]) for sort in PAYLOADS if sort in step), None)


def genesis_of(form: dict[str, Any]) -> GenesisFacts:
    members = tuple(
        FoundingMember(
            state=state, author_key=key_of(state, "author"), vote_key=key_of(state, "vote")
        )
        for state in form["members"]
    )
    return GenesisFacts(
        chain_id=CHAIN_ID,
        time_s=0,
        drill=False,
        law_version=form.get("law_version", LAW_VERSION),
        states=(*form["members"], *form.get("states", ())),
        members=members,
        parties=(*_parties(form), *_outsiders(form)),
        policy=form.get("policy", {}),
        world_capacity_mh=form.get("world", {}).get("capacity_mh", {}),
        world_fab=form.get("world", {}).get("fab", {}),
        beacon=bytes.fromhex(form.get("beacon", "00" * 32)),
        qualified_ids=False,
    )


def _parties(form: dict[str, Any]) -> tuple[FoundingParty, ...]:
    listed = {"SEC": {"role": "secretariat", "state": "SEC"}} | form.get("parties", {})
    return tuple(
        FoundingParty(
            party=name,
            role=party["role"],
            state=party["state"],
            owners=tuple(party.get("owners", ())),
            author_key=key_of(name, "author"),
            vote_key=key_of(
                name, "vote"
            ),  # scenarios know no keys: who may not vote is told so by role
        )
        for name, party in listed.items()
    )


def _outsiders(form: dict[str, Any]) -> tuple[FoundingParty, ...]:
    """States of the genesis list that are no members yet: known, so that they may accede (LAW K28)."""
    return tuple(
        FoundingParty(
            party=state,
            role="state",
            state=state,
            author_key=key_of(state, "author"),
            vote_key=key_of(state, "vote"),
        )
        for state in form.get("states", ())
        if state not in form["members"]
    )


# --- What the law says of a thing, in the words of LAW section 3 -----------------------------------


def _motion(run: Scenario, name: str, _: dict[str, Any]) -> dict[str, Any]:
    decision = run.decided.get(name)
    row = run.law.book.state.motions.get(run.id_of(name))
    stands = decision or row  # a call-up changes what was fixed at filing
    if stands is None:
        return {}
    seen: dict[str, Any] = {
        "direction": _direction(stands),
        "rule": stands.rule,
        "threshold": stands.threshold,
        "eligible": list(stands.eligible),
        "panel": list(stands.panel),
    }
    if decision is not None:
        return seen | {
            "state": "CLOSED",
            "outcome": decision.outcome,
            "yes": decision.yes,
            "no": decision.no,
            "abstain": decision.abstain,
            "absent": decision.absent,
            "closed_at": decision.closed_at,
            "in_force_at": decision.in_force_at,
            "effective": _is_effective(run, decision),
            "one_state_could_change": bool(decision.one_state_could_change),
        }
    assert row is not None, f"motion {name} is neither open nor decided"
    counts = ballots.counts_of(row)
    return seen | {
        "state": "OPEN",
        "yes": counts.yes,
        "no": counts.no,
        "abstain": counts.abstain,
        "absent": counts.silent + counts.barred,
        "in_force_at": row.filed_at if row.kind in _ACT_WHEN_FILED else None,
        "effective": _acts_since_filing(run, name),
        "one_state_could_change": one_state_could_change(
            row.rule, row.threshold, counts, ballots.lift_of(run.law.book, run.id_of(name))
        ),
    }


_ACT_WHEN_FILED: Final = frozenset({"HALT", "TIGHTEN_NOW"})


def _direction(motion: Decision | Motion) -> str | None:
    """Of an AMEND, which its rule tells."""
    if motion.kind != "AMEND":
        return None
    return "loosen" if motion.rule == "HIGH" else "tighten"


def _acts_since_filing(run: Scenario, motion: str) -> bool:
    """Whether a halt or a TIGHTEN_NOW is in effect, decided or not."""
    state = run.law.book.state
    held = any(motion in life.halts for life in state.lives.values())
    return held or motion in state.halts or motion in state.tightenings


def _is_effective(run: Scenario, decision: Decision) -> bool:
    """Whether a decided motion acts at this second (LAW section 3)."""
    now, name = run.law.book.now, decision.motion
    match decision.kind:
        case "HALT" | "TIGHTEN_NOW":
            return _acts_since_filing(run, name)
        case "AMEND":
            step = run.policy_steps.get(name)
            return step is not None and step.event == "IN_FORCE"
        case _:
            ended = decision.until is not None and now >= decision.until
            return decision.in_force_at is not None and not ended


def _entry(run: Scenario, name: str, _: dict[str, Any]) -> dict[str, Any]:
    if name not in run.codes:
        return {}
    return {"rejected": run.codes.get(name), "uncountersigned": run.uncountersigned.get(name)}


def _finding(run: Scenario, name: str, _: dict[str, Any]) -> dict[str, Any]:
    finding = run.findings.get(name)
    if finding is None:
        return {"severity": None}
    return {
        "severity": finding.severity,
        "subject": finding.subject,
        "check": finding.check,
        "open": name not in run.ended,
    }


def _findings(run: Scenario, _name: str, _: dict[str, Any]) -> dict[str, Any]:
    return {"findings": sorted(run.findings)}


def _case(run: Scenario, name: str, _: dict[str, Any]) -> dict[str, Any]:
    case = run.law.book.state.cases.get(run.id_of(name))
    if case is None:
        return {}
    result = None if case.status in UNDECIDED else case.result
    return {"status": case.status, "severity": case.severity, "result": result}


def _run(run: Scenario, name: str, _: dict[str, Any]) -> dict[str, Any]:
    life = run.law.book.state.lives.get(name)
    if life is None:
        return {}
    return {"status": life.status, "tier": life.tier, "lineage_pflop": life.lineage}


def _naming(run: Scenario, name: str, _: dict[str, Any]) -> dict[str, Any]:
    book = run.law.book
    return {
        "owners": list(book.state.parties[name].owners),
        "claimed": sorted(consent.claimed_owners(book, name)),
        "heard": consent.is_heard(book, name),
    }


def _policy(run: Scenario, name: str, expected: dict[str, Any]) -> dict[str, Any]:
    return {"value": run.law.policy_value(name, expected["at"])}


def _member(run: Scenario, name: str, _: dict[str, Any]) -> dict[str, Any]:
    return {"status": run.law.members().get(name, "OUTSIDE")}


def _eif(run: Scenario, _name: str, _: dict[str, Any]) -> dict[str, Any]:
    since = run.law.in_force_since()
    return {"eif": "PROVISIONAL" if since is None else "IN_FORCE", "since": since}


def _veto_check(run: Scenario, members: int | str, _: dict[str, Any]) -> dict[str, Any]:
    row = (
        run.law.veto_check() if isinstance(members, str) else veto_check(members, run.law.book.now)
    )
    rules = ("maj", "sup", "high", "stop")
    return {
        "k": row.k,
        "f": row.f,
        "q": row.trigger,
        "veto_possible": bool(row.veto_possible),
        "all": {rule: getattr(row, f"all_{rule}") for rule in rules},
        "one_recused": {rule: getattr(row, f"one_recused_{rule}") for rule in rules},
    }


_VIEWS: Final = {
    "motion": _motion,
    "entry": _entry,
    "finding": _finding,
    "findings": _findings,
    "case": _case,
    "run": _run,
    "naming": _naming,
    "policy": _policy,
    "member": _member,
    "eif": _eif,
    "veto_check": _veto_check,
}


def _no_float(text: str) -> int:
    raise ValueError(f"{text} is no integer")


def _forms_of(file: str) -> list[Any]:
    """The scenarios of a file. Raises OSError, ValueError."""
    loaded = json.loads(
        Path(file).read_text(encoding="utf-8"), parse_float=_no_float, parse_constant=_no_float
    )
    return loaded if isinstance(loaded, list) else [loaded]


def main(files: list[str]) -> int:
    """Exit code: 0 all hold, 1 some fail, 2 some file or scenario is not understood."""
    worst = 0
    for file in files:
        try:
            forms = _forms_of(file)
        except (OSError, ValueError) as err:  # what is not UTF-8 and not JSON are ValueErrors too
            print(f"{file}: {err}", file=sys.stderr)
            worst = 2
            continue
        for number, form in enumerate(forms):
            name = form.get("name") if isinstance(form, dict) else None
            try:
                failures = Scenario(form).run()
            except MalformedScenario as err:
                failures = [f"malformed: {err}"]
                print(f"{file}: scenario {number} ({name}): {err}", file=sys.stderr)
                worst = 2
            worst = max(worst, 1 if failures else 0)
            line = {"name": name, "pass": not failures, "failures": failures}
            print(json.dumps(line, ensure_ascii=False))
    return worst


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m node.treaty.scenario FILE...")
    sys.exit(main(sys.argv[1:]))
