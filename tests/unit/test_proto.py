"""The wire contract: stubs as generated, linted, and without the field types that the law cannot use.

No float or double: the law computes with integers (MODEL 2). No map: its order on the wire is not
fixed, and payloads are signed bytes. No group: a dead spelling of a message.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).resolve().parent.parent.parent
PROTO = ROOT / "proto"
FORBIDDEN = {
    FieldDescriptorProto.TYPE_FLOAT: "float",
    FieldDescriptorProto.TYPE_DOUBLE: "double",
    FieldDescriptorProto.TYPE_GROUP: "group",
}


# As `make proto` runs it: with no virtual environment on the path.
ENVIRONMENT = {
    **os.environ,
    "PATH": os.pathsep.join(
        folder
        for folder in os.get_exec_path()
        if Path(folder).resolve() != Path(sys.executable).parent.resolve()
    ),
}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(argument) for argument in arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def descriptors(folder: Path, sources: list[Path], into: Path) -> FileDescriptorSet:
    """The compiled form of `sources`, which lie below `folder`."""
    made = run(
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{folder}",
        f"--descriptor_set_out={into}",
        *sources,
    )
    assert made.returncode == 0, made.stderr
    return FileDescriptorSet.FromString(into.read_bytes())


def forbidden_fields(files: FileDescriptorSet) -> list[str]:
    return [
        f"{file.package}.{name}"
        for file in files.file
        for message in file.message_type
        for name in _forbidden_in(message, message.name)
    ]


def _forbidden_in(message: DescriptorProto, name: str) -> Iterator[str]:
    if message.options.map_entry:
        yield f"{name}: map"
    for field in (*message.field, *message.extension):
        if field.type in FORBIDDEN:
            yield f"{name}.{field.name}: {FORBIDDEN[field.type]}"
    for nested in message.nested_type:
        yield from _forbidden_in(nested, f"{name}.{nested.name}")


def test_stubs_are_those_of_the_proto_files() -> None:
    checked = run(sys.executable, PROTO / "generate.py", "--check")
    assert checked.returncode == 0, checked.stderr


def test_buf_finds_nothing() -> None:
    beside = Path(sys.executable).parent / "buf"
    buf = str(beside) if beside.exists() else shutil.which("buf")
    if buf is None:
        pytest.skip("no buf binary: `pip install buf-bin` to run this")
    linted = run(buf, "lint")
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_no_field_that_the_law_cannot_use(tmp_path: Path) -> None:
    sources = sorted((PROTO / "foedus" / "v1").glob("*.proto"))
    assert sources
    files = descriptors(PROTO, sources, tmp_path / "set")
    assert len(files.file) == len(sources)
    assert forbidden_fields(files) == []


def test_such_fields_would_be_found(tmp_path: Path) -> None:
    source = tmp_path / "bad.proto"
    source.write_text(
        'syntax = "proto2"; package bad;\n'
        "message A { optional float a = 1; message B { repeated double b = 1; }\n"
        "  map<string, int32> c = 2; optional group D = 3 { optional int32 e = 1; } }\n"
    )
    assert sorted(forbidden_fields(descriptors(tmp_path, [source], tmp_path / "set"))) == [
        "bad.A.B.b: double",
        "bad.A.CEntry: map",
        "bad.A.a: float",
        "bad.A.d: group",
    ]
