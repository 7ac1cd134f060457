from hypothesis import given
from hypothesis import strategies as st

from controller.resources import Key, Resource
from controller.table import Lost, assemble
from tests.unit.controller.objects import http, route


def at(second: int) -> dict[str, str]:
    return {"creationTimestamp": f"2026-01-01T00:00:{second:02}Z"}


def test_a_bad_object_stops_nobody() -> None:
    good, bad = http("good"), http("bad", hosts=["no host"])
    made = assemble([bad, good])
    assert set(made.table.apps) == {"shop/good"}
    assert set(made.problems) == {bad.key}
    assert set(made.routes) == {good.key}


def test_the_older_has_what_both_claim() -> None:
    older = http("z", hosts=["a.example.com"], metadata=at(1))
    younger = http("a", "other", hosts=["b.example.com", "A.example.com"], metadata=at(2))
    made = assemble([younger, older])
    assert made.lost == {younger.key: (Lost("a.example.com/", older.key),)}
    assert made.conflicted == {younger.key}
    promoted = assemble([younger])
    assert not promoted.lost


def test_an_interceptor_route_takes_the_place_of_an_http_scaled_object_of_its_name() -> None:
    made = assemble([http("web", hosts=["old"]), route("web", rules=[{"hosts": ["new"]}])])
    assert made.shadowed == {Key("HTTPScaledObject", "shop", "web"): Key("InterceptorRoute", "shop", "web")}
    assert made.table.match(b"old", b"/", ()) is None
    assert made.table.match(b"new", b"/", ()) is not None
    wrong = assemble([http("web", hosts=["old"]), route("web", rules=[{"hosts": ["no host"]}])])
    assert not wrong.shadowed
    assert wrong.table.match(b"old", b"/", ()) is not None


_names = st.sampled_from(["a", "b", "c", "d"])
_resources = st.builds(
    lambda make, name, namespace, host, second: (make, name, namespace, host, second),
    st.sampled_from([http, route]),
    _names,
    st.sampled_from(["shop", "other"]),
    st.sampled_from(["x.example.com", "y.example.com", "no host"]),
    st.integers(0, 3),
)


def _made(rows: list[tuple[object, str, str, str, int]]) -> list[Resource]:
    made: dict[Key, Resource] = {}
    for make, name, namespace, host, second in rows:
        where = {"hosts": [host]} if make is http else {"rules": [{"hosts": [host]}]}
        resource = (http if make is http else route)(name, namespace, metadata=at(second), **where)
        made[resource.key] = resource
    return [*made.values()]


@given(st.lists(_resources, max_size=12), st.randoms(use_true_random=False))
def test_order_does_not_matter_and_everybody_is_somewhere(rows: list[tuple[object, str, str, str, int]], random: object) -> None:
    resources = _made(rows)
    shuffled = sorted(resources, key=lambda _: random.random())  # type: ignore[attr-defined]
    made, again = assemble(resources), assemble(shuffled)
    assert made.table.version == again.table.version
    assert (made.routes, made.lost, made.shadowed, made.problems) == (again.routes, again.lost, again.shadowed, again.problems)
    assert {r.key for r in resources} == set(made.routes) | set(made.problems) | set(made.shadowed)
    assert len(made.routes) + len(made.problems) + len(made.shadowed) == len(resources)
    for key, lost in made.lost.items():
        for claim in lost:
            assert (made.routes[claim.winner].created, claim.winner.app) < (made.routes[key].created, key.app)
