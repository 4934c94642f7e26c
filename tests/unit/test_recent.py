from __future__ import annotations

from vfs.recent import Recent


def test_the_least_recently_used_goes_first() -> None:
    cache: Recent[str, int] = Recent(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)


def test_weights_bound_what_is_kept() -> None:
    cache: Recent[int, str] = Recent(100)
    for key in range(50):
        cache.put(key, "x", 30)
    assert [key for key in range(50) if cache.get(key)] == [47, 48, 49]
    cache.put(1, "larger than all", 101)
    assert not any(cache.get(key) for key in range(50))


def test_putting_again_replaces_value_and_weight() -> None:
    cache: Recent[str, int] = Recent(10)
    for _ in range(5):
        cache.put("a", 1, 6)
    cache.put("b", 2, 4)
    assert (cache.get("a"), cache.get("b")) == (1, 2)
