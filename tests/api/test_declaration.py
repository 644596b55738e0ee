from sightline.api.declaration import route_of


def test_words_are_joined_by_dashes() -> None:
    assert route_of("hra_screening") == "/v1/hra-screening"
