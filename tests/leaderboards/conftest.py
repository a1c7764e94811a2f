import socket

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Exporters send nothing: any socket is an error."""

    def refuse(*_, **__):
        raise AssertionError("an exporter opened a socket")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
