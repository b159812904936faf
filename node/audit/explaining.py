"""What is wrong with single entries: each that is not what it should be has its one finding, by the best proof at hand.

What the depths have gathered is set side by side here: entries that part from their hash, that the law gives otherwise, that
another copy holds otherwise.
"""

from collections.abc import Sequence

from node.audit.compare import Comparison
from node.audit.copies import Copy
from node.audit.findings import Depth, differing
from node.audit.store_source import StoreSource


def explain(copy: Copy, beside: Sequence[tuple[Copy, Comparison]]) -> None:
    """One finding for each entry that is not what it should be. `beside`: other copies, compared from this one's side."""
    wrong = set(copy.structure.parted) | set(copy.law.expected)
    for _, comparison in beside:
        wrong |= set(comparison.differing) | set(comparison.hashes_differ)
    for index in sorted(wrong):
        if not (_by_law(copy, index) or _by_others(copy, index, beside)):
            _by_hash(copy, index)
    for other, comparison in beside:
        _lengths(copy, other, comparison)


def _by_law(copy: Copy, index: int) -> bool:
    """By what the signed blocks and the law give; by the log's own commits only where nothing better says otherwise."""
    expected = copy.law.expected.get(index)
    if expected is None:
        return copy.law_from_blocks and index < copy.law.entries and _its_hash(copy, index)
    final = copy.final
    covered = final is not None and index < final.size
    if not copy.law_from_blocks and not copy.stands:
        return False
    what = "altered: the signed blocks and the law give other bytes"
    signers: tuple[str, ...] = ()
    if covered and copy.stands and final is not None:
        what = f"the law gives other bytes than these, which {', '.join(final.signers)} cosigned"
    elif covered and final is not None and (copy.hashes_stand or copy.law.root == final.root):
        signers = final.signers
    span = differing(copy.source.entries(index, 1)[0], expected)
    copy.findings.add(Depth.LAW, what, entry=index, byte_range=span, proven_by=signers)
    return True


def _its_hash(copy: Copy, index: int) -> bool:
    """The entry is what the law gives: then, if it parted from its hash, the hash is wrong."""
    if index in copy.structure.parted:
        copy.findings.add(
            Depth.STRUCTURE,
            f"the stored tree hash of level 0, index {index} was altered: the entry is what blocks and law give",
        )
    return True


def _by_others(copy: Copy, index: int, beside: Sequence[tuple[Copy, Comparison]]) -> bool:
    """By another copy, if that one stands."""
    for other, comparison in beside:
        pair = comparison.differing.get(index)
        final = other.final
        if pair is None or final is None or index >= final.size or not other.stands:
            continue
        if copy.stands and copy.final is not None and index < copy.final.size:
            what = f"differs from {other.source.name}, and both lead to cosigned roots"
            signers: tuple[str, ...] = ()
        else:
            what = f"altered: {other.source.name} holds the bytes that lead to the cosigned root"
            signers = final.signers
        copy.findings.add(
            Depth.COMPARE,
            what,
            entry=index,
            byte_range=differing(*pair),
            proven_by=signers,
        )
        return True
    return False


def _by_hash(copy: Copy, index: int) -> None:
    """By this copy's own tree, which tells the entry but no bytes; or by nothing but the difference."""
    final = copy.final
    covered = final is not None and index < final.size
    if index in copy.structure.parted:
        if covered and copy.stands and final is not None:
            copy.findings.add(
                Depth.STRUCTURE,
                f"the stored tree hash of level 0, index {index} was altered: the entry leads to the cosigned root",
                proven_by=final.signers,
            )
        elif covered and copy.hashes_stand and final is not None:
            what = "altered: its stored leaf hash leads to the cosigned root, the entry does not"
            copy.findings.add(Depth.STRUCTURE, what, entry=index, proven_by=final.signers)
        else:
            what = "the entry and its stored leaf hash do not belong together"
            copy.findings.add(Depth.STRUCTURE, what, entry=index)
    elif index in copy.law.expected:
        span = differing(copy.source.entries(index, 1)[0], copy.law.expected[index])
        what = "the law, run over this log's own commits, gives other bytes here"
        copy.findings.add(Depth.LAW, what, entry=index, byte_range=span)
    elif not copy.stands:
        copy.findings.add(Depth.COMPARE, "differs from another copy", entry=index)


def _lengths(copy: Copy, other: Copy, comparison: Comparison) -> None:
    """What another copy has as final and this one, a damaged store, has not."""
    final = other.final
    source = copy.source
    if final is None or not isinstance(source, StoreSource) or source.opening_error is None:
        return
    if final.size > source.size and comparison.upto == source.size:
        copy.findings.add(
            Depth.COMPARE,
            f"lost: {other.source.name} holds them, and this store's files cannot be read",
            entries=(source.size, final.size - 1),
            file=source.damaged_file,
            proven_by=final.signers,
        )
