from sightline.api.declaration import route_of


def test_route_joins_words_by_dashes() -> None:
    assert route_of("hra_screening") == "/v1/hra-screening"
