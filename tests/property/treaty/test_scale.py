"""I13: integers alone, none that overflows, and no more work for larger ones: to ten times the world's scale and beyond it.

Ten times the world: 10^9 chips, 10^30 FLOP (10^15 PFLOP). Beyond: every number up to 2^53 - 1, which the form lets through.
"""

import contextlib
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foedus.v1 import content_pb2 as pb
from node.ledger.records import NONCE_BYTES, decode_record, encode_derived
from node.log.errors import MalformedCbor
from node.treaty import book
from node.treaty.derived import RECORD_MAX, Finding, RunStep
from node.treaty.errors import MalformedContent
from node.treaty.law import Law
from node.treaty.policy import INTEGER_MAX
from tests.property.treaty.naive import DAY
from tests.unit.treaty.court import Court, genesis_of

NUMBERS = st.one_of(
    st.sampled_from((0, 1, 10**6, 10**9, 10**15, INTEGER_MAX - 1, INTEGER_MAX)),
    st.integers(0, INTEGER_MAX),
)
POLICY: dict[str, object] = {
    "train_close": 30 * DAY, "breach_close": 21 * DAY, "reply": 5 * DAY, "slot_s": 3_600, "notice": 1,
    "transit": 8, "transit_missing": 16,
}  # fmt: skip


def tell(court: Court, author: str, body: Any, **parts: Any) -> None:
    """Say it, or find that its form allows no such number."""
    with contextlib.suppress(MalformedContent):
        court.say(author, body, **parts)


def act(court: Court, number: Callable[[], int]) -> None:
    """One of each kind that bears numbers; where `number` is called stands any that the form allows."""
    run, site = f"r{len(court.entries)}", f"dc{len(court.entries)}"
    root = len(court.entries).to_bytes(32, "big")
    tell(
        court, "acme", pb.Facility(facility=site, capacity_mh=number(), mem_gb=number()), by=("US",)
    )
    plan = pb.Run(
        run=run, phase=pb.RUN_PHASE_PLAN, model=run, params_total=number(), pflop_plan=number(),
        forecast_bp=number() % 10_001, sites=[f"acme/{site}"],
        parents=sorted(court.law.book.state.plans)[-2:],
    )  # fmt: skip
    tell(court, "acme", plan, by=("US",))
    start = court.law.book.now
    court.pass_time(3_600)
    for chips in (number(), number()):
        count = pb.Inventory(facility=site, chip_type="H100", count=chips, serial_root=root)
        tell(court, "acme", count, by=("US",))
        usage = pb.Usage(
            facility=site, chip_type="H100", chips_on=number(), chip_seconds=number(), pflop_total=number(),
            by_class=[pb.NamedAmount(name=name, amount=number()) for name in ("infer", "idle")],
            runs=[pb.RunShare(run=f"acme/{run}", pflop=number())],
        )  # fmt: skip
        tell(court, "acme", usage, period=(0, start + 3_600))
        tell(court, "acme", usage, period=(start, start + 3_600))
    tell(
        court,
        "acme",
        pb.Energy(facility=site, meter="m", wh=number(), peak_w=number()),
        period=(0, start),
    )
    tell(court, "acme", pb.Run(run=run, phase=pb.RUN_PHASE_START), by=("US",))
    for phase in (pb.RUN_PHASE_PROGRESS, pb.RUN_PHASE_END):
        report = pb.Run(run=run, phase=phase, pflop_done=number(), oversight_pflop=number())
        tell(court, "acme", report, by=("US",))
    for kind in (
        pb.CUSTODY_TYPE_OUT,
        pb.CUSTODY_TYPE_IN,
        pb.CUSTODY_TYPE_FOUND,
        pb.CUSTODY_TYPE_LOSS,
    ):
        moved = pb.Custody(
            type=kind, chip_type="H100", count=number(), serial_root=root, origin=f"acme/{site}",
            destination=f"acme/{site}", emergency=True,
        )  # fmt: skip
        tell(court, "acme", moved)
    tell(
        court,
        "acme",
        pb.Inventory(facility=site, chip_type="H100", count=number(), serial_root=root),
        by=("US",),
    )
    score = pb.Eval(
        model=f"acme/{run}", bench_ver=number(), items=number(), score_bp=number() % 10_001
    )
    tell(court, "eval-gb", score)
    tell(
        court,
        "acme",
        pb.ChipType(chip_type=f"N{len(court.entries)}", mh=number(), peak_any=number()),
    )
    tell(court, "CN", pb.TightenNow(param="t1_flop", scale_bp=number()), by=("GB", "KE"))
    tell(court, "CN", pb.Amend(param="frontier_flop", value=number()), by=("GB", "KE"))
    tell(
        court,
        "CN",
        pb.Amend(rule="MAJ", num=max(1, number()), den=max(1, number())),
        by=("GB", "KE"),
    )
    low, high = sorted((number(), number()))
    generator = pb.Generator(
        t0=number(), v0=number(), step=number(), mul_ppm=number(), every_s=max(DAY, number()),
        clamp_lo=low, clamp_hi=high,
    )  # fmt: skip
    tell(court, "CN", pb.Amend(param="posttrain_flop", generator=generator), by=("GB", "KE"))
    court.pass_time(30)


def integers_in(value: Any) -> list[int]:
    if isinstance(value, int):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [one for item in value for one in integers_in(item)] if isinstance(value, list) else []


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_no_number_overflows_a_record(data: st.DataObject) -> None:
    """Whatever states say, each record can be written, holds what JSON holds, and the state is read back."""
    court = Court(genesis_of(policy=POLICY))
    for _ in range(2):
        act(court, lambda: data.draw(NUMBERS))
    court.pass_time(10 * DAY)
    for derived in court.record:
        fields = decode_record(encode_derived(derived, bytes(NONCE_BYTES)))
        assert all(abs(number) <= RECORD_MAX for number in integers_in(fields)), derived
    court.save()
    again = Law.restore(court.genesis, court.index, court.stored.items())
    assert again.resume(court.law.book.now) == ()
    assert again.drain_changes() == {}


def largest(court: Court) -> None:
    for _ in range(2):
        act(court, lambda: INTEGER_MAX)


def test_sums_beyond_the_limit_say_at_least_so_much() -> None:
    court = Court(genesis_of(policy=POLICY))
    largest(court)
    assert max(one.lineage_pflop for one in court.found(RunStep)) == RECORD_MAX
    numbers = [number for one in court.found(Finding) for _, number in one.numbers]
    assert max(numbers) == RECORD_MAX


def test_without_the_limit_one_report_would_have_stopped_every_node() -> None:
    with patch.object(book, "capped", lambda value, most, **filled: value):
        court = Court(genesis_of(policy=POLICY))
        largest(court)
        huge = [
            one
            for one in court.found(Finding)
            if max(dict(one.numbers).values(), default=0) >= 1 << 64
        ]
        with pytest.raises(MalformedCbor):
            encode_derived(huge[0], bytes(NONCE_BYTES))


def calls_of(scale: int) -> int:
    """Python calls that the law makes for one history whose numbers are of this scale."""
    court = Court(genesis_of(policy=POLICY))
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    factors = iter(range(1, 10_000))
    number = lambda: scale + next(factors)  # noqa: E731
    sys.setprofile(note)
    try:
        for _ in range(3):
            act(court, number)
        court.pass_time(600)
    finally:
        sys.setprofile(None)
    return count


def test_larger_numbers_are_no_more_work() -> None:
    """At a hundredth of the world, and at ten times it: the same steps to within a tenth."""
    small, large = calls_of(10**12), calls_of(10**15)
    assert abs(large - small) * 10 < small, (small, large)
