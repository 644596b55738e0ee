"""The gateway's metrics."""

import re

import httpx2

from tests.services.gateway.conftest import MakeService, OpenGateway, Start


def test_requests_are_counted_by_model_route_and_status(
    start: Start, make_service: MakeService, open_gateway: OpenGateway
) -> None:
    service = start(make_service())
    gateway = open_gateway({"echo": [service.url]})
    httpx2.post(f"{gateway.url}/v1/echo/some-file-name", content=b"abc", headers={"Content-Type": "text/plain"})
    httpx2.post(f"{gateway.url}/v1/echo", content=b"this is not a picture")
    metrics = httpx2.get(f"{gateway.url}/metrics").text.splitlines()
    for line in (
        'sightline_gateway_requests_total{model="echo",route="/v1/echo/{rest:path}",status="200"} 1.0',
        'sightline_gateway_requests_total{model="echo",route="/v1/echo",status="415"} 1.0',
        'sightline_gateway_rejected_total{code="unsupported_format",model="echo"} 1.0',
        'sightline_gateway_received_bytes_total{model="echo"} 24.0',
        'sightline_gateway_sent_bytes_total{model="echo"} 3.0',
    ):
        assert line in metrics
    (label,) = re.findall(
        r'sightline_gateway_replica_ready{model="echo",replica="(echo-[0-9a-f]{8})"} 1.0', "\n".join(metrics)
    )
    assert f'sightline_gateway_upstream_in_flight{{model="echo",replica="{label}"}} 0.0' in metrics
    assert service.url.rpartition(":")[2] not in "\n".join(metrics)
    assert not [line for line in metrics if "some-file-name" in line]
