"""The two files that remember what was signed, and the lock."""

import multiprocessing
from pathlib import Path

import pytest

from node.storage.errors import StoreDamaged, StoreLocked, WriteFailed
from node.storage.sign_state import (
    BlockSigned,
    CosignSigned,
    SignState,
    block_file,
    confirm_loss,
    encode_block,
    encode_cosign,
    parse_block,
    parse_cosign,
)

BLOCK = BlockSigned(epoch=1, round=7, digest=b"d" * 32, block=b"block bytes")
COSIGN = CosignSigned(size=9, root=b"r" * 32, timestamp=1_700_000_000, signature=b"s" * 64)


def test_what_is_saved_is_loaded_after_a_restart(tmp_path: Path) -> None:
    with SignState(tmp_path) as state:
        assert state.block() is None
        assert state.cosign() is None
        state.save_block(BlockSigned(epoch=BLOCK.epoch, round=6, digest=b"x" * 32, block=b"older"))
        state.save_block(BLOCK)
        state.save_cosign(COSIGN)
    with SignState(tmp_path) as state:
        assert state.block(BLOCK.epoch) == BLOCK
        assert state.cosign() == COSIGN
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        block_file(BLOCK.epoch),
        "cosign",
        "lock",
    ]
    assert (tmp_path / block_file(BLOCK.epoch)).stat().st_mode & 0o777 == 0o600


def test_two_epochs_are_signed_in_side_by_side_and_older_ones_are_gone(tmp_path: Path) -> None:
    with SignState(tmp_path) as state:
        for epoch, round_ in ((0, 50), (1, 1), (0, 51), (1, 2)):
            state.save_block(BlockSigned(epoch=epoch, round=round_, digest=bytes(32), block=b"b"))
        newest = {epoch: state.block(epoch) for epoch in range(3)}
        assert [None if held is None else held.round for held in newest.values()] == [51, 2, None]
        state.save_block(BlockSigned(epoch=2, round=1, digest=bytes(32), block=b"b"))
        assert state.block(0) is None
        assert state.block(1) == newest[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["block", "block-odd", "lock"]


def test_golden_bytes() -> None:
    cosign = encode_cosign(COSIGN)
    assert cosign.startswith(b"foedus/cosign/1\n" + (9).to_bytes(8, "big") + b"r" * 32)
    assert len(cosign) == 16 + 8 + 32 + 8 + 64 + 32
    block = encode_block(BLOCK)
    assert block.startswith(b"foedus/block/1\n\x00\x00\x00\x01\x00\x00\x00\x07" + b"d" * 32)


@pytest.mark.parametrize(
    "data", [encode_block(BLOCK), encode_cosign(COSIGN)], ids=["block", "cosign"]
)
def test_every_flipped_bit_and_every_cut_is_found(data: bytes) -> None:
    parse = parse_block if data.startswith(b"foedus/block") else parse_cosign
    for position in range(len(data)):
        spoiled = bytearray(data)
        spoiled[position] ^= 1 << position % 8
        with pytest.raises(StoreDamaged):
            parse(bytes(spoiled))
        with pytest.raises(StoreDamaged):
            parse(data[:position])
    with pytest.raises(StoreDamaged):
        parse(data + b"\x00")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cosign").write_bytes(b"garbage")
    with SignState(tmp_path) as state, pytest.raises(StoreDamaged, match="cosign"):
        state.cosign()


def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path: Path) -> None:
    with SignState(tmp_path) as state:
        state.save_cosign(COSIGN)
    (tmp_path / "cosign.new").write_bytes(b"half a fi")
    with SignState(tmp_path) as state:
        assert state.cosign() == COSIGN
        state.save_cosign(CosignSigned(size=10, root=b"q" * 32, timestamp=1, signature=b"t" * 64))
        held = state.cosign()
        assert held is not None
        assert held.size == 10


def test_a_folder_that_refuses_writing_is_an_error(tmp_path: Path) -> None:
    with SignState(tmp_path) as state:
        (tmp_path / "cosign.new").mkdir()  # os.open for writing fails even for the superuser
        with pytest.raises(WriteFailed, match="cosign"):
            state.save_cosign(COSIGN)


def _try_lock(path: str, answer: "multiprocessing.Queue[str]") -> None:
    try:
        SignState(Path(path)).close()
    except StoreLocked:
        answer.put("locked")
    else:
        answer.put("open")


def test_the_lock_keeps_another_process_out(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answer: multiprocessing.Queue[str] = context.Queue()
    with SignState(tmp_path):
        other = context.Process(target=_try_lock, args=(str(tmp_path), answer))
        other.start()
        assert answer.get(timeout=60) == "locked"
        other.join(60)
    with SignState(tmp_path):
        pass


def test_a_word_about_a_loss_is_heard_once_and_put_aside(tmp_path: Path) -> None:
    with SignState(tmp_path) as state:
        assert not state.take_loss_confirmed()
        confirm_loss(tmp_path)
        confirm_loss(tmp_path)  # said twice before it was heard: one word
        assert state.take_loss_confirmed()
        assert not state.take_loss_confirmed()
        assert (tmp_path / "loss-confirmed.taken").exists()
        confirm_loss(tmp_path)
        assert state.take_loss_confirmed()


def test_a_word_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    with pytest.raises(WriteFailed, match="nowhere/loss-confirmed"):
        confirm_loss(tmp_path / "nowhere")
