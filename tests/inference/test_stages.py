import pytest

from sightline.inference.stages import Stage, Stages


def test_stage_that_comes_twice_adds_up() -> None:
    stages = Stages()
    stages.add(Stage.INFER, 0.25)
    stages.add(Stage.READ, 0.5)
    stages.add(Stage.INFER, 0.5)
    assert stages.seconds == {Stage.INFER: 0.75, Stage.READ: 0.5}
    assert stages.server_timing == "read;dur=500.0, infer;dur=750.0"
    assert stages.milliseconds == {"infer": 750.0, "read": 500.0}


def test_stage_counts_even_if_it_fails() -> None:
    stages = Stages()
    with pytest.raises(ValueError, match="broken"), stages.measure(Stage.READ):
        raise ValueError("broken")
    assert stages.seconds[Stage.READ] >= 0
