from __future__ import annotations

from vfs.daemon.crashes import (
    CRASH_WINDOW_SECONDS,
    CRASHES_MAX,
    CRASHES_TO_BLAME_A_REQUEST,
    FAILED_STARTS_MAX,
    KILLS_PER_SECOND,
    CrashPolicy,
    Verdict,
)


def test_a_killed_worker_is_replaced_however_often() -> None:
    policy = CrashPolicy()
    for nth in range(10_000):
        verdict = policy.died(nth * 0.05, killed=True, was_ready=nth % 2 == 0)
        assert verdict == Verdict()


def test_more_kills_than_make_sense_are_slowed_down() -> None:
    policy = CrashPolicy()
    verdicts = [
        policy.died(0.001 * nth, killed=True, was_ready=True) for nth in range(KILLS_PER_SECOND + 5)
    ]
    assert verdicts[KILLS_PER_SECOND - 1].delay_seconds == 0
    assert verdicts[-1].delay_seconds > 0
    assert not any(verdict.give_up for verdict in verdicts)


def test_failed_starts_come_slower_and_end() -> None:
    policy = CrashPolicy()
    verdicts = [policy.died(0, killed=False, was_ready=False) for _ in range(FAILED_STARTS_MAX)]
    delays = [verdict.delay_seconds for verdict in verdicts]
    assert delays == sorted(delays)
    assert sum(delays) < 10
    assert [verdict.give_up for verdict in verdicts] == [False] * (FAILED_STARTS_MAX - 1) + [True]


def test_a_good_start_forgives_the_failed_ones() -> None:
    policy = CrashPolicy()
    for _ in range(100):
        assert not policy.died(0, killed=False, was_ready=False).give_up
        policy.ready()


def test_a_request_that_crashes_workers_is_blamed() -> None:
    policy = CrashPolicy()
    resent = [policy.died(nth, killed=False, was_ready=True).resend for nth in range(4)]
    assert resent == [nth + 1 < CRASHES_TO_BLAME_A_REQUEST for nth in range(4)]
    assert policy.died(4, killed=True, was_ready=True).resend
    assert policy.died(2 * CRASH_WINDOW_SECONDS, killed=False, was_ready=True).resend


def test_crashes_without_end_end() -> None:
    policy = CrashPolicy()
    verdicts = [policy.died(nth * 0.1, killed=False, was_ready=True) for nth in range(CRASHES_MAX)]
    assert [verdict.give_up for verdict in verdicts] == [False] * (CRASHES_MAX - 1) + [True]
    seldom = CrashPolicy()
    assert not any(
        seldom.died(nth * 2.0, killed=False, was_ready=True).give_up for nth in range(1000)
    )
