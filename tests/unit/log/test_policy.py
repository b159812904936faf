import pytest

from node.log import policy
from node.log.checkpoint import Checkpoint
from node.log.errors import MalformedNote, MalformedPolicy
from node.log.note import Note, is_key_name, signature_line
from node.signing.verify import verify_ed25519
from tests.unit.log import world

CHECKPOINT = world.checkpoint(9)
A, B, C = (str(world.COSIGNER_VKEYS[state]) for state in ("AA", "BB", "CC"))
LOG = str(world.LOG_VKEYS["AA"])


def judge(data: bytes) -> policy.Evaluation:
    return policy.evaluate(policy.parse_policy(world.POLICY), data, verify_ed25519)


def test_a_quorum_of_states_and_one_log_line_is_final() -> None:
    seen = judge(world.note(CHECKPOINT, world.STATES[:5]))
    assert seen.satisfied
    assert seen.why == ""
    assert seen.checkpoint == CHECKPOINT
    assert seen.logs == (world.LOG_VKEYS["AA"],)
    assert seen.witnesses == world.STATES[:5]
    assert seen.timestamps == tuple(range(world.TIME, world.TIME + 5))


def test_four_states_are_not_enough_however_often_they_sign() -> None:
    assert not judge(world.note(CHECKPOINT, world.STATES[:4])).satisfied
    assert not judge(world.note(CHECKPOINT, (*world.STATES[:4], "AA", "BB"))).satisfied


def test_without_a_listed_log_nothing_is_final() -> None:
    seen = judge(world.note(CHECKPOINT, world.STATES[:5], log=None))
    assert not seen.satisfied
    assert "no line by a listed log" in seen.why


def test_a_log_key_speaks_only_for_its_own_origin() -> None:
    """The key's name is the origin; a line of that name under another origin's text proves nothing."""
    other = Checkpoint(origin="elsewhere.example/log", size=9, root=CHECKPOINT.root)
    line = signature_line(world.LOG_VKEYS["AA"], world.LOG_KEYS["AA"].sign(other.text()))
    lines = (line, *(world.cosigner_line(state, other) for state in world.STATES))
    assert not judge(bytes(Note(text=other.text(), lines=lines))).satisfied


def test_one_forged_line_of_a_known_key_spoils_the_note() -> None:
    data = world.note(CHECKPOINT, world.STATES[:5])
    forged = world.cosigner_line("FF", world.checkpoint(8))
    seen = judge(data + str(forged).encode())
    assert not seen.satisfied
    assert "bad" in seen.why


def test_a_judge_checks_a_checkpoints_signatures_once_and_answers_the_same() -> None:
    checked = []

    def verify(key: bytes, message: bytes, signature: bytes) -> bool:
        checked.append(message)
        return verify_ed25519(key, message, signature)

    trusted = policy.parse_policy(world.POLICY)
    judge_ = policy.Judge(trusted, verify)
    good = world.note(CHECKPOINT, world.STATES[:5])
    few = world.note(CHECKPOINT, world.STATES[:4])
    for note in (good, few, good, few):
        assert judge_.of(note) == policy.evaluate(trusted, note, verify_ed25519)
    assert len(checked) == 6 + 5, "a log line and five, a log line and four"
    others = [
        world.note(world.checkpoint(size), world.STATES[:5])
        for size in range(1, policy.JUDGED_MAX + 1)
    ]
    for note in others:
        judge_.of(note)
    checked.clear()
    judge_.of(good)
    assert len(checked) == 6, "it remembers no more than so many"
    with pytest.raises(MalformedNote):
        judge_.of(b"nothing")


@pytest.mark.parametrize(
    "name", ["", "a+b", "a b", "a\u00a0b", "a\x1fb", "a\nb", "\ud800", "a\u2028"]
)
def test_what_is_no_key_name(name: str) -> None:
    assert not is_key_name(name)


def test_a_key_name_is_any_other_text() -> None:
    for name in ("a", "a.example/log", "\u2014", "\x7f", "x" * 10_000, "\U0010ffff"):
        assert is_key_name(name)


def test_what_is_no_note_is_an_error() -> None:
    with pytest.raises(MalformedNote):
        judge(b"nothing")


def test_nested_groups() -> None:
    text = (
        f"log {LOG}\nwitness A {A}\nwitness B {B}\nwitness C {C} https://c.example\n"
        "group inner any A B\ngroup outer all inner C\nquorum outer\n"
    )
    parsed = policy.parse_policy(text.encode())
    for names, wanted in (
        ({"A"}, False),
        ({"C"}, False),
        ({"B", "C"}, True),
        ({"A", "C", "x"}, True),
    ):
        assert parsed.satisfied_by(names) is wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "quorum none",
        "witness none {A}\nquorum none\n",
        "witness A {A}\nwitness A {B}\nquorum A\n",
        "witness A {A}\nwitness B {A}\nquorum A\n",
        "witness A {LOG}\nquorum A\n",
        "log {A}\nquorum none\n",
        "witness A {A}\ngroup g 0 A\nquorum g\n",
        "witness A {A}\ngroup g 2 A\nquorum g\n",
        "witness A {A}\ngroup g 01 A\nquorum g\n",
        "witness A {A}\ngroup A any A\nquorum A\n",
        "group g any A\nwitness A {A}\nquorum g\n",
        "witness A {A}\ngroup g any A A\nquorum g\n",
        "witness A {A}\ngroup g all A none\nquorum g\n",
        "quorum g\nwitness g {A}\n",
        "witness A {A} url extra\nquorum A\n",
        "witness A {A} # comment\nquorum A extra\n",
        "quorum\n",
        "quorum none\x00\n",
        "quorum none\x7f\n",
        "quorum none\x0b\n",
    ],
)
def test_what_is_no_policy(text: str) -> None:
    with pytest.raises(MalformedPolicy):
        policy.parse_policy(text.format(A=A, B=B, LOG=LOG).encode())


def test_names_are_octets() -> None:
    kelvin = "\u212a"
    text = f"witness {kelvin} {A}\nwitness K {B}\nquorum {kelvin}\n"
    parsed = policy.parse_policy(text.encode())
    assert parsed.satisfied_by({kelvin})
    assert not parsed.satisfied_by({"K"})
    latin = b"witness \xe9 " + A.encode() + b"\nquorum \xe9\n"
    assert policy.parse_policy(latin).quorum is not None


def test_the_derived_text_is_the_same_whatever_the_order_of_the_members() -> None:
    members = [
        policy.PolicyMember(
            state=state,
            log_key=world.LOG_VKEYS[state],
            cosigner_key=world.COSIGNER_VKEYS[state],
            url="",
        )
        for state in world.STATES
    ]
    text = policy.policy_text(members, 5)
    assert policy.policy_text(members[::-1], 5) == text
    assert text.startswith(f"log {world.LOG_VKEYS['AA']}\n".encode())
    assert text.endswith(b"group states 5 AA BB CC DD EE FF GG\nquorum states\n")
    parsed = policy.parse_policy(text)
    assert len(parsed.logs) == len(parsed.witnesses) == 7
    assert parsed.satisfied_by(set(world.STATES[2:]))
    assert not parsed.satisfied_by(set(world.STATES[3:]))
