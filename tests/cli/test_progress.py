from sightline.cli.progress import progress_meter


def test_files_of_earlier_runs_do_not_count_for_the_rate() -> None:
    with progress_meter(3, "Screening") as meter:
        meter.advance(known=True)
        meter.advance(failed=True)
        (task,) = meter._progress.tasks
        assert (task.completed, task.total) == (1, 2)
        assert (meter.known, meter.failed) == (1, 1)
