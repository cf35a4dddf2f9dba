"""What the clients in Python print: `STEP ok`, or `STEP FAILED` and why."""

import contextlib


@contextlib.contextmanager
def step(name):
    try:
        yield
    except Exception as error:  # Any fault is a result; the next step goes on.
        print(f"{name} FAILED {type(error).__name__}: {' '.join(str(error).split())}", flush=True)
    else:
        print(f"{name} ok", flush=True)


def expect(condition, otherwise):
    if not condition:
        raise AssertionError(otherwise)
