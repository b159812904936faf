"""Generate the protocol stubs beside their .proto files, or check that they are current.

    python proto/generate.py            write the stubs
    python proto/generate.py --check    exit 1 and name each stub that differs from its .proto

The stubs are committed so that running a node needs no compiler; the tests run `--check`.
"""

import os
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "foedus" / "v1"


def generate(into: Path) -> None:
    """Write every stub below `into`, in the layout of the import path. Raises SystemExit."""
    well_known = str(resources.files("grpc_tools") / "_proto")
    sources = sorted(str(path.relative_to(ROOT)) for path in PACKAGE.glob("*.proto"))
    outputs = ("python", "mypy", "grpc_python", "mypy_grpc")
    plugins = _plugins()
    arguments = ["protoc", f"-I{ROOT}", f"-I{well_known}"]
    arguments += [f"--plugin=protoc-gen-{name}={path}" for name, path in plugins.items()]
    arguments += [f"--{output}_out={into}" for output in outputs]
    if protoc.main(arguments + sources) != 0:
        raise SystemExit("protoc refused the schema: see the lines above")


def _plugins() -> dict[str, str]:
    """Where mypy-protobuf's two plugins are: beside this interpreter, or else on the PATH. Raises SystemExit."""
    folders = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    found = {}
    for name in ("mypy", "mypy_grpc"):
        path = shutil.which(f"protoc-gen-{name}", path=folders)
        if path is None:
            raise SystemExit(f"protoc-gen-{name} is missing: `make venv` installs mypy-protobuf")
        found[name] = path
    return found


def is_stub(path: Path) -> bool:
    return path.suffix in {".py", ".pyi"} and "_pb2" in path.name


def drifted(fresh: Path) -> list[str]:
    """Names of stubs that are missing, stale, or left over."""
    made = {path.name: path.read_bytes() for path in (fresh / "foedus" / "v1").iterdir()}
    held = {path.name: path.read_bytes() for path in PACKAGE.iterdir() if is_stub(path)}
    return sorted(name for name in made | held if made.get(name) != held.get(name))


def main() -> int:
    if "--check" not in sys.argv[1:]:
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        names = drifted(fresh)
    for name in names:
        print(f"{name} differs from its .proto: run `make proto`", file=sys.stderr)
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
