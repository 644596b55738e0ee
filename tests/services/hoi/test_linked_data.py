import json

import pytest
from rdflib import RDF, Graph, Literal, Namespace, URIRef
from rdflib.namespace import XSD

from services.hoi.linked_data import linked_data, region
from services.hoi.results import HoiReport
from tests.services.hoi.records import CYCLISTS, SHA256, record

SCHEMA, OWN = Namespace("https://schema.org/"), Namespace("urn:sightline:")
PICTURE = URIRef(f"urn:sha256:{SHA256}")

# RDFLib's parser of JSON-LD uses a class that RDFLib has given up.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")


def read(told: HoiReport) -> Graph:
    return Graph().parse(data=linked_data(record(told)), format="json-ld")


@pytest.fixture
def graph() -> Graph:
    return read(CYCLISTS)


def named(name: str) -> URIRef:
    return URIRef(f"{PICTURE}#{name}")


def test_linked_data_names_the_picture_by_its_digest(graph: Graph) -> None:
    assert (PICTURE, RDF.type, SCHEMA.ImageObject) in graph
    assert (PICTURE, SCHEMA.sha256, Literal(SHA256)) in graph
    assert set(graph.objects(PICTURE, SCHEMA.mentions)) == {named(f"detection-{at}") for at in range(3)}
    evidence = graph.value(PICTURE, OWN.evidence)
    assert isinstance(evidence, Literal)
    assert json.loads(str(evidence))["input_sha256"] == SHA256


def test_linked_data_detections_are_regions_of_the_picture(graph: Graph) -> None:
    assert set(graph.subjects(RDF.type, SCHEMA.Person)) == {named("detection-0"), named("detection-1")}
    assert graph.value(named("detection-2"), SCHEMA.name) == Literal("bicycle")
    assert graph.value(named("detection-2"), OWN.region) == Literal("xywh=pixel:20.00,50.00,60.00,45.00")


def test_linked_data_actions_have_agent_and_object_or_instrument(graph: Graph) -> None:
    actions = set(graph.subjects(RDF.type, SCHEMA.Action))
    assert len(actions) == 7
    ride, look, smile = (named(f"interaction-{at}") for at in (1, 3, 4))
    assert graph.value(ride, SCHEMA.agent) == named("detection-1")
    assert graph.value(ride, SCHEMA.instrument) == named("detection-2")
    assert graph.value(look, SCHEMA.object) == named("detection-1")
    assert graph.value(look, OWN.targetScore) == Literal("0.5", datatype=XSD.double)
    assert graph.value(look, OWN.expectedRegion) == Literal("xywh=pixel:1.50,2.00,28.50,38.25")
    assert graph.value(smile, SCHEMA.object) is None
    assert graph.value(smile, OWN.expectedRegion) is None


def test_linked_data_without_detections_is_the_picture() -> None:
    assert set(read(HoiReport([], [])).subjects()) == {PICTURE}


def test_linked_data_regions_are_media_fragments() -> None:
    assert region([1.25, 0, 10, 5.5]) == "xywh=pixel:1.25,0.00,8.75,5.50"
