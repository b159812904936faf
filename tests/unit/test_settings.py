"""Settings are strict, complete and say what is wrong where."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.settings import (
    BadSettings,
    LimitSettings,
    ListenSettings,
    NodeSettings,
    Settings,
    documented_toml,
    host_and_port,
    load_settings,
)


def write(folder: Path, text: str) -> Path:
    path = folder / "foedus.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_documented_file_reads_back_as_it_was(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        node=NodeSettings(state="KE", passphrase_file='pass "word"\\x'),
        listen=ListenSettings(client="127.0.0.1:9001", metrics=""),
        limits=LimitSettings(watchers=3),
    )
    text = documented_toml(settings)
    assert load_settings(write(tmp_path, text), {}) == settings
    for table in (NodeSettings, ListenSettings, LimitSettings):
        for item in fields(table):
            assert f"# {item.metadata['doc']}" in text
    assert "Default: 64." in text, "a changed value shows its default"


def test_nothing_but_the_state_is_needed(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, '[node]\nstate = "US"\n'), {})
    assert settings == Settings(home=tmp_path, node=NodeSettings(state="US"))
    assert settings.genesis_path == tmp_path / "genesis.cbor"
    assert settings.store_path == tmp_path / "data" / "rocksdb"
    assert settings.passphrase_path is None


def test_absolute_paths_stand(tmp_path: Path) -> None:
    node = NodeSettings(state="US", data=str(tmp_path / "elsewhere"), passphrase_file="p")
    settings = replace(Settings(home=tmp_path), node=node)
    assert settings.data_path == tmp_path / "elsewhere"
    assert settings.passphrase_path == tmp_path / "p"


def test_the_environment_stands_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[node]\nstate = "US"\n[limits]\nwatchers = 2\n')
    environ = {
        "FOEDUS_LIMITS_WATCHERS": "9",
        "FOEDUS_LISTEN_CLIENT": "[::1]:7001",
        "FOEDUS_HOME": "of no table, so not ours to judge",
    }
    settings = load_settings(path, environ)
    assert settings.limits.watchers == 9
    assert settings.listen.client == "[::1]:7001"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["node.state", "missing"]),
        ("[node]\nstate = 3\n", ["node.state", "3", "text"]),
        ('[nodes]\nstate = "US"\n', ["[nodes]", "limits"]),
        ('[node]\nstaet = "US"\n', ["node.staet", "unknown"]),
        ('[node]\nstate = "US"\n[limits]\nwatchers = "2"\n', ["limits.watchers", "number"]),
        ('[node]\nstate = "US"\n[limits]\nwatchers = true\n', ["limits.watchers", "number"]),
        ('[node]\nstate = "US"\n[limits]\ndeadline_s = 0\n', ["limits.deadline_s", "1 to 600"]),
        ('[node]\nstate = "US"\n[pace]\nprofile = "fast"\n', ["pace.profile", "wan, drill"]),
        ('[node]\nstate = "US"\n[listen]\npeer = "x"\n', ["listen.peer", "host:port"]),
        ('[node]\nstate = "US"\n[listen]\nmetrics = "10.0.0.1:80"\n', ["metrics", "127.0.0.1"]),
        ("node = 3\n", ["node", "table"]),
        ("[node\n", ["TOML"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(BadSettings) as caught:
        load_settings(path, {})
    for word in [*words, str(path)]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FOEDUS_LIMITS_WATCHER", "3"),
        ("FOEDUS_LIMITS_WATCHERS", "many"),
        ("FOEDUS_LIMITS_WATCHERS", "\u0663"),
        ("FOEDUS_PACE_PROFILE", "fast"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, value: str) -> None:
    path = write(tmp_path, '[node]\nstate = "US"\n')
    with pytest.raises(BadSettings, match=variable):
        load_settings(path, {variable: value})


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="foedus init"):
        load_settings(tmp_path / "foedus.toml", {})


@given(st.text(max_size=30))
def test_an_address_is_read_or_refused(text: str) -> None:
    try:
        host, port = host_and_port(text)
    except BadSettings:
        return
    assert text.startswith(f"{host}:")
    assert 0 < port < 65_536
