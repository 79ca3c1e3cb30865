"""OCI archives: a root file tree and a Dockerfile's settings as one file that every container runtime loads.

The archive is an OCI image layout (OCI Image Format Specification 1.1) and, by its ``manifest.json``, what
``docker load`` reads too. The same tree gives the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from image_build.dockerfile import Stage
from image_build.rootfs import LIBRARIES

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CREATED = "1970-01-01T00:00:00Z"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CHUNK_BYTES = 1 << 20


def full_name(name: str) -> str:
    """Returns an image's name as runtimes complete it: with the registry docker.io and the path library."""
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def write(archive: Path, root: Path, settings: Stage, name: str) -> None:
    """Writes the archive of a tree. ``name`` is the image's name with its tag."""
    layer = archive.with_suffix(".layer")
    try:
        uncompressed = _write_layer(layer, root)
        config = _json(_config(settings, uncompressed))
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": _descriptor(_CONFIG, config),
                "layers": [{"mediaType": _LAYER, "digest": _digest_of(layer), "size": layer.stat().st_size}],
            }
        )
        annotations = {
            "io.containerd.image.name": full_name(name),
            "org.opencontainers.image.ref.name": name.rpartition(":")[2],
        }
        index = _json(
            {
                "schemaVersion": 2,
                "mediaType": _INDEX,
                "manifests": [{**_descriptor(_MANIFEST, manifest), "annotations": annotations}],
            }
        )
        layer_blob = _blob(_digest_of(layer))
        for_docker = _json([{"Config": _blob(_digest(config)), "RepoTags": [name], "Layers": [layer_blob]}])
        with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
            _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
            _add(tar, "index.json", index)
            _add(tar, "manifest.json", for_docker)
            for content in (config, manifest):
                _add(tar, _blob(_digest(content)), content)
            info = tarfile.TarInfo(layer_blob)
            info.size, info.mode = layer.stat().st_size, 0o644
            with layer.open("rb") as file:
                tar.addfile(info, file)
    finally:
        layer.unlink(missing_ok=True)


def _config(settings: Stage, layer_digest: str) -> dict[str, Any]:
    """Returns the image's configuration, from the Dockerfile's last stage."""
    arguments = {key: value for one in settings.all("ARG") for key, value in one.pairs.items()}
    environment = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": f"/{LIBRARIES}"}
    environment |= {key: _filled(value, environment) for key, value in settings.environment().items()}
    return {
        "created": _CREATED,
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {
            "User": settings.all("USER")[-1].text,
            "Env": [f"{key}={value}" for key, value in environment.items()],
            "Entrypoint": settings.all("ENTRYPOINT")[-1].words,
            "WorkingDir": settings.all("WORKDIR")[-1].text,
            "ExposedPorts": {f"{port}/tcp": {} for one in settings.all("EXPOSE") for port in one.words},
            "Labels": {key: _filled(value, arguments) for key, value in settings.labels().items()},
        },
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        "history": [{"created": _CREATED, "created_by": "make images"}],
    }


def _filled(value: str, variables: Mapping[str, str]) -> str:
    for key, text in variables.items():
        value = value.replace(f"${{{key}}}", text).replace(f"${key}", text)
    return value


def _write_layer(layer: Path, root: Path) -> str:
    """Writes a tree as a compressed tar; returns the digest of the uncompressed one."""
    digest = _Hashing()
    with (
        layer.open("wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0, filename="") as compressed,
    ):
        digest.target = compressed
        with tarfile.open(fileobj=digest, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(root.rglob("*")):
                info = tar.gettarinfo(path, arcname=str(path.relative_to(root)))
                info.uid = info.gid = 0
                info.uname = info.gname = ""
                info.mtime = 0
                if info.isreg():
                    with path.open("rb") as content:
                        tar.addfile(info, content)
                else:
                    tar.addfile(info)
    return f"sha256:{digest.sha256.hexdigest()}"


class _Hashing(io.RawIOBase):
    """A file that hashes what is written through it."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()
        self.target: gzip.GzipFile

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.sha256.update(content)
        return self.target.write(content)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _digest_of(file: Path) -> str:
    sha256 = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            sha256.update(chunk)
    return f"sha256:{sha256.hexdigest()}"


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _blob(digest: str) -> str:
    return os.path.join("blobs", *digest.split(":"))


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    tar.addfile(info, io.BytesIO(content))
