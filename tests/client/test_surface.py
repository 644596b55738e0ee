"""The public surface, which scripts rely on, and how little it loads."""

import inspect
import subprocess
import sys

import pytest

import sightline
import sightline.client
from services.hdr_correct.schemas import HdrOptions as ServedHdrOptions
from services.hoi.schemas import HoiOptions
from services.hra_screening.schemas import ScreeningOptions
from services.inpaint.schemas import InpaintOptions as ServedInpaintOptions
from services.svbrdf.schemas import SvbrdfOptions
from sightline.client import AsyncClient, Client
from sightline.client.requests import HdrOptions, InpaintOptions, InteractionOptions, MaterialOptions, ScreenOptions

SURFACE = """AsyncClient AsyncJob BadMask Client Conflict Detection Evidence Expired FileResult Forbidden HdrResult
InpaintResult Interaction InteractionResult InvalidRequest Job JobCancelled JobEvent JobFailed JobStatus MaterialResult
NotAcceptable NotFinished NotFound NotSightline Outcome Overloaded Picture PictureInput RateLimited Screening
ServerFault SightlineError TooLarge Unauthorized Unreachable Unreadable"""
METHODS = (
    """address cancel close events hdr_correct inpaint interactions job map material model_card models predict screen"""
)
RENDERING = {"light_azimuth_deg", "light_elevation_deg", "frames"}  # of the relit picture, which `predict` returns


def test_names_of_the_package() -> None:
    assert sorted(sightline.client.__all__) == SURFACE.split()
    assert sightline.__all__ == ["AsyncClient", "Client", "SightlineError", "__version__"]
    assert sightline.Client is Client


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_methods_of_the_clients(client: type) -> None:
    assert [name for name in sorted(dir(client)) if not name.startswith("_")] == METHODS.split()


def test_both_clients_have_the_same_parameters() -> None:
    for name in METHODS.split():
        if name != "address":
            sync, asynchronous = (inspect.signature(getattr(each, name)) for each in (Client, AsyncClient))
            assert list(sync.parameters) == list(asynchronous.parameters), name


@pytest.mark.parametrize(
    ("typed", "served", "extra", "left_out"),
    [
        (InpaintOptions, ServedInpaintOptions, set(), set()),
        (HdrOptions, ServedHdrOptions, {"format"}, set()),
        (ScreenOptions, ScreeningOptions, set(), set()),
        (InteractionOptions, HoiOptions, set(), set()),
        (MaterialOptions, SvbrdfOptions, set(), RENDERING),
    ],
)
def test_typed_options_are_those_of_the_model(typed: type, served: type, extra: set[str], left_out: set[str]) -> None:
    assert set(typed.__annotations__) - extra == set(served.model_fields) - left_out  # type: ignore[attr-defined]


def loaded_by(statement: str) -> set[str]:
    command = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(
        subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout.split()
    )


def test_package_loads_no_http_library_before_it_is_used() -> None:
    assert not {"httpx2", "pydantic", "numpy", "PIL", "asyncio"} & loaded_by("import sightline")


def test_client_loads_no_server_and_no_model() -> None:
    loaded = loaded_by("from sightline import Client, AsyncClient; Client('http://127.0.0.1:1')")
    assert "httpx2" in loaded
    assert not {"pydantic", "numpy", "PIL", "onnxruntime", "fastapi", "starlette", "redis", "services", "cv2"} & loaded


def test_unknown_name_of_the_package() -> None:
    with pytest.raises(AttributeError, match="module 'sightline' has no attribute 'Klient'"):
        _ = sightline.Klient
