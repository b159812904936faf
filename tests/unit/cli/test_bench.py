"""The bench's arithmetic, its statements, and how its load keeps to its bounds."""

import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foedus.v1 import content_pb2 as content_schema
from node.cli.bench import figures, meters
from node.cli.bench.load import Generator
from node.cli.bench.workload import STATEMENT_BYTES, Lane
from node.cli.errors import CouldNot
from node.log.cose import parse_entry as parse_shell
from node.signing.keys import generate_agency_keys
from node.signing.statements import FIRST_PREV, entry_hash
from node.signing.verify import verify_ed25519
from node.treaty.parsing import parse_entry

CHAIN_ID = b"c" * 32


def lane() -> Lane:
    keys = generate_agency_keys("op00", with_vote=False, seed=b"s" * 32)
    return Lane(author="op00", key=keys.author, node="US", chain_id=CHAIN_ID)


def test_statements_are_one_chain_of_equal_size_across_growing_numbers() -> None:
    made = lane()
    for seq in (0, 126, 16_382):  # where seq needs one more byte
        made.seq, before = seq, made.prev
        made.sign_more(4, STATEMENT_BYTES)
        entries = made.take(4)
        assert [len(entry) for entry in entries] == [STATEMENT_BYTES] * 4
        for number, entry in enumerate(entries, start=1):
            shell = parse_shell(entry)
            assert shell.payload is not None
            parsed = parse_entry(shell.payload)
            assert (parsed.seq, parsed.prev) == (seq + number, before)
            assert parsed.kind == "energy"
            assert parsed.confidentiality == content_schema.CONFIDENTIALITY_RESTRICTED
            assert verify_ed25519(made.key.public, shell.to_be_signed(), shell.signature)
            before = entry_hash(entry)
    assert made.ready == []
    assert made.prev != FIRST_PREV


@given(st.lists(st.tuples(st.floats(0, 1e4), st.integers(1, 50)), min_size=1, max_size=40))
def test_percentiles_are_those_of_the_entries_written_out(calls: list[tuple[float, int]]) -> None:
    entries = sorted(itertools.chain.from_iterable([ms] * count for ms, count in calls))
    for percent in (1, 50, 95, 99, 100):
        rank = -(-len(entries) * percent // 100)
        assert figures.percentile(calls, percent) == entries[rank - 1]


def test_no_entries_have_no_percentile() -> None:
    assert figures.percentile([], 50) is None


def test_the_limit_shares_the_cores_among_the_nodes() -> None:
    assert figures.signature_limit(2, 18_000.0, 4) == 9_000.0


def test_the_rate_counts_what_was_final_in_time_alone() -> None:
    answer = {
        "seconds": 2.0,
        "submitted": 100,
        "final_in_time": 80,
        "final": 100,
        "retried_calls": 1,
        "late_calls": 2,
        "calls": [[10.0, 60], [30.0, 40]],
    }
    phase = figures.joined([answer, answer], nodes=[], generator_cpu_s=0.5, wire_bytes=7)
    assert phase.entries_per_second == 80.0  # of two generators, side by side
    assert (phase.submitted, phase.final, phase.retried_calls, phase.late_calls) == (200, 200, 2, 4)
    assert figures.percentile(phase.calls, 50) == 10.0


def test_verifications_are_counted_by_the_clock() -> None:
    made = lane()
    made.sign_more(8, STATEMENT_BYTES)
    sample = [(made.key.public, entry) for entry in made.ready]
    rate = meters.verifications_per_second(sample, seconds=0.1)
    assert 500 < rate < 1e6
    forged = [(key, entry[:-1] + bytes([entry[-1] ^ 1])) for key, entry in sample]
    with pytest.raises(AssertionError, match="does not verify"):
        meters.verifications_per_second(forged, seconds=0.1)


def test_a_process_s_readings_grow_with_its_work() -> None:
    before = meters.read_process(os.getpid())
    total = sum(number * number for number in range(2_000_000))
    held = bytearray(48 * figures.MIB)
    held[::4096] = b"x" * len(held[::4096])
    after = meters.read_process(os.getpid())
    assert total > 0
    assert after.cpu_s > before.cpu_s
    assert after.rss_peak_bytes >= 48 * figures.MIB


def test_a_generator_refuses_what_it_does_not_know() -> None:
    generator = Generator()
    with pytest.raises(CouldNot, match="want lanes"):
        generator.obey({"do": "dance"})
    with pytest.raises(CouldNot, match="no lanes yet"):
        generator.obey({"do": "closed", "seconds": 1, "in_flight": 1})
