"""A second implementation of the commit rule, from bytes alone: checks a decision log against the blocks that it names.

It shares no code with the project: blocks are read with `struct`, names are hashed here, and the rule is written as SPEC 6 says
it, slowly. What each line of a log claims, and what is held against it:

    commit direct      a quorum of authors of round slot+2 named as deciders, each with a quorum of parents that vote for it
    skip direct        a quorum of authors of round slot+1 named as deciders, and for each block of the slot as many that do not
                       vote for it
    indirect           the first slot from slot+3 on that the log commits is the anchor: in its history a block of round slot+2
                       certifies the block that is committed, or none certifies any
    certified          nothing: a quorum's certificate stands behind it, not blocks (SPEC 11)

The leader of a slot is the author at place slot modulo n of the epoch's order. An indirect line whose anchor is not in the log
yet cannot be checked, and is counted as open.
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Name = tuple[int, int, str]  # round, author, digest in hex: as the log has it


class WrongLine(Exception):
    """Names the slot, what the log says, and what the blocks say."""


def parsed(data: bytes) -> tuple[Name, list[Name]]:
    """A block's name and its parents' (SPEC 2 and RULINGS R7, R8): header, payload and signature in this order."""
    _, _, round_, author, _, _ = struct.unpack_from(">32sIIHQB", data)
    at = 32 + 4 + 4 + 2 + 8 + 1
    (count,) = struct.unpack_from(">H", data, at)
    parents = [struct.unpack_from(">IH32s", data, at + 2 + 38 * place) for place in range(count)]
    at += 2 + 38 * count + 32 + 4  # payload root and length
    (votes,) = struct.unpack_from(">H", data, at)
    at += 2 + 40 * votes
    (proofs,) = struct.unpack_from(">H", data, at)
    at += 2 + (4 + 4 + 2 + 2 * (32 + 64)) * proofs
    label = b"block/1"
    digest = hashlib.sha256(bytes([len(label)]) + label + data[:at]).hexdigest()
    return (round_, author, digest), [(r, a, d.hex()) for r, a, d in parents]


class Checker:
    def __init__(self, blocks: Iterable[bytes], leaders: Sequence[int]) -> None:
        """`leaders`: the epoch's order (R11)."""
        self.parents: Mapping[Name, list[Name]] = dict(map(parsed, blocks))
        self.leaders = leaders
        self.quorum = 2 * len(leaders) // 3 + 1

    def votes(self, name: Name, leader: Name) -> bool:
        return name[0] == leader[0] + 1 and leader in self.parents.get(name, ())

    def certifies(self, name: Name, leader: Name) -> bool:
        above = self.parents.get(name, ())
        voters = {parent[1] for parent in above if self.votes(parent, leader)}
        return name[0] == leader[0] + 2 and len(voters) >= self.quorum

    def history(self, name: Name) -> set[Name]:
        found, pending = {name}, [name]
        while pending:
            for parent in self.parents.get(pending.pop(), ()):
                if parent in self.parents and parent not in found:
                    found.add(parent)
                    pending.append(parent)
        return found

    def check(self, lines: Sequence[Mapping[str, Any]]) -> Counter[str]:
        """How many lines of each kind hold. Raises WrongLine."""
        done: Counter[str] = Counter()
        for place, line in enumerate(lines):
            slot = line["slot"]
            if place and (slot, line["commit"] >= lines[place - 1]["commit"]) != (
                lines[place - 1]["slot"] + 1,
                True,
            ):
                raise WrongLine(f"slot {slot} after {lines[place - 1]['slot']}")
            if line["member"] != self.leaders[slot % len(self.leaders)]:
                raise WrongLine(f"slot {slot}: led by {line['member']}")
            if (line["decision"] == "commit") != (line["block"] is not None):
                raise WrongLine(f"slot {slot}: {line['decision']} of {line['block']}")
            if line["how"] == "direct":
                self._check_direct(line)
            kind = line["how"]
            if kind == "indirect" and not self._check_indirect(line, lines[place:]):
                kind = "open"
            done[f"{line['decision']} {kind}"] += 1
        return done

    def _check_direct(self, line: Mapping[str, Any]) -> None:
        slot, member = line["slot"], line["member"]
        deciders = [(r, a, d) for r, a, d in line["deciders"]]
        if line["decision"] == "commit":
            leader = (slot, member, line["block"])
            authors = {name[1] for name in deciders if self.certifies(name, leader)}
            if len(authors) < self.quorum:
                raise WrongLine(f"slot {slot}: {len(authors)} authors certify {line['block']}")
            return
        proposals = [name for name in self.parents if name[:2] == (slot, member)]
        above = [name for name in deciders if name[0] == slot + 1 and name in self.parents]
        nobody = (
            slot,
            member,
            "",
        )  # where the slot is empty, so many blocks must be there all the same
        for proposal in [*proposals, nobody]:
            blaming = {name[1] for name in above if not self.votes(name, proposal)}
            if len(blaming) < self.quorum:
                raise WrongLine(f"slot {slot}: {len(blaming)} authors leave out {proposal}")

    def _check_indirect(self, line: Mapping[str, Any], later: Sequence[Mapping[str, Any]]) -> bool:
        slot, member = line["slot"], line["member"]
        anchor = next(
            (a for a in later if a["slot"] >= slot + 3 and a["decision"] == "commit"), None
        )
        if anchor is None:
            return False
        history = self.history((anchor["slot"], anchor["member"], anchor["block"]))
        certified = {
            leader[2]
            for leader in self.parents
            if leader[:2] == (slot, member)
            and any(self.certifies(name, leader) for name in history)
        }
        if certified != ({line["block"]} if line["block"] is not None else set()):
            raise WrongLine(f"slot {slot}: {line['block']}, its anchor has {sorted(certified)}")
        return True
