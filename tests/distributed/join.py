"""What a test's program of several processes begins with."""

import jax


def join(arguments: list[str]) -> None:
    """Join the processes that `together` started, by its three last arguments."""
    port, count, index = map(int, arguments)
    if count > 1:
        address = f"127.0.0.1:{port}"
        jax.distributed.initialize(address, count, index, heartbeat_timeout_seconds=10, shutdown_timeout_seconds=60)
