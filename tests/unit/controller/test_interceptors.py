from controller.interceptors import ListedInterceptors, interceptors_of
from controller.propagation import Interceptor
from fleet.discovery.fixed import FixedMembers
from fleet.discovery.kubernetes.objects import Endpoint, EndpointSlice, SlicePort
from fleet.discovery.sources import Member

RPC = SlicePort("rpc", 9090)


def endpoint(address: str, pod: str, *, ready: bool = True, terminating: bool = False) -> Endpoint:
    return Endpoint(address, pod, ready, ready, terminating)


def slice_of(*endpoints: Endpoint, ipv6: bool = False, ports: tuple[SlicePort, ...] = (RPC,)) -> EndpointSlice:
    return EndpointSlice("weir-system/weir-interceptor-rpc", ipv6, ports, endpoints)


def test_pods_that_are_not_ready_are_there_and_those_that_end_are_not() -> None:
    one = slice_of(endpoint("10.0.0.2", "b", ready=False), endpoint("10.0.0.1", "a"), endpoint("10.0.0.3", "c", terminating=True))
    assert interceptors_of([one], "rpc") == (Interceptor("a", "10.0.0.1:9090", True), Interceptor("b", "10.0.0.2:9090", False))


def test_one_address_of_each() -> None:
    six = slice_of(endpoint("fd00::1", "a"), endpoint("fd00::2", "b"), ipv6=True)
    four = slice_of(endpoint("10.0.0.1", "a"))
    assert [one.address for one in interceptors_of([six, four], "rpc")] == ["10.0.0.1:9090", "[fd00::2]:9090"]


def test_slices_without_the_port_say_nothing() -> None:
    assert interceptors_of([slice_of(endpoint("10.0.0.1", "a"), ports=(SlicePort("http", 80),))], "rpc") == ()


async def test_members_of_another_source_are_taken_for_ready() -> None:
    members = FixedMembers([Member("a", "127.0.0.1:1")])
    source = ListedInterceptors(members)
    told: list[None] = []
    source.subscribe(lambda: told.append(None))
    await source.start()
    assert source.current == (Interceptor("a", "127.0.0.1:1", True),)
    members.set([])
    assert told
    assert not source.current
