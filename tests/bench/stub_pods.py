"""Pods without processes: made for each StatefulSet of an API server, with a stub of a replica behind each address.

The stubs serve the Admin service over mutual TLS with the certificates that the operator issued, so that an operator
dials, handshakes and asks as it does with real replicas. They lead their region, are caught up and never fail.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import Any

from localkube.apiserver import ApiServer
from rstore_api.domain import names
from rstore_api.domain.kubernetes import REGION_LABEL, REVISION_LABEL, STORE_LABEL
from rstore_api.listening import listening_socket
from rstore_api.proto import rstore_pb2 as pb
from rstore_api.proto.rstore_pb2_grpc import AdminServicer, add_AdminServicer_to_server
from rstore_api.tls import TlsPem
from rstore_replica.tls_contexts import Following, server_context
from rstore_wire.server import Server

TENURE_MS = 3000
POLL_SECONDS = 0.1
REVISION = "1"
STATEFUL_SETS = "statefulsets.apps"
Body = dict[str, Any]


class StubReplica(AdminServicer):  # type: ignore[misc]  # generated code is not typed
    """The only replica of its region."""

    def __init__(self, region: str, name: str) -> None:
        self.region = region
        self.name = name
        self.store_id = ""
        self.topology: pb.Topology | None = None

    async def Status(self, request: pb.StatusRequest, context: object) -> pb.StatusResponse:
        """Answers as a leader at rest."""
        status = pb.StatusResponse(
            store_id=self.store_id,
            region=self.region,
            replica=self.name,
            is_leader=True,
            leader=self.name,
            term=1,
            revision=1,
            commit_index=1,
            applied_index=1,
            members=[self.name],
            ready=True,
        )
        topology = self.topology
        if topology is not None:
            primary = topology.primary_region == self.region
            status.epoch = status.promised_epoch = topology.epoch
            status.primary = status.writable = primary
            status.topology.CopyFrom(topology)
            if primary:
                others = [region.name for region in topology.regions if region.name != self.region]
                status.progress.extend(
                    pb.RegionProgress(region=name, connected=True, acked_revision=1) for name in others
                )
                status.tenure.CopyFrom(
                    pb.TenureStatus(
                        required=bool(others),
                        held=True,
                        duration_ms=TENURE_MS,
                        longest_ms=TENURE_MS,
                        granted_version=topology.version,
                    )
                )
            else:
                status.granted.CopyFrom(pb.GrantStatus(epoch=topology.epoch, age_ms=300, remaining_ms=TENURE_MS - 300))
        return status

    async def Bootstrap(self, request: pb.BootstrapRequest, context: object) -> pb.BootstrapResponse:
        """Takes the store's id."""
        self.store_id, self.topology = request.store_id, request.topology
        return pb.BootstrapResponse(store_id=self.store_id, epoch=request.topology.epoch)

    async def SetTopology(self, request: pb.SetTopologyRequest, context: object) -> pb.SetTopologyResponse:
        """Takes a topology."""
        self.topology = request.topology
        return pb.SetTopologyResponse(changed=True)


class StubPods:
    """Makes a pod for each StatefulSet, as its controller and a kubelet would."""

    def __init__(self, server: ApiServer, network: str) -> None:
        """``network`` is the first two numbers of the addresses, such as ``127.77``."""
        self._store = server.store
        self._network = network
        self._servers: list[Server] = []

    async def run(self) -> None:
        """Make pods until cancelled."""
        made: set[str] = set()
        try:
            while True:
                for stored in self._store.peek_all(STATEFUL_SETS):
                    uid = stored.obj["metadata"]["uid"]
                    if uid not in made and self._certificate(stored.obj) is not None:
                        made.add(uid)
                        await self._make(stored.obj)
                await asyncio.sleep(POLL_SECONDS)
        finally:
            for server in self._servers:
                await server.stop(None)

    def _certificate(self, stateful_set: Body) -> TlsPem | None:
        meta = stateful_set["metadata"]
        name = names.region_tls_secret(meta["labels"][STORE_LABEL], meta["labels"][REGION_LABEL])
        secret = self._store.peek("secrets", meta["namespace"], name)
        if secret is None:
            return None
        data = secret.obj["data"]
        return TlsPem(*(base64.b64decode(data[key]) for key in ("ca.crt", "tls.crt", "tls.key")))

    async def _make(self, stateful_set: Body) -> None:
        meta, template = stateful_set["metadata"], stateful_set["spec"]["template"]
        name, number = f"{meta['name']}-0", len(self._servers)
        address = f"{self._network}.{number // 250}.{number % 250 + 1}"

        def certificate() -> TlsPem:
            pem = self._certificate(stateful_set)
            assert pem is not None
            return pem

        replica = StubReplica(meta["labels"][REGION_LABEL], name)
        server = Server(max_message_bytes=1 << 20)
        add_AdminServicer_to_server(replica, server)
        following = Following(certificate, lambda pem: server_context(pem, require_client=True))

        def context() -> ssl.SSLContext:
            return following()

        server.add_listener(listening_socket(address, names.PEER_PORT, backlog=8), context)
        await server.start()
        self._servers.append(server)
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": meta["name"], "uid": meta["uid"]}
        claims = stateful_set["spec"].get("volumeClaimTemplates", [])
        volumes = [{"name": claim["metadata"]["name"], "emptyDir": {}} for claim in claims]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": {**template["metadata"]["labels"], REVISION_LABEL: REVISION},
                "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
            },
            "spec": {**template["spec"], "volumes": [*template["spec"].get("volumes", []), *volumes]},
        }
        self._store.create("pods", pod, namespace=meta["namespace"])
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        self._store.patch_status("pods", meta["namespace"], name, status)
        revision = {
            "currentRevision": REVISION,
            "updateRevision": REVISION,
            "observedGeneration": meta.get("generation", 1),
        }
        sizes = dict.fromkeys(
            ("replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"), 1
        )
        self._store.patch_status(STATEFUL_SETS, meta["namespace"], meta["name"], {**sizes, **revision})
