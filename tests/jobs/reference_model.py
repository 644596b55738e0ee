"""The queue in plain Python: what it must do, without how."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sightline.jobs.job import JobState, Priority


@dataclass(slots=True)
class Entry:
    """A job, by what a test can see of it; `place` orders it among all, `ends` counts how often it ended."""

    id: str
    owner: str
    priority: Priority
    fingerprint: str
    body: str
    key: str | None
    place: int
    state: JobState = JobState.QUEUED
    attempts: int = 0
    lost_leases: int = 0
    isolated: bool = False
    token: str | None = None
    results: str | None = None
    blobs: set[str] = field(default_factory=set)
    ends: int = 0
    discarded: bool = False


@dataclass(slots=True)
class Reference:
    """Every method does what the script of the same name must do; times come by the caller's word."""

    max_attempts: int
    max_lost_leases: int
    bulk_share: int
    limits: dict[str, int]
    jobs: dict[str, Entry] = field(default_factory=dict)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    cache: dict[tuple[str, str], str] = field(default_factory=dict)
    garbage: set[str] = field(default_factory=set)
    turns: int = 0
    places: int = 0
    served: dict[tuple[Priority, str], int] = field(default_factory=dict)
    rotations: int = 0

    def of(self, *states: JobState) -> list[Entry]:
        return sorted((job for job in self.jobs.values() if job.state in states), key=lambda job: job.place)

    def waiting(self, priority: Priority) -> list[Entry]:
        return [job for job in self.of(JobState.QUEUED) if job.priority is priority]

    def submit(self, job: Entry, *, cached: bool) -> Entry | None:
        """The job, the one that has its key, or None where the key came with another request."""
        if job.key and (holder := self.keys.get((job.owner, job.key))):
            return self.jobs[holder] if self.jobs[holder].fingerprint == job.fingerprint else None
        source = self.jobs.get(self.cache.get((job.owner, job.fingerprint), "")) if cached else None
        self.jobs[job.id] = job
        if job.key:
            self.keys[job.owner, job.key] = job.id
        if source and source.results:
            job.results = source.results
            self._end(job, JobState.SUCCEEDED, {source.results})
        else:
            self._need(job, {job.body})
            job.place = self._next_place()
            self.queue(job)
        return job

    def queue(self, job: Entry) -> None:
        """A caller of whom nobody waited comes behind all others."""
        if not any(other.owner == job.owner for other in self.waiting(job.priority) if other is not job):
            self._rotate(job)
        job.state = JobState.QUEUED

    def fair(self, priority: Priority) -> list[Entry]:
        """Those waiting, in the order in which they would be taken if nothing ended and no owner had a limit."""
        active = {job.owner: self.active(job.owner) for job in self.jobs.values()}
        served, queue, order = dict(self.served), self.waiting(priority), []
        while queue:
            job = min(queue, key=lambda job: (active[job.owner], served[priority, job.owner], job.place))
            queue.remove(job)
            order.append(job)
            active[job.owner] += 1
            served[priority, job.owner] = max(served.values()) + 1
        return order

    def active(self, owner: str) -> int:
        return sum(job.owner == owner for job in self.of(JobState.RUNNING))

    def order(self) -> Iterator[Entry]:
        """Those waiting, in the order in which they would be taken if no owner had a limit."""
        queues, turns = {priority: self.fair(priority) for priority in Priority}, self.turns
        while any(queues.values()):
            priority = next(priority for priority in self._priorities(turns) if queues[priority])
            yield queues[priority].pop(0)
            turns = self._turns_after(priority, turns, bulk_waits=bool(queues[Priority.BULK]))

    def take(self, token: str, *, busy: bool) -> Entry | None:
        """None also where the next job must run alone and its worker is busy."""
        candidates = [job for priority in self._priorities(self.turns) for job in self._by_share(priority)]
        job = next((job for job in candidates if self._may_start(job)), None)
        if job and job.isolated and busy:
            return None
        if job:
            job.state, job.token, job.attempts = JobState.RUNNING, token, job.attempts + 1
            self._rotate(job)
            self.turns = self._turns_after(job.priority, self.turns, bulk_waits=bool(self.waiting(Priority.BULK)))
        return job

    def held(self, job_id: str, token: str) -> tuple[Entry | None, bool]:
        job = self.jobs.get(job_id)
        if not job or job.token != token:
            return None, False
        return job, job.state is not JobState.RUNNING

    def finish(self, job: Entry, result: str) -> None:
        job.results = result
        self._end(job, JobState.SUCCEEDED, {result})
        self.cache[job.owner, job.fingerprint] = job.id

    def fail(self, job: Entry, *, transient: bool) -> None:
        if not transient:
            self._end(job, JobState.FAILED, {job.body})
        elif job.attempts >= self.max_attempts:
            self._end(job, JobState.DEAD, {job.body})
        else:
            job.state = JobState.RETRYING

    def release(self, job: Entry) -> None:
        job.attempts -= 1
        self.queue(job)

    def lose(self, job: Entry) -> None:
        job.token, job.lost_leases, job.isolated = None, job.lost_leases + 1, True
        if job.lost_leases >= self.max_lost_leases or job.attempts >= self.max_attempts:
            self._end(job, JobState.DEAD, {job.body})
        else:
            self.queue(job)

    def cancel(self, job: Entry) -> None:
        if not job.state.terminal:
            job.token = None
            self._end(job, JobState.CANCELLED, set())
        self._discard(job)

    def retry(self, job: Entry) -> None:
        job.place, job.attempts, job.lost_leases = self._next_place(), 0, 0
        job.token = None
        self.queue(job)

    def expire(self, job: Entry) -> None:
        self._discard(job)
        if job.discarded:
            del self.jobs[job.id]
        job.discarded = True

    def purge(self, job: Entry) -> None:
        self.cancel(job)
        del self.jobs[job.id]

    def references(self) -> dict[str, set[str]]:
        """Who needs each blob."""
        blobs = {sha256 for job in self.jobs.values() for sha256 in job.blobs}
        return {sha256: {job.id for job in self.jobs.values() if sha256 in job.blobs} for sha256 in blobs}

    def _by_share(self, priority: Priority) -> list[Entry]:
        return sorted(
            self.waiting(priority),
            key=lambda job: (self.active(job.owner), self.served[priority, job.owner], job.place),
        )

    def _rotate(self, job: Entry) -> None:
        self.rotations += 1
        self.served[job.priority, job.owner] = self.rotations

    def _priorities(self, turns: int) -> list[Priority]:
        order = [Priority.INTERACTIVE, Priority.BULK]
        return order[::-1] if turns >= self.bulk_share else order

    def _turns_after(self, taken: Priority, turns: int, *, bulk_waits: bool) -> int:
        return 0 if taken is Priority.BULK or not bulk_waits else turns + 1

    def _may_start(self, job: Entry) -> bool:
        running = sum(other.owner == job.owner for other in self.of(JobState.RUNNING))
        return running < self.limits.get(job.owner, running + 1)

    def _next_place(self) -> int:
        self.places += 1
        return self.places

    def _end(self, job: Entry, state: JobState, blobs: set[str]) -> None:
        job.state, job.ends = state, job.ends + 1
        self._need(job, blobs)

    def _need(self, job: Entry, blobs: set[str]) -> None:
        """These, and no others any more."""
        dropped, job.blobs = job.blobs - blobs, blobs
        self.garbage |= dropped
        self.garbage -= self.references().keys()

    def _discard(self, job: Entry) -> None:
        job.results = None
        self._need(job, set())
        for names in (self.keys, self.cache):
            for name in [name for name, job_id in names.items() if job_id == job.id]:
                del names[name]
