from typing import Any

from services.gateway.documentation.openapi import merge

OWN = {"openapi": "3.1.0", "info": {"title": "Fleet"}, "paths": {"/v1/models": {"get": {}}}, "components": {}}


def document(model: str, schemas: dict[str, Any], *, uses: str = "Options") -> dict[str, Any]:
    reply = {"schema": {"$ref": f"#/components/schemas/{uses}"}}
    return {
        "info": {"title": model, "description": f"The {model}"},
        "paths": {
            f"/v1/{model}": {"post": {"operationId": "predict", "tags": ["other"], "responses": {"200": reply}}},
            f"/v1/{model}/choice": {"get": {"responses": {"200": {"$ref": "#/components/schemas/Choice"}}}},
            "/v1/models/{model}/card": {"get": {"summary": model}},
            "/readyz": {"get": {}},
        },
        "components": {"schemas": schemas},
    }


def reference(merged: dict[str, Any], model: str) -> str:
    ref: str = merged["paths"][f"/v1/{model}"]["post"]["responses"]["200"]["schema"]["$ref"]
    return ref


def test_merge_has_own_paths_of_each_model_and_common_ones_once() -> None:
    merged = merge(OWN, {"one": document("one", {}), "two": document("two", {})})
    assert sorted(merged["paths"]) == [
        "/v1/models",
        "/v1/models/{model}/card",
        "/v1/one",
        "/v1/one/choice",
        "/v1/two",
        "/v1/two/choice",
    ]
    assert merged["paths"]["/v1/models/{model}/card"]["get"]["summary"] == "one"


def test_operations_are_tagged_and_named_by_model() -> None:
    merged = merge(OWN, {"one": document("one", {}), "two": document("two", {})})
    operations = [merged["paths"][path]["post"] for path in ("/v1/one", "/v1/two")]
    assert [operation["tags"] for operation in operations] == [["one"], ["two"]]
    assert [operation["operationId"] for operation in operations] == ["one_predict", "two_predict"]
    assert merged["tags"] == [
        {"name": "one", "description": "The one"},
        {"name": "two", "description": "The two"},
    ]


def test_equal_components_are_shared() -> None:
    schemas = {"Options": {"type": "object"}}
    merged = merge(OWN, {"one": document("one", schemas), "two": document("two", schemas)})
    assert merged["components"] == {"schemas": schemas}
    assert reference(merged, "two") == reference(merged, "one") == "#/components/schemas/Options"


def test_conflicting_components_are_renamed_with_their_references() -> None:
    def schemas(kind: str) -> dict[str, Any]:
        inner = {"properties": {"inner": {"$ref": "#/components/schemas/Inner"}}}
        choice = {"discriminator": {"mapping": {"inner": "#/components/schemas/Inner"}}}
        return {"Inner": {"type": kind}, "Outer": inner, "Choice": choice, "Unused": {"type": kind}}

    merged = merge(
        OWN,
        {
            "one": document("one", schemas("string"), uses="Outer"),
            "two": document("two", schemas("number"), uses="Outer"),
        },
    )
    components = merged["components"]["schemas"]
    assert sorted(components) == ["Choice", "Inner", "Outer", "two_Choice", "two_Inner", "two_Outer"]
    assert components["Inner"] == {"type": "string"}
    assert components["two_Inner"] == {"type": "number"}
    assert components["two_Outer"]["properties"]["inner"]["$ref"] == "#/components/schemas/two_Inner"
    assert components["two_Choice"]["discriminator"]["mapping"]["inner"] == "#/components/schemas/two_Inner"
    assert reference(merged, "one") == "#/components/schemas/Outer"
    assert reference(merged, "two") == "#/components/schemas/two_Outer"


def test_unreferenced_components_are_left_out() -> None:
    schemas = {"Options": {"items": {"$ref": "#/components/schemas/Item"}}, "Item": {}, "Unused": {}}
    merged = merge(OWN, {"one": document("one", schemas)})
    assert sorted(merged["components"]["schemas"]) == ["Item", "Options"]


def test_merge_does_not_change_its_inputs() -> None:
    one, two = document("one", {"Options": {"type": "object"}}), document("two", {"Options": {"type": "array"}})
    merge(OWN, {"one": one, "two": two})
    assert two == document("two", {"Options": {"type": "array"}})
    assert OWN["paths"] == {"/v1/models": {"get": {}}}


def test_merge_accepts_an_empty_document() -> None:
    assert merge(OWN, {"one": {}})["paths"] == OWN["paths"]
