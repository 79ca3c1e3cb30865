"""The bill of materials of an image: what is in it, and the same for the same image."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.metadata import distribution
from pathlib import Path

from image_build.sbom import bill_of_materials, write


def test_it_names_every_package_library_and_python(tmp_path: Path) -> None:
    library = tmp_path / "libz.so.1"
    library.write_bytes(b"code")
    packages = [distribution(name) for name in ("kopf", "grpcio", "PyYAML")]
    document = bill_of_materials("replicated-store-operator", "0.1.0", packages, [library])
    assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.6", 1)
    components = {component["name"]: component for component in document["components"]}
    assert components.keys() == {"python", "kopf", "grpcio", "pyyaml", "libz.so.1"}
    for name in ("kopf", "grpcio", "pyyaml"):
        assert components[name]["purl"] == f"pkg:pypi/{name}@{distribution(name).version}"
    assert components["kopf"]["licenses"], "its metadata name one"
    assert components["libz.so.1"]["hashes"][0]["content"] == hashlib.sha256(b"code").hexdigest()
    references = [component["bom-ref"] for component in document["components"]]
    assert len(set(references)) == len(references)
    (dependency,) = document["dependencies"]
    assert dependency == {"ref": document["metadata"]["component"]["bom-ref"], "dependsOn": references}


def test_it_is_the_same_for_the_same_packages_in_any_order(tmp_path: Path) -> None:
    packages = [distribution(name) for name in ("kopf", "grpcio")]
    for number, ordered in enumerate((packages, packages[::-1])):
        write(tmp_path / f"{number}.json", bill_of_materials("image", "1", ordered, []))
    assert (tmp_path / "0.json").read_bytes() == (tmp_path / "1.json").read_bytes()
    assert not re.search(r"/(home|root|tmp)/", json.dumps(json.loads((tmp_path / "0.json").read_text())))
