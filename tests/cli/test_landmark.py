from pathlib import Path

from sightline.cli.landmark import find_redis, landmark


def test_tells_where_redis_is_while_the_fleet_runs(tmp_path: Path) -> None:
    with landmark(tmp_path, "unix:///tmp/a.sock"):
        assert find_redis(tmp_path) == "unix:///tmp/a.sock"
    assert find_redis(tmp_path) is None


def test_a_new_fleet_overwrites_what_a_killed_one_left(tmp_path: Path) -> None:
    (tmp_path / "redis.url").write_text("unix:///tmp/the-socket-of-a-fleet-that-is-gone.sock")
    with landmark(tmp_path, "unix:///tmp/b.sock"):
        assert find_redis(tmp_path) == "unix:///tmp/b.sock"
