"""What all tests need to be the same, whoever starts them."""

import signal


def pytest_configure() -> None:
    """Let Ctrl-C be Ctrl-C: a shell starts what runs in its background with it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
