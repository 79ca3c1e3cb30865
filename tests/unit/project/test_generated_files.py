"""Generated files are what their sources make of them: the protobuf code, the chart's copy of the CRD, its reference.

What is compared of the protobuf code is its content, not its text: the text carries the generator's own version.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import crd_reference
import pytest
import yaml
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "replica_image"
PROTOCOLS = sorted(path.relative_to(SOURCES) for path in (SOURCES / "rstore_api" / "proto").glob("*.proto"))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """Every protocol compiled now, by its path."""
    out = tmp_path_factory.mktemp("proto") / "all.bin"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            "-I.",
            f"--descriptor_set_out={out}",
            *[str(path) for path in PROTOCOLS],
        ],
        cwd=SOURCES,
        check=True,
        timeout=60,
    )
    files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    return {file.name: without_json_names(file) for file in files.file}


def without_json_names(file: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorProto:
    """The compiler adds JSON names, the generated code leaves them out."""
    pending = list(file.message_type)
    while pending:
        message = pending.pop()
        pending.extend(message.nested_type)
        for field in message.field:
            field.ClearField("json_name")
    return file


@pytest.mark.parametrize("path", PROTOCOLS, ids=[path.stem for path in PROTOCOLS])
def test_protobuf_code_is_up_to_date(path: Path, compiled: dict[str, descriptor_pb2.FileDescriptorProto]) -> None:
    module = importlib.import_module(f"rstore_api.proto.{path.stem}_pb2")
    committed = descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    assert without_json_names(committed) == compiled[path.as_posix()], "run make generate"


@pytest.mark.parametrize("path", PROTOCOLS, ids=[path.stem for path in PROTOCOLS])
def test_stubs_and_types_cover_the_protocol(
    path: Path, compiled: dict[str, descriptor_pb2.FileDescriptorProto]
) -> None:
    file = compiled[path.as_posix()]
    stubs = (SOURCES / path.parent / f"{path.stem}_pb2_grpc.py").read_text()
    types = (SOURCES / path.parent / f"{path.stem}_pb2.pyi").read_text()
    expected = {
        f"/{file.package}.{service.name}/{method.name}" for service in file.service for method in service.method
    }
    assert set(re.findall(r"'(/[\w.]+/\w+)'", stubs)) == expected, "run make generate"
    assert set(re.findall(r"^class (\w+)\(_message\.Message\)", types, re.MULTILINE)) == {
        message.name for message in file.message_type
    }, "run make generate"
    for message in file.message_type:
        body = types.partition(f"class {message.name}(_message.Message)")[2]
        for field in message.field:
            assert re.search(rf"^    {field.name}: ", body, re.MULTILINE), f"{message.name}.{field.name}: make generate"


def test_the_charts_crds_are_copies_of_the_sources() -> None:
    for source in (ROOT / "crds").glob("*.yaml"):
        copy = ROOT / "charts" / "replicated-store-operator" / "files" / source.name
        assert copy.read_bytes() == source.read_bytes(), "run make generate"


def test_the_reference_describes_the_definition() -> None:
    page = crd_reference.page(*(yaml.safe_load(source.read_text()) for source in crd_reference.SOURCES))
    assert (ROOT / "docs" / "reference.md").read_text() == page, "run make generate"
    assert "| `regions[].storage.size` | string | `10Gi` |" in page
    assert "| `failover.leaseDuration` | string | `3s` |" in page


def test_the_folder_holds_nothing_else() -> None:
    """Every file in the folder is either a protocol or made from one."""
    stems = {path.stem for path in PROTOCOLS}
    for file in (SOURCES / "rstore_api" / "proto").glob("*.py*"):
        if file.name == "__init__.py" or file.is_dir():
            continue
        assert re.sub(r"_pb2(_grpc)?$", "", file.stem) in stems, f"{file.name} is made from no protocol"
