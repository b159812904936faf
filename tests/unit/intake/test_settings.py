"""The gateway's file: every default explained and read back; every mistake named with what would be right."""

from dataclasses import replace
from pathlib import Path

import pytest

from node.intake.reading import Kind
from node.intake.settings import (
    DeviceTable,
    FacilityTable,
    IntakeSettings,
    IntakeTable,
    documented_intake,
    gateway_settings,
    load_intake,
)
from node.intake.tally import DEVICES_MAX
from node.settings import BadSettings
from tests.unit.intake.world import ANCHOR_S, AUTHOR, LEDGER, device, source

KEY = device().public_key.hex()
FACILITY = FacilityTable(facility="dc1", state="KE", chips_on=8)
DEVICE = DeviceTable(facility="dc1", device="m1", public_key=KEY)


def written(path: Path, settings: IntakeSettings) -> Path:
    path.write_text(documented_intake(settings), encoding="utf-8")
    return path


def good(tmp_path: Path) -> IntakeSettings:
    return IntakeSettings(home=tmp_path, facility=(FACILITY,), device=(DEVICE,))


def test_what_is_written_is_read_back_with_every_setting_explained(tmp_path: Path) -> None:
    settings = replace(
        good(tmp_path),
        intake=IntakeTable(nodes="KE, BR@127.0.0.1:7451", grace_s=7),
        device=(DEVICE, replace(DEVICE, kind="pflop", wraps_at=1 << 32)),
    )
    path = written(tmp_path / "intake.toml", settings)
    assert load_intake(path, {}) == settings
    assert settings.node_names == ("KE", "BR@127.0.0.1:7451")
    text = path.read_text(encoding="utf-8")
    for line in text.splitlines():
        if " = " in line and not line.startswith("#"):
            before = text[: text.index("\n" + line)].splitlines()[-1]
            assert before.startswith("# "), f"unexplained: {line}"
    assert "grace_s = 7" in text
    assert "Default: 2." in text


def test_the_first_file_says_what_is_missing(tmp_path: Path) -> None:
    path = written(tmp_path / "intake.toml", IntakeSettings(home=tmp_path))
    with pytest.raises(BadSettings, match=r"no \[\[facility\]\]"):
        load_intake(path, {})
    uncommented = path.read_text(encoding="utf-8").replace("\n# [[", "\n[[")
    assert "[[facility]]" in uncommented


def test_the_environment_stands_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "intake.toml", good(tmp_path))
    environ = {"FOEDUS_INTAKE_GRACE_S": "11", "FOEDUS_BROKER_ADDRESS": "10.0.0.7:1884"}
    settings = load_intake(path, environ)
    assert (settings.intake.grace_s, settings.broker.address) == (11, "10.0.0.7:1884")
    with pytest.raises(BadSettings, match="FOEDUS_INTAKE_GRACES"):
        load_intake(path, {"FOEDUS_INTAKE_GRACES": "1"})
    with pytest.raises(BadSettings, match="FOEDUS_INTAKE_RESEND_S"):
        load_intake(path, {"FOEDUS_INTAKE_RESEND_S": "0"})


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[broker]", "[brokers]", r"unknown table \[brokers\]"),
        ("grace_s = 2", "graze_s = 2", "intake.graze_s: unknown"),
        ("grace_s = 2", 'grace_s = "2"', "want a number"),
        ('address = "127.0.0.1:1883"', 'address = "broker"', "broker.address.*host:port"),
        ('listen = "127.0.0.1:7463"', 'listen = "0.0.0.0:7463"', "this machine alone"),
        ('state = "KE"', 'state = "K/E"', "facility 1: state = 'K/E'"),
        ("chips_on = 8", "chips_on = -1", "facility 1.chips_on = -1"),
        ('chip_type = "H100"', 'chip_type = "Z9"', "chip_type = 'Z9': want one of"),
        ("period_s = 86400", "period_s = 0", "period_s = 0"),
        ('device = "m1"', 'device = "m+"', "device 1: device"),
        ('kind = "energy"', 'kind = "heat"', "device 1.kind = 'heat': want one of power"),
        (KEY, KEY[:-2], "device 1: public_key"),
        (KEY, "zz" * 32, "device 1: public_key"),
        (KEY, "00" * 32, "prime-order"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = documented_intake(good(tmp_path))
    assert old in text
    path = tmp_path / "intake.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(BadSettings, match=words) as caught:
        load_intake(path, {})
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("facilities", "devices", "words"),
    [
        ((FACILITY, FACILITY), (), "facility 2: dc1 is there twice"),
        ((FACILITY,), (DEVICE, DEVICE), "device 2: .* is there twice"),
        ((FACILITY,), (replace(DEVICE, facility="dc9"),), r"no \[\[facility\]\] of it"),
        (
            (FACILITY,),
            tuple(replace(DEVICE, device=f"m{n}") for n in range(DEVICES_MAX + 1)),
            f"more than {DEVICES_MAX} at dc1",
        ),
    ],
)
def test_what_no_single_value_shows(
    tmp_path: Path,
    facilities: tuple[FacilityTable, ...],
    devices: tuple[DeviceTable, ...],
    words: str,
) -> None:
    settings = replace(good(tmp_path), facility=facilities, device=devices)
    with pytest.raises(BadSettings, match=words):
        load_intake(written(tmp_path / "intake.toml", settings), {})


def test_no_file_names_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="foedus intake init"):
        load_intake(tmp_path / "none.toml", {})


def test_what_the_gateway_is_built_from(tmp_path: Path) -> None:
    made = gateway_settings(
        good(tmp_path),
        ledger=LEDGER,
        author=AUTHOR,
        anchors={"dc1": ANCHOR_S},
        password="hush",
        adopt=False,
    )
    (facility,) = made.facilities
    assert (facility.anchor_s, facility.author, facility.state) == (ANCHOR_S, AUTHOR, "KE")
    assert list(made.devices) == [source(Kind.ENERGY).topic]
    assert (made.broker.host, made.broker.port) == ("127.0.0.1", 1883)
    assert "hush" not in repr(made)
