"""End-to-end tests through the processes that `make up` starts."""

import json
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen, run

import cv2
import httpx2
import numpy as np
import psutil
import pytest
import simplejpeg
from numpy.typing import NDArray

from sightline.cli.fleet import free_port
from sightline.cli.models import find_models
from tests.browser import Page, open_page
from tests.chromium import needs_chromium

ROOT = Path(__file__).parents[1]
PHOTO, MASK = ROOT / "samples" / "photo.jpg", ROOT / "samples" / "mask.png"
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'shared'}{os.pathsep}{ROOT}"}
CLI = (sys.executable, "-m", "sightline.cli")
CHROMIUM = shutil.which("chromium") or ""
TOOLS = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
GENERATED = """
from pathlib import Path
from sys import argv

from fleet_client import Client
from fleet_client.api.inpaint import predict_inpaint
from fleet_client.models import PredictInpaintFilesBody
from fleet_client.types import File

address, photo, mask, out = argv[1:]
with open(photo, "rb") as image, open(mask, "rb") as holes, Client(address, timeout=120) as client:
    body = PredictInpaintFilesBody(image=File(image, "photo.jpg"), mask=File(holes, "mask.png"))
    Path(out).write_bytes(predict_inpaint.sync(client=client, body=body).payload.read())
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yields the output of `sightline up` until it is ready; at the end of the module it must exit without errors."""
    command = (*CLI, "up", "--port", str(free_port()), "--state", str(tmp_path_factory.mktemp("state")))
    with Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=PIPE, stderr=PIPE, text=True) as fleet:
        assert fleet.stdout is not None
        lines = []
        for line in fleet.stdout:
            lines.append(line)
            if line.startswith("curl "):
                break
        yield "".join(lines)
        fleet.terminate()
        _, errors = fleet.communicate(timeout=120)
        # Ended by a signal, with one line that says so.
        assert (fleet.returncode, errors.count("\n")) == (143, 1), errors
        assert "the fleet is stopped" in errors


@pytest.fixture(scope="module")
def address(printed: str) -> str:
    match = re.search(r"console at (\S+)/console/", printed)
    assert match, printed
    return match[1]


def pixels(encoded: bytes) -> NDArray[np.uint8]:
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded.astype(np.uint8)


def decode_jpeg_as_sent() -> NDArray[np.uint8]:
    """Decodes the photo with the service's decoder, because decoders differ slightly."""
    from sightline.imaging.decoder.in_process import decode
    from sightline.imaging.limits import PixelLimits

    data = PHOTO.read_bytes()
    limits = PixelLimits(max_bytes=len(data), max_pixels=10_000_000, max_side_px=10_000)
    return decode(data, limits).pixels[..., ::-1].astype(np.uint8)


def test_printed_curl_command_works(printed: str, tmp_path: Path) -> None:
    words = shlex.split(printed.splitlines()[-1])
    done = run([*words, "--silent", "--show-error", "--fail"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert pixels((tmp_path / "out.png").read_bytes()).shape == pixels(PHOTO.read_bytes()).shape


def test_predict_writes_requested_type_from_job(address: str, tmp_path: Path) -> None:
    big = tmp_path / "big.jpg"
    cv2.imwrite(str(big), cv2.resize(pixels(PHOTO.read_bytes()), (5000, 3400)))
    words = ("predict", "hra-screening", str(big), "-o", str(tmp_path / "out.json"), "--url", address)
    done = run([*CLI, *words], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Job \w+: (queued|running)", done.stderr)
    (result,) = json.loads((tmp_path / "out.json").read_text())["results"]
    assert (result["width"], result["height"]) == (5000, 3400)


def test_inpainting_changes_only_holes(address: str) -> None:
    files = {"image": PHOTO.read_bytes(), "mask": MASK.read_bytes()}
    reply = httpx2.post(f"{address}/v1/inpaint", files=files, timeout=120)
    assert reply.status_code == 200, reply.text
    holes = cv2.imread(str(MASK), cv2.IMREAD_GRAYSCALE) == 255
    before, after = decode_jpeg_as_sent(), pixels(reply.content)
    assert np.array_equal(after[~holes], before[~holes])
    assert np.abs(after[holes].astype(int) - before[holes]).mean() > 5
    assert after[holes].std() > 5


def test_command_line_gives_same_picture_without_server(address: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here.png", tmp_path / "there.png"
    for out, where in ((here, ()), (there, ("--url", address))):
        command = (*CLI, "predict", "inpaint", str(PHOTO), "--mask", str(MASK), "-o", str(out), *where)
        done = run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    difference = np.abs(pixels(here.read_bytes()).astype(int) - pixels(there.read_bytes()))
    assert difference.max() <= 1


@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed (Debian: chromium)")
def test_console_shows_every_model_in_browser(address: str, tmp_path: Path) -> None:
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}",
        "--virtual-time-budget=10000",
    )
    done = run((CHROMIUM, *flags, "--dump-dom", address), capture_output=True, text=True, timeout=120)
    tabs = re.findall(r'data-name="(\w+)"', done.stdout)
    assert tabs == list(find_models()), done.stderr
    assert "Model card</a>" in done.stdout


def test_photo_of_108_megapixels_becomes_job_with_bounded_memory(address: str) -> None:
    """12,000 x 9,000 px is the maximum of common phones."""
    tile = np.random.default_rng(0).integers(100, 130, (900, 1200, 3), np.uint8)
    photo = simplejpeg.encode_jpeg(np.tile(tile, (10, 10, 1)), 85, "RGB", "420")
    fields = {"regions": '{"boxes": [[5000, 3000, 5300, 3200]]}', "format": "jpeg"}
    with httpx2.Client(base_url=address, timeout=120) as client:
        reply = client.post("/v1/inpaint", files={"image": photo}, data=fields)
        assert reply.status_code == 202, reply.text
        place = reply.headers["Location"]
        while (job := client.get(place).json())["state"] not in ("succeeded", "failed"):
            time.sleep(0.5)
        assert job["state"] == "succeeded", job
        result = client.get(f"{place}/result")
    assert result.status_code == 200, result.text
    assert simplejpeg.decode_jpeg_header(result.content)[:2] == (9000, 12_000)
    assert 0 < peak_memory_bytes("inpaint") < 3.5 * (1 << 30)


def peak_memory_bytes(model: str) -> int:
    """Peak resident memory of the model's service."""
    running = psutil.Process().children(recursive=True)
    services = [each for each in running if any(f"services.{model}" in word for word in each.cmdline())]
    statuses = [Path(f"/proc/{each.pid}/status").read_text() for each in services]
    return max((1024 * int(found[1]) for text in statuses if (found := re.search(r"VmHWM:\s+(\d+)", text))), default=0)


def test_bench_prints_ratio(address: str) -> None:
    command = (*CLI, "bench", "inpaint", "--requests", "1", "--connections", "1", "--url", address)
    done = run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("│"))
    connections, served, bare, ratio, *_, failed = [cell.strip() for cell in row.strip("│").split("│")]
    assert (connections, failed) == ("1", "0")
    assert float(ratio) == pytest.approx(float(served) / float(bare), rel=0.1)


def test_schemathesis_finds_no_failure(address: str) -> None:
    """Runs every phase with the expectations of schemathesis.toml; another seed sends other requests."""
    command = ("schemathesis", "run", f"{address}/openapi.json", "--max-examples", "2", "--seed", "7", "--no-color")
    done = run(command, cwd=ROOT, env=TOOLS, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested, done.stdout
    assert int(tested[1]) == sum(map(len, httpx2.get(f"{address}/openapi.json").json()["paths"].values()))


def test_generated_client_inpaints_photo(address: str, tmp_path: Path) -> None:
    generate = ("openapi-python-client", "generate", "--url", f"{address}/openapi.json", "--fail-on-warning")
    where = ("--meta", "none", "--output-path", str(tmp_path / "fleet_client"))
    done = run((*generate, *where), cwd=tmp_path, env=TOOLS, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "inpaint.py").write_text(GENERATED)
    out = tmp_path / "out.png"
    script = (sys.executable, "inpaint.py", address, str(PHOTO), str(MASK), str(out))
    done = run(script, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert pixels(out.read_bytes()).shape == pixels(PHOTO.read_bytes()).shape


def test_problems_and_records_are_components(address: str) -> None:
    document = httpx2.get(f"{address}/openapi.json").json()
    components = document["components"]
    records = ("HdrRecord", "HoiRecord", "InpaintRecord", "ScreeningRecord", "SvbrdfRecord")
    assert {*records, "ProblemDetails", "PublicJob", "Evidence", "InferRequest"} <= set(components["schemas"])
    assert set(components["securitySchemes"]) == {"bearer", "api_key"}
    assert {"X-Request-Id", "X-Sightline-Model", "Retry-After", "Location"} <= set(components["headers"])
    for path, item in document["paths"].items():
        for operation in item.values():
            replies = operation["responses"]
            assert all("X-Request-Id" in reply["headers"] for reply in replies.values()), path
            assert ("404" in replies) is ("{" in path), path
            assert replies["default"]["content"]["application/problem+json"]["schema"] == {
                "$ref": "#/components/schemas/ProblemDetails"
            }
    forms = {
        path: item["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        for path, item in document["paths"].items()
        if "multipart/form-data" in item.get("post", {}).get("requestBody", {}).get("content", {})
    }
    assert len(forms) == 5
    assert all(form["required"] == ["image"] for form in forms.values())
    assert forms["/v1/hra-screening"]["properties"]["image"]["minItems"] == 1


@needs_chromium
def test_documentation_page_sends_only_typed_values(address: str, tmp_path: Path) -> None:
    with open_page(tmp_path) as page:
        sent = _try_out(page, f"{address}/docs", "hra_screening-predict_hra_screening", [PHOTO])
        fields = dict(re.findall(r"-F '([^=]+)=([^']*)'", sent))
        assert fields.pop("image").startswith("@photo.jpg")
        assert set(fields.values()) == {""}, sent  # which counts as absent
        assert {name.lower() for name in re.findall(r"-H '([^:]+):", sent)} == {"accept", "content-type"}, sent
        assert "?" not in sent
        assert f"'{address}/v1/jobs' " in _try_out(page, f"{address}/docs", "jobs-list_jobs_v1_jobs_get", [])
        assert "example.org" not in _try_out(page, f"{address}/docs", "webhooks-send_test_v1_webhooks_test_post", [])


def _try_out(page: Page, url: str, operation: str, files: list[Path]) -> str:
    """Returns the curl command of the request that Swagger UI sends for an operation with only files chosen."""
    page.open(url)
    block = f"#operations-{operation}"
    page.wait(f"!!document.querySelector('{block}')")
    for button in (".opblock-summary-control", ".try-out__btn"):
        page.click(f"{block} {button}")
        page.wait(f"!!document.querySelector('{block} .try-out__btn')")
    page.wait(f"!!document.querySelector('{block} .execute')")
    for number, file in enumerate(files):
        inputs = f"document.querySelectorAll('{block} input[type=file]')"
        page.evaluate(f"{inputs}[{number}].id = 'file-{number}'")
        page.choose(f"#file-{number}", file)
    page.click(f"{block} .execute")
    page.wait(f"!!document.querySelector('{block} .live-responses-table .response-col_status')")
    return page.text(f"{block} .curl-command")
