"""Everything a request handler needs, and the request itself once it is understood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from localkube.apiserver.http.authn import Tokens, User
from localkube.apiserver.http.options import ApiServerOptions
from localkube.apiserver.http.rbac import Authorizer
from localkube.apiserver.http.request_info import RequestInfo
from localkube.apiserver.objects.store import Store
from localkube.apiserver.resources import Registry, Resource
from localkube.apiserver.schema.provider import Schemas


@dataclass(frozen=True)
class WriteKey:
    """What writes are counted by."""

    user: str
    verb: str
    resource: str


@dataclass
class Services:
    """The parts of one API server."""

    options: ApiServerOptions
    registry: Registry
    schemas: Schemas
    store: Store
    tokens: Tokens
    authorizer: Authorizer
    writes: Counter[WriteKey] = field(default_factory=Counter)
    stopping: bool = False

    def authenticate(self, token: str) -> User | None:
        """Returns the user of a token; None also where its service account is gone or was made anew."""
        user = self.tokens.authenticate(token)
        if user is None or not user.uid:
            return user
        _, _, namespace, name = user.name.split(":")
        account = self.store.peek("serviceaccounts", namespace, name)
        return user if account is not None and account.obj["metadata"]["uid"] == user.uid else None


@dataclass(frozen=True)
class Call:
    """One authenticated and authorized request on a resource."""

    services: Services
    request: web.Request
    info: RequestInfo
    user: User
    resource: Resource
    warnings: list[str]
    """Filled by handlers; sent as Warning headers."""

    @property
    def query(self) -> Mapping[str, str]:
        """Query parameters."""
        return self.request.query

    @property
    def store(self) -> Store:
        """Returns the object store."""
        return self.services.store

    @property
    def namespace(self) -> str:
        """Returns the namespace of the path, "" for cluster-scoped resources and for all namespaces."""
        return self.info.namespace if self.resource.namespaced else ""

    @property
    def dry_run(self) -> bool:
        """Returns whether nothing is to be stored."""
        return "All" in self.request.query.getall("dryRun", [])

    @property
    def manager(self) -> str:
        """Returns the field manager: the one named, else the first word of the user agent."""
        return manager_of(self.request)


def manager_of(request: web.Request) -> str:
    """Returns the field manager of a request: the one named, else the first word of the user agent."""
    named = request.query.get("fieldManager")
    return (named or request.headers.get("User-Agent", "unknown").split("/")[0])[:128]
