from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import copies
from controller.bodies import SMALL_ANSWER_BYTES, UNAVAILABLE, Absent
from controller.copies import Grant
from controller.resources import Key, Resource
from controller.scaledobject import SKIP
from controller.table import MAX_TABLE_ANSWER_BYTES, Assembly, Lost, assemble
from fleet.discovery.kubernetes.objects import ConfigMap
from fleet.routing.route import StaticResponse
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


def paged(name: str = "web", *, second: int = 0, page: str = "page") -> Resource:
    """An object whose placeholder is in a ConfigMap."""
    response = {"bodyFromConfigMap": {"name": page, "key": "index.html"}}
    return http(name, metadata=at(second), coldStart={"placeholder": {"response": response}})


def page_of(made: Assembly, name: str = "web") -> StaticResponse:
    placeholder = made.table.apps[f"shop/{name}"].cold_start.placeholder
    assert placeholder is not None
    return placeholder.response


def test_bodies_are_put_in_and_followed() -> None:
    resource = paged()
    made = assemble([resource], {"shop/page": ConfigMap({"index.html": "<p>soon"})})
    assert page_of(made).body == b"<p>soon"
    assert (made.asked, made.missing) == ({resource.key: resource.asked}, {})
    later = assemble([resource], {"shop/page": ConfigMap({"index.html": "<p>now"})}, made.table)
    assert page_of(later).body == b"<p>now"
    assert later.table.version != made.table.version


def test_a_body_that_is_missing_is_reported_and_concerns_nobody_else() -> None:
    broken, fine = paged("broken", page="none"), paged("fine")
    made = assemble([broken, fine], {"shop/page": ConfigMap({"index.html": "x"}), "shop/none": Absent("there is none")})
    assert page_of(made, "broken") == UNAVAILABLE
    assert page_of(made, "fine").body == b"x"
    assert made.missing == {broken.key: ("coldStart.placeholder.response: ConfigMap shop/none: there is none",)}


def test_an_app_that_waits_for_a_config_map_stays_as_it_was() -> None:
    before = assemble([http("web", metadata=at(0))])
    made = assemble([paged(), paged("new")], {}, before.table)
    assert {key.name: route for key, route in made.routes.items()} == {"web": before.table.apps["shop/web"]}
    assert made.asked == {}, "so nothing is said of them yet"
    first = assemble([paged()], {})
    assert page_of(first) == UNAVAILABLE, "there is nothing that it could stay"


def test_bodies_have_room_for_the_oldest_and_small_ones_always() -> None:
    count = MAX_TABLE_ANSWER_BYTES >> 20
    size = MAX_TABLE_ANSWER_BYTES // count - 100
    bodies = {
        "shop/large": ConfigMap({"index.html": "x" * size}),
        "shop/small": ConfigMap({"index.html": "x" * SMALL_ANSWER_BYTES}),
    }
    large = [paged(f"large{number}", second=number, page="large") for number in range(count + 1)]
    made = assemble([*large, paged("small", second=59, page="small")], bodies)
    assert [len(page_of(made, f"large{number}").body or b"") for number in range(count)] == [size] * count
    assert page_of(made, f"large{count}") == UNAVAILABLE
    assert "no room" in made.missing[large[-1].key][0]
    assert len(page_of(made, "small").body or b"") == SMALL_ANSWER_BYTES


@pytest.mark.parametrize(
    "change", [{"metadata": at(0) | {"annotations": {"http.keda.sh/maintenance": "true"}}}, {"serverTiming": True}]
)
def test_whatever_a_table_shows_is_asked_for(change: dict[str, object]) -> None:
    assert http(metadata=at(0)).asked != http(**({"metadata": at(0)} | change)).asked  # type: ignore[arg-type]


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
    assert made.asked == {r.key: r.asked for r in resources if r.key in made.routes}
    assert {r.key for r in resources} == set(made.routes) | set(made.problems) | set(made.shadowed)
    assert len(made.routes) + len(made.problems) + len(made.shadowed) == len(resources)
    for key, lost in made.lost.items():
        for claim in lost:
            assert (made.routes[claim.winner].created, claim.winner.app) < (made.routes[key].created, key.app)


def on(name: str, second: int, workload: str = "web", **spec: Any) -> Resource:
    """An HTTPScaledObject for this workload."""
    return http(name, metadata=at(second), scaleTargetRef={"name": workload, "service": name, "port": 80}, **spec)


def test_of_those_that_want_one_workload_the_oldest_has_it() -> None:
    first, second, third, other = on("z", 1), on("a", 2), on("b", 2), on("c", 3, "other")
    made = assemble([other, third, second, first])
    assert made.outdone == {second.key: first.key, third.key: first.key}
    assert assemble([other, third, second]).outdone == {third.key: second.key}, "then by name"
    assert made.conflicted == {second.key, third.key}
    assert set(made.routes) == {one.key for one in (first, second, third, other)}, "all are served"


def test_an_app_without_requests_has_no_workload_either() -> None:
    winner, unserved, next_one = on("a", 1, "other"), on("b", 2, hosts=["a.example.com"]), on("c", 3)
    made = assemble([winner, unserved, next_one])
    assert made.unserved == {unserved.key}
    assert not made.outdone, "the one that is served has it, although it is younger"
    half = assemble([winner, on("b", 2, hosts=["a.example.com", "b.example.com"]), next_one])
    assert not half.unserved
    assert half.outdone == {next_one.key: unserved.key}


def test_an_app_with_a_scaled_object_of_its_own_or_removed_does_not_count() -> None:
    skipped = http(
        "a", metadata=at(1) | {"annotations": {SKIP: "true"}}, scaleTargetRef={"name": "web", "service": "a", "port": 80}
    )
    going = http(
        "b",
        metadata=at(1) | {"deletionTimestamp": "2026-01-01T00:00:00Z"},
        scaleTargetRef={"name": "web", "service": "b", "port": 80},
    )
    invalid = on("c", 1, hosts=["no host"])
    assert not assemble([skipped, going, invalid, on("d", 2)]).outdone


def test_previews_are_in_the_entry_of_their_base() -> None:
    base = http("web", hosts=["example.com"], previews={"cookie": "preview"}, timeouts={"request": "5s"})
    copy = http("web--f1", hosts=None, previewOf={"base": "web", "name": "f1"}, metadata=at(3), maxBusy="1s")
    by_route = route("web--f2", rules=None, previewOf={"base": "web", "name": "f2"}, metadata=at(4))
    made = assemble([by_route, copy, base])
    assert not made.problems
    assert [each.app for each in made.table.routes] == ["shop/web"]
    assert set(made.routes) == {base.key, copy.key, by_route.key}
    assert made.routes[copy.key] is made.table.apps["shop/web--f1"]
    assert made.routes[copy.key].timeouts.request == 5.0
    assert made.routes[copy.key].target.service == "shop/web--f1"
    assert made.asked[copy.key] == copy.asked
    previews = made.table.apps["shop/web"].previews
    assert previews is not None
    assert [(each.name, each.created - base.meta.created) for each in previews.copies] == [("f1", 3), ("f2", 4)]
    assert made.table.match(b"f1.example.com", b"/", ()) is not None


def test_a_base_needs_not_say_that_it_has_previews() -> None:
    made = assemble([http("web", hosts=["example.com"]), http("a", previewOf={"base": "web", "name": "f1"}, hosts=None)])
    assert made.table.match(b"f1.example.com", b"/", ()) is made.table.apps["shop/web"]


def test_sessions_and_previews_need_cookies_of_their_own() -> None:
    base = http("web", hosts=["example.com"], previews={"cookie": "s"}, affinity={"cookie": "s"})
    copy = http("a", previewOf={"base": "web", "name": "f1"}, hosts=None)
    made = assemble([base, copy])
    reason = "spec.previews.cookie: s is the cookie of affinity as well: take another name for one of them"
    assert str(made.problems[base.key]) == reason
    # A preview has the sessions of its base, and what it says itself is ignored.
    base = http("web", hosts=["example.com"], previews={"cookie": "s"})
    copy = http("a", previewOf={"base": "web", "name": "f1"}, hosts=None, affinity={"cookie": "s"})
    assert not assemble([base, copy]).problems


def test_what_is_wrong_with_a_preview_is_its_own_affair() -> None:
    base = http("web", hosts=["example.com"])
    copy = http("a", hosts=None, previewOf={"base": "web", "name": "f1"}, metadata=at(1))
    twice = http("b", hosts=None, previewOf={"base": "web", "name": "f1"}, metadata=at(2))
    lonely = http("c", hosts=None, previewOf={"base": "nothing", "name": "f2"})
    stranger = http("d", "other", hosts=None, previewOf={"base": "web", "name": "f3"})
    nested = http("e", hosts=None, previewOf={"base": "a", "name": "f4"})
    badly = http("f", hosts=None, previewOf={"base": "web", "name": "a--b"})
    made = assemble([base, copy, twice, lonely, stranger, nested, badly])
    assert {str(problem).split(":")[0] for problem in made.problems.values()} == {
        "spec.previewOf.name", "spec.previewOf.base",
    }  # fmt: skip
    assert set(made.problems) == {each.key for each in (twice, lonely, stranger, nested, badly)}
    assert set(made.routes) == {base.key, copy.key}
    assert set(made.table.apps) == {"shop/web", "shop/a"}


PLACED = {"base": "web", "name": "f1", "namespace": "shop", "uid": "u1"}
GRANTED = {("qa/web--f1", "u1"): Grant("shop/web", "f1")}


def copies_in(made: Assembly, app: str = "shop/web") -> list[str]:
    previews = made.table.apps[app].previews
    return [] if previews is None else [each.app for each in previews.copies]


def elsewhere(namespace: str = "qa", **said: str) -> Resource:
    return http("web--f1", namespace, hosts=None, previewOf=PLACED | said, metadata=at(9))


def test_a_copy_in_another_namespace_is_one_if_a_preview_of_its_base_says_so() -> None:
    found = assemble([http("web"), elsewhere()], grants=GRANTED)
    assert (copies_in(found), found.problems) == (["qa/web--f1"], {})
    assert found.table.apps["qa/web--f1"].target.service == "qa/web--f1"


@pytest.mark.parametrize(
    "copy",
    [
        elsewhere(uid="u2"),
        elsewhere(name="f2"),
        elsewhere(base="other"),
        elsewhere("evil"),
        http("web--f1", "qa", hosts=None, previewOf={"base": "web", "name": "f1", "namespace": "shop"}),
        http("else", "qa", hosts=None, previewOf=PLACED),
        route("web--f1", "qa", rules=None, previewOf=PLACED),
    ],
    ids=["another uid", "another name", "another base", "another namespace", "no uid", "another object", "another kind"],
)
def test_nobody_becomes_a_preview_of_another_tenants_base_by_saying_so(copy: Resource) -> None:
    for grants in (GRANTED, {}):
        found = assemble([http("web"), http("other"), copy], grants=grants)
        assert (copies_in(found), copies_in(found, "shop/other")) == ([], [])
        assert found.problems[copy.key].field == "spec.previewOf.namespace"
        assert set(found.table.apps) == {"shop/web", "shop/other"}


def test_a_grant_makes_nothing_a_preview_that_does_not_say_so() -> None:
    """A Preview of a tenant names the application of another one, and so would its forged status."""
    theirs = http("web--f1", "qa", hosts=["theirs.example.com"])
    of_their_own = http("web--f2", "qa", hosts=None, previewOf={"base": "web", "name": "f1"})
    bases = [http("web"), http("web", "qa", hosts=["qa.example.com"])]
    grants = {("qa/web--f1", "u1"): Grant("shop/web", "f1"), ("qa/web--f2", "u1"): Grant("shop/web", "f1")}
    found = assemble([*bases, theirs, of_their_own], grants=grants)
    assert (copies_in(found), copies_in(found, "qa/web")) == ([], ["qa/web--f2"])
    assert found.table.match(b"f1.web.example.com", b"/", ()) is None


def test_a_copy_elsewhere_is_not_taken_for_a_preview_of_what_has_its_bases_name_there() -> None:
    theirs = http("web", "qa", hosts=["qa.example.com"])
    found = assemble([http("web"), theirs, elsewhere()], grants={})
    assert copies_in(found, "qa/web") == []


def test_while_grants_are_not_known_copies_elsewhere_stay_as_they_are_served() -> None:
    """After a change of leaders: nothing is added, and nothing goes away."""
    before = assemble([http("web"), elsewhere()], grants=GRANTED).table
    kept = assemble([http("web"), elsewhere()], before=before, grants=None)
    assert copies_in(kept) == ["qa/web--f1"]
    for objects in ([http("web"), elsewhere("evil")], [http("web"), elsewhere(name="f2")]):
        assert copies_in(assemble(objects, before=before, grants=None)) == []
    assert copies_in(assemble([http("web"), elsewhere()], grants=None)) == []


def test_a_preview_whose_host_an_older_object_has_is_told() -> None:
    base, older = http("web", hosts=["example.com"]), http("old", "other", hosts=["f1.example.com"])
    copy = http("a", hosts=None, previewOf={"base": "web", "name": "f1"}, metadata=at(9))
    assert assemble([base, older, copy]).lost == {copy.key: (Lost("f1.example.com/", older.key),)}
    younger = http("young", "other", hosts=["f1.example.com"], metadata=at(10))
    made = assemble([base, younger, copy])
    assert made.lost == {younger.key: (Lost("f1.example.com/", copy.key),)}
    assert made.unserved == {younger.key}


def test_hosts_of_previews_are_bounded_over_all_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each preview has as many as its base, which may have thousands."""
    monkeypatch.setattr(copies, "MAX_COPY_HOSTS", 8)
    bases = [http(name, hosts=[f"{name}{number}.example.com" for number in range(3)]) for name in ("a", "b")]
    made = [
        http(f"{base}-{number}", hosts=None, previewOf={"base": base, "name": f"f{number}"}, metadata=at(number))
        for number in range(2)
        for base in ("a", "b")
    ]
    found = assemble([*bases, *made])
    assert [key.name for key in found.problems] == ["a-1", "b-1"]
    assert "all previews together have 8 at most" in str(found.problems[made[2].key])


def test_a_preview_is_told_which_of_its_fields_mean_nothing() -> None:
    copy = http("a", previewOf={"base": "web", "name": "f1"}, timeouts={"request": "5s"}, serverTiming=True)
    assert [str(problem).split(":")[0] for problem in copy.ignored] == ["spec.hosts", "spec.timeouts", "spec.serverTiming"]
