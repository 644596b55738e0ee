from xml.etree import ElementTree

from services.svbrdf.materialx import materialx_document


def test_materialx_document_names_existing_nodes_only() -> None:
    document = materialx_document(diffuse="d.png", normal="n.png", roughness="r.png", metallic=0.3)

    root = ElementTree.fromstring(document)
    names = {element.get("name") for element in root.iter()}
    for element in root.iter():
        for reference in ("nodename", "nodegraph", "output"):
            assert element.get(reference) is None or element.get(reference) in names
    files = {
        element.get("value"): element.get("colorspace") for element in root.iter() if element.get("type") == "filename"
    }
    assert files == {"d.png": "srgb_texture", "n.png": None, "r.png": None}
    metalness = root.find("standard_surface/input[@name='metalness']")
    assert metalness is not None
    assert metalness.get("value") == "0.3000"
