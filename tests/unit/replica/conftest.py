from __future__ import annotations

import pytest
from integration.replicas.server_certificates import Authority


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.make()
