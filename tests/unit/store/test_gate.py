"""The gate between transactions and resizes: no wake-up is lost, whoever comes in which order."""

from __future__ import annotations

import threading

from vfs.store.gate import Gate


def test_two_that_resize_wait_for_one_transaction() -> None:
    for _ in range(50):
        gate = Gate()
        gate.enter()
        done = []

        def resize(gate: Gate = gate, done: list[int] = done) -> None:
            with gate.alone():
                done.append(1)

        threads = [threading.Thread(target=resize, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        gate.leave()
        for thread in threads:
            thread.join(10)
        assert len(done) == 2
        gate.enter()
        gate.leave()


def test_transactions_go_on_after_a_resize() -> None:
    gate = Gate()
    inside = threading.Event()
    release = threading.Event()
    entered = threading.Event()

    def resize() -> None:
        with gate.alone():
            inside.set()
            release.wait(10)

    def use() -> None:
        gate.enter()
        entered.set()
        gate.leave()

    resizing = threading.Thread(target=resize)
    resizing.start()
    assert inside.wait(10)
    using = threading.Thread(target=use)
    using.start()
    assert not entered.is_set()
    release.set()
    using.join(10)
    resizing.join(10)
    assert entered.is_set()
