import threading
from collections.abc import Callable

import structlog
from redis.exceptions import RedisError

from sightline.jobs.connection import connect_sync
from sightline.jobs.job import Lease
from sightline.jobs.scripts import call_of, source
from sightline.jobs.settings import JobSettings

log = structlog.get_logger()

RETRY_WAIT_S = 0.5


class LeaseKeeper:
    """Renews leases from a thread of its own, so that a blocked event loop loses none.

    `lost` is called in that thread, once for each lease that turned out to be another's, or its job to be cancelled.
    While Redis is away leases are kept: whether they still count, Redis says when it is back.
    """

    def __init__(self, url: str, settings: JobSettings, *, lost: Callable[[Lease], None]) -> None:
        self._settings, self._lost = settings, lost
        self._redis = connect_sync(url)
        self._renew = self._redis.register_script(source("renew"))
        self._leases: dict[str, Lease] = {}  # by token
        self._changing = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Renews no more; leases that were not ended run out."""
        self._stopping.set()
        self._thread.join()
        self._redis.close()

    def add(self, lease: Lease) -> None:
        with self._changing:
            self._leases[lease.token] = lease

    def remove(self, lease: Lease) -> None:
        with self._changing:
            self._leases.pop(lease.token, None)

    def _run(self) -> None:
        wait_s = self._settings.lease_s / 3
        while not self._stopping.wait(wait_s):
            wait_s = self._settings.lease_s / 3 if self._renew_all() else min(wait_s, RETRY_WAIT_S)

    def _renew_all(self) -> bool:
        with self._changing:
            leases = dict(self._leases)
        if not leases:
            return True
        held = [(lease.job.id, token) for token, lease in leases.items()]
        keys, args = call_of(self._settings, {"leases": held})
        try:
            lost = self._renew(keys=keys, args=args)
        except RedisError as error:
            log.warning("leases_not_renewed", leases=len(leases), error=type(error).__name__)
            return False
        for token in lost:
            self._give_up(leases[token])
        return True

    def _give_up(self, lease: Lease) -> None:
        with self._changing:
            ours = self._leases.pop(lease.token, None)
        if ours:  # not removed meanwhile, because its run came to an end
            log.warning("lease_lost", job=lease.job.id)
            self._lost(lease)
