"""The cluster's certificate authority, published as a ConfigMap in every namespace."""

from __future__ import annotations

from localkube.apiserver.errors import ApiError
from localkube.controllers.engine import Context, Controller
from localkube.controllers.objects import Key, is_deleting, key_of
from localkube.controllers.resources import CONFIG_MAPS, NAMESPACES, Obj

NAME = "kube-root-ca.crt"
DATA_KEY = "ca.crt"
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


class RootCaPublisher(Controller):
    """Keeps the ConfigMap `kube-root-ca.crt` of each namespace as it should be."""

    name = "root-ca-cert-publisher"

    def __init__(self, context: Context, ca_pem: str) -> None:
        super().__init__(context)
        self._data = {DATA_KEY: ca_pem}

    def setup(self) -> None:
        """Wake by namespaces, and by changes of the ConfigMap in them."""
        self.watch_own(NAMESPACES)
        self.context.informers.of(CONFIG_MAPS).subscribe(
            lambda _change, _old, obj: self.enqueue(("", key_of(obj)[0])) if key_of(obj)[1] == NAME else None
        )

    async def reconcile(self, key: Key) -> float | None:
        """Create the ConfigMap of a namespace, or restore its data."""
        namespace = self.context.informers.of(NAMESPACES).get(*key)
        if namespace is None or is_deleting(namespace):
            return None
        present = self.context.informers.of(CONFIG_MAPS).copy_of(key[1], NAME)
        try:
            if present is None:
                await self.api.create(CONFIG_MAPS, key[1], self._config_map(key[1]))
            elif present.get("data") != self._data:
                present["data"] = self._data
                await self.api.update(CONFIG_MAPS, key[1], present)
        except ApiError as error:
            terminating = error.code == 403
            if not (error.already_exists or error.not_found or terminating):
                raise
        return None

    def _config_map(self, namespace: str) -> Obj:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": NAME,
                "namespace": namespace,
                "annotations": {"kubernetes.io/description": DESCRIPTION},
            },
            "data": self._data,
        }
