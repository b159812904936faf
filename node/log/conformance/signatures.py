"""Edge cases of Ed25519, of several collections."""

from collections.abc import Iterator

from node.log.conformance.cases import Case, Json, expect, unhex
from node.signing.verify import verify_ed25519


def edge_cases(data: Json) -> Iterator[Case]:
    for number, case in enumerate(data["cases"]):
        yield from _signature_case(
            f"{number}: {case.get('why', '')}",
            (case["public_key"], case["message"], case["signature"]),
            wanted=case["predicates"]["strict"],
        )


def speccheck_cases(data: Json) -> Iterator[Case]:
    for case in data["cases"]:
        yield from _signature_case(
            f"{case['i']}: {case['note']}",
            (case["pub_key"], case["message"], case["signature"]),
            wanted=case["libsodium"],
        )


def wycheproof_cases(data: Json) -> Iterator[Case]:
    for group in data["groups"]:
        for case in group["tests"]:
            yield from _signature_case(
                f"{case['tcId']}: {case['comment'] or ', '.join(case['flags'])}",
                (group["pk"], case["msg"], case["sig"]),
                wanted=case["result"] == "valid",
            )


def _signature_case(name: str, parts: tuple[str, str, str], *, wanted: bool) -> Iterator[Case]:
    seen = verify_ed25519(*unhex(parts))
    yield Case(name=name, judge=lambda: expect(seen, wanted, "verified"))
