import httpx2

from tests.services.gateway.conftest import OpenGateway


def test_prometheus_hears_of_every_replica(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({"hdr_correct": ["http://127.0.0.1:1", "https://[::1]:2"]}, wait=False)
    assert httpx2.get(f"{gateway.url}/metrics/targets").json() == [
        {"targets": ["127.0.0.1:1"], "labels": {"service": "hdr-correct", "__scheme__": "http"}},
        {"targets": ["[::1]:2"], "labels": {"service": "hdr-correct", "__scheme__": "https"}},
    ]
