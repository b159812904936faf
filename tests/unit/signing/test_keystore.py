import os
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm

from node.log import cbor
from node.signing import keystore
from node.signing.errors import BadKeyFile, KeyFileError, NoMldsa, UnsafeKeyFile, WrongPassphrase
from node.signing.keys import (
    AgencyKeys,
    MldsaKey,
    NodeKeys,
    generate_agency_keys,
    generate_node_keys,
)
from node.signing.keystore import KdfCost

CHEAP = KdfCost(
    ops=1, memory_bytes=8_192
)  # the real cost is measured once below, not in every test
PASS = b"correct horse"
NODE = generate_node_keys("US", seed=b"n" * 32)
AGENCY = generate_agency_keys("US", seed=b"a" * 32)
MAGIC = b"foedus-keys/1\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    keystore.write_node_keys(tmp_path / "node.key", NODE, PASS, cost=CHEAP)
    return tmp_path / "node.key"


def test_node_keys_come_back(path: Path) -> None:
    read = keystore.read_node_keys(path, PASS)
    assert read == NODE
    assert read.block.sign(b"m") == NODE.block.sign(b"m")
    assert read.transport.private_key_pem == NODE.transport.private_key_pem


def test_the_optional_second_cosigner_comes_back(tmp_path: Path) -> None:
    keys = NodeKeys(
        state="US",
        block=NODE.block,
        log=NODE.log,
        cosigner=NODE.cosigner,
        transport=NODE.transport,
        cosigner_pq=MldsaKey.from_seed(b"q" * 32),
    )
    keystore.write_node_keys(tmp_path / "k", keys, PASS, cost=CHEAP)
    assert keystore.read_node_keys(tmp_path / "k", PASS) == keys


def test_agency_keys_come_back_with_and_without_a_vote(tmp_path: Path) -> None:
    party = AgencyKeys(author_id="acme", author=AGENCY.author, vote=None)
    for name, keys in (("agency", AGENCY), ("party", party)):
        keystore.write_agency_keys(tmp_path / name, keys, PASS, cost=CHEAP)
        assert keystore.read_agency_keys(tmp_path / name, PASS) == keys


def test_the_real_cost_is_the_ruled_one(tmp_path: Path) -> None:
    path = tmp_path / "real.key"
    keystore.write_agency_keys(path, AGENCY, PASS)
    kdf = cbor.decode_record(path.read_bytes().removeprefix(MAGIC))["kdf"]
    assert (kdf["name"], kdf["ops"], kdf["memory_bytes"]) == ("argon2id13", 3, 64 * 1024 * 1024)
    assert keystore.read_agency_keys(path, PASS) == AGENCY


def test_public_facts_need_no_passphrase_and_hold_no_secret(path: Path) -> None:
    facts = keystore.read_facts(path)
    assert (facts.kind, facts.owner) == ("node", "US")
    assert NODE.witness is not None
    assert facts.public == {
        "block": NODE.block.public,
        "log": NODE.log.public,
        "cosigner": NODE.cosigner.public,
        "witness": NODE.witness.public,
    }
    data = path.read_bytes()
    for secret in (NODE.block.seed, NODE.log.seed, NODE.cosigner.seed, b"PRIVATE KEY", PASS):
        assert secret not in data


def test_a_wrong_passphrase_is_said_and_shows_nothing(path: Path) -> None:
    with pytest.raises(WrongPassphrase) as caught:
        keystore.read_node_keys(path, b"wrong")
    assert "wrong passphrase" in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_file_is_made_with_mode_0600_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        keystore.write_agency_keys(tmp_path / "k", AGENCY, PASS, cost=CHEAP)
    finally:
        os.umask(old)
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["k"], "no temporary file is left"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o601, 0o777])
def test_a_file_that_others_can_open_is_refused_with_the_remedy(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(UnsafeKeyFile, match="chmod 600"):
        keystore.read_node_keys(path, PASS)
    with pytest.raises(UnsafeKeyFile):
        keystore.read_facts(path)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UnsafeKeyFile, match="regular"):
        keystore.read_facts(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        keystore.read_facts(tmp_path / "missing")


def test_keys_are_not_overwritten_unless_asked(path: Path) -> None:
    other = generate_node_keys("US", seed=b"o" * 32)
    with pytest.raises(FileExistsError):
        keystore.write_node_keys(path, other, PASS, cost=CHEAP)
    assert keystore.read_node_keys(path, PASS) == NODE
    keystore.write_node_keys(path, other, PASS, cost=CHEAP, replace=True)
    assert keystore.read_node_keys(path, PASS) == other
    assert [item.name for item in path.parent.iterdir()] == ["node.key"]


def test_the_two_kinds_are_not_mistaken_for_each_other(path: Path) -> None:
    with pytest.raises(BadKeyFile, match="node keys, not author keys"):
        keystore.read_agency_keys(path, PASS)


def test_every_altered_byte_is_noticed(path: Path) -> None:
    """Each byte flipped in turn: one of the errors of key files, never keys and never another exception."""
    good = path.read_bytes()
    for position in range(len(good)):
        altered = bytearray(good)
        altered[position] ^= 0x01
        path.write_bytes(bytes(altered))
        with pytest.raises(KeyFileError):
            keystore.read_node_keys(path, PASS)
    for cut in (b"", good[:14], good[:-1], good + b"\0"):
        path.write_bytes(cut)
        with pytest.raises(KeyFileError):
            keystore.read_node_keys(path, PASS)


def rewrite(path: Path, **changes: object) -> None:
    record = cbor.decode_record(path.read_bytes().removeprefix(MAGIC))
    path.write_bytes(MAGIC + cbor.encode(record | changes))


def test_the_readable_part_is_bound_to_the_box(path: Path) -> None:
    good = path.read_bytes()
    public = dict(keystore.read_facts(path).public)
    altered: list[dict[str, object]] = [
        {"owner": "CN"},
        {"public": public | {"block": bytes(32)}},
        {"public": {}},
        {"kind": "author"},
    ]
    for changes in altered:
        path.write_bytes(good)
        rewrite(path, **changes)
        with pytest.raises(BadKeyFile):
            keystore.read_node_keys(path, PASS)


def test_a_file_cannot_make_us_compute_for_ever(path: Path) -> None:
    good = path.read_bytes()
    kdf = cbor.decode_record(good.removeprefix(MAGIC))["kdf"]
    for change in (
        {"ops": 2**31},
        {"memory_bytes": 2**40},
        {"ops": 0},
        {"memory_bytes": 1},
        {"salt": b"short"},
        {"name": "scrypt"},
        {"more": 1},
        {"ops": "3"},
    ):
        path.write_bytes(good)
        rewrite(path, kdf=kdf | change)
        with pytest.raises(BadKeyFile):
            keystore.read_node_keys(path, PASS)
    path.write_bytes(b"x" * 65_537)
    with pytest.raises(BadKeyFile, match="at most"):
        keystore.read_node_keys(path, PASS)


def test_a_machine_without_ml_dsa_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lacking:
        @staticmethod
        def from_seed_bytes(seed: bytes) -> None:
            del seed
            raise UnsupportedAlgorithm("ML-DSA is not supported by this version of OpenSSL")

    monkeypatch.setattr("node.signing.keys.MLDSA44PrivateKey", Lacking)
    with pytest.raises(NoMldsa, match="no ML-DSA-44"):
        generate_node_keys("US", with_mldsa=True)
    assert generate_node_keys("US").cosigner_pq is None
