import pytest

from sightline.training.schedule import Progress, Stage, Timer, learning_rate


def test_learning_rate_warms_up_and_falls_with_the_budget() -> None:
    stage = Stage(minutes=1, crop_px=32, batch_size=4, learning_rate=1.0, final_learning_rate=0.1)

    assert learning_rate(stage, Progress(step=0), 200) == pytest.approx(1 / 200)
    assert learning_rate(stage, Progress(step=1000), 200) == pytest.approx(1.0)
    assert learning_rate(stage, Progress(step=1000, stage_seconds=30), 200) == pytest.approx(0.55)
    assert learning_rate(stage, Progress(step=1000, stage_seconds=90), 200) == pytest.approx(0.1)


def test_timer_is_due_once_in_every_interval() -> None:
    timer = Timer(minutes=0.5)

    assert [timer.is_due(elapsed_s) for elapsed_s in (20, 9, 1, 29, 2)] == [False, False, True, False, True]
