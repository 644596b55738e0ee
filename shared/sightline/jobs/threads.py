import threading
from concurrent.futures import ThreadPoolExecutor, wait

LIMIT_S = 10.0


def start_threads(pool: ThreadPoolExecutor, count: int) -> None:
    """Starts all threads of a pool now, because later the system may have none left."""
    barrier = threading.Barrier(count)
    started = [pool.submit(barrier.wait, LIMIT_S) for _ in range(count)]
    wait(started)
