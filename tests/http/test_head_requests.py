import httpx2

from tests.conftest import Serve
from tests.tiny_service import MakeApp, WaitReady


def test_a_service_answers_head_wherever_it_answers_get(serve: Serve, make_app: MakeApp, wait_ready: WaitReady) -> None:
    url = serve(make_app())
    wait_ready(url)
    paths = [path for path, item in httpx2.get(f"{url}/openapi.json").json()["paths"].items() if "get" in item]
    assert len(paths) > 8
    for path in (*paths, "/metrics", "/docs", "/openapi.json"):
        path = path.format(model="tiny_invert", version="1.2.3")
        got, head = httpx2.get(url + path), httpx2.head(url + path)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["content-type"] == got.headers["content-type"]
        assert path in ("/metrics", "/readyz") or head.headers["content-length"] == got.headers["content-length"]


def test_head_is_refused_where_get_is(serve: Serve, make_app: MakeApp) -> None:
    url = serve(make_app())
    assert httpx2.head(f"{url}/v1/tiny-invert").status_code == httpx2.get(f"{url}/v1/tiny-invert").status_code == 405
    assert httpx2.head(f"{url}/nowhere").status_code == 404


def test_the_log_and_the_metrics_name_the_route(serve: Serve, make_app: MakeApp) -> None:
    url = serve(make_app())
    httpx2.head(f"{url}/livez")
    assert 'method="HEAD",route="/livez",status="200"' in httpx2.get(f"{url}/metrics").text
