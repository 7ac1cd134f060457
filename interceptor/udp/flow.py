"""A flow at a UDP port: the datagrams of one address and port of a client, and what its backend sends to it.

While it has no backend, its first datagrams are kept within a bound, and go on in order. They are kept until the backend has
answered, or a little longer than it takes to be refused: then they go to another backend.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Final

from fleet.routing.firstbytes import fits
from fleet.routing.port import FLOW_IDLE_SECONDS
from interceptor.backends.endpoint import Slot
from interceptor.core.deadlines import NEVER
from interceptor.core.errors import BackendError, ExchangeError
from interceptor.exchange.attempt import MAX_ATTEMPTS
from interceptor.exchange.phases import DONE, SENT, WAITING
from interceptor.exchange.stream import UNCOUNTED
from interceptor.transport.datagrams import BUFFER, VIEW, Control, connected
from interceptor.trust import plain_address
from interceptor.udp.exchange import METHOD, Address, FlowExchange, FlowHost, FlowSite
from interceptor.udp.flows import source_of
from interceptor.uncounted import prepared

if TYPE_CHECKING:
    from fleet.demand.ledger import Lease
    from interceptor.app.app import App
    from interceptor.backends.endpoint import Endpoint
    from interceptor.core.replies import Reply

__all__ = ["CONFIRM_SECONDS", "GONE_SECONDS", "HELD_BYTES", "HELD_DATAGRAMS", "Flow"]

HELD_DATAGRAMS: Final = 16
"""Datagrams of one flow that are kept: a client that gets no answer repeats a few times, with growing pauses."""
HELD_BYTES: Final = 64 * 1024
"""Their bytes: the longest datagram fits."""
DATAGRAM_BYTES: Final = 64
"""What a kept datagram costs in memory, beside its bytes."""
CONFIRM_SECONDS: Final = 2.0
"""A backend that has neither answered nor refused for this long is taken to be there: an ICMP message takes less."""
GONE_SECONDS: Final = 5.0
"""A flow whose backend is not listed any more goes on as long as the backend answers this often; then it begins anew, with
another backend."""


class Flow:
    """One flow. It holds a slot of its backend from `relay` on."""

    __slots__ = (
        "_control", "_ended", "_endpoint", "_kept", "_kept_bytes", "_lease", "_owed", "_own", "_port", "_receive", "_send",
        "_silent", "_slot", "_stats", "_usual", "address", "answered", "app", "app_name", "bucket", "deadline", "exchange",
        "heard", "host", "idle", "local", "requests", "since", "site", "source",
    )  # fmt: skip

    _endpoint: Endpoint
    """The backend, once there is one."""
    protocol = METHOD.decode()
    trusted = unframed = congested = paused = half_closed = False
    own_backend = None

    def __init__(self, host: FlowHost, site: FlowSite, app: App, address: Address, local: bytes) -> None:
        """`app` is the part of the application for the port; `local` is the address that the client has sent to."""
        port = app.port
        assert port is not None  # noqa: S101 -- of a part for a port
        self.host, self.site, self.app, self._port = host, site, app, port
        self.address, self.local = address, local
        self.app_name = app.name
        self.source = source_of(address[0])
        self.idle = FLOW_IDLE_SECONDS if port.idle is None else port.idle
        self.deadline = NEVER
        self.bucket = 0
        self.since = host.clock()
        self.requests = 0
        self.answered = False
        self.heard = 0.0
        """When the backend last sent something."""
        self.exchange: FlowExchange | None = None
        """Until the backend has answered, or is taken to be there."""
        self._stats = app.stats
        self._ended = False
        self._control: Control = site.socket.control(local)
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._lease: Lease | None = None
        self._slot: Slot | None = None
        self._own: socket.socket | None = None
        self._owed = 0
        """Answers that are still to come, where the port says how many there are."""
        self._silent = False
        """Whether it counts from the next datagram on."""
        self._usual = False
        """Whether a datagram of the client needs nothing but to be passed on."""

    # -- as the list of flows, and pages, see it ------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        return self._own is None

    @property
    def activity(self) -> str:
        return "held" if self.waits else "answered" if self.answered else "unanswered"

    @property
    def peer(self) -> bytes:
        return plain_address(self.address[0]).encode()

    def idle_for(self, now: float) -> float:
        return now - self.deadline + (self.idle if self.exchange is None else min(CONFIRM_SECONDS, self.idle))

    # -- datagrams of the client ----------------------------------------------------------------------------------

    def begin(self, data: bytes, now: float) -> None:
        """With its first datagram."""
        self._stats.datagrams_in += 1
        self.host.flows.add(self)
        if not self._keep(data):
            self.end(now)
            return
        networks, patterns = prepared(self._port.uncounted)
        uncounted = networks is not None and networks.trusts(plain_address(self.address[0]))
        uncounted = uncounted or (bool(patterns) and bool(fits(patterns, data)))
        silent = self._port.uncounted.silent
        self._silent = not uncounted and silent is not None
        if silent is not None and self._silent and not self.app.endpoints.ready:
            self.deadline = now + silent
            self.keep_deadline()
        else:
            self._begin(counted=not uncounted and not self._silent)

    def _begin(self, *, counted: bool) -> None:
        exchange = self.exchange = FlowExchange(self, self._size, counted=counted)
        exchange.begin()

    def take(self, data: memoryview, now: float) -> None:
        """A datagram of the client, but the first."""
        self._stats.datagrams_in += 1
        if not self._usual or self._endpoint.gone:
            self._take_unusual(data, now)
            return
        self.deadline = now + self.idle
        try:
            self._send(data)
        except OSError as error:
            self._not_sent(error, now)

    def _take_unusual(self, data: memoryview, now: float) -> None:
        if self._silent:
            self._silent = False
            if self._own is None and self.exchange is None:
                self._keep(bytes(data))
                self._begin(counted=True)
                return
            self._count(now)
        slot = self._slot
        if slot is None or self._own is None:
            self._keep(bytes(data))
        elif slot.endpoint.gone and self.exchange is not None:
            self._keep(bytes(data))
            self._move(now)
        elif slot.endpoint.gone and now >= self.heard + GONE_SECONDS:
            self._stats.datagrams_in -= 1  # it is counted by the flow that it begins
            self.end(now)
            self.site.begin(self.address, self.local, len(data), now)
        else:
            if self.exchange is None:
                self.deadline = now + self.idle
                self._usual = self._port.replies is None
            elif not self._keep(bytes(data), sent=True):
                self._settle(now)
            self._owed += self._port.replies or 0
            self._pass_on(data, now)

    def _keep(self, data: bytes, *, sent: bool = False) -> bool:
        """Keep a datagram within the bounds, or drop it; one that is `sent` is kept for another backend, and not dropped."""
        size, room, waiting = len(data) + DATAGRAM_BYTES, self.app.room, self.exchange is not None and not sent
        if len(self._kept) >= HELD_DATAGRAMS or self._kept_bytes + len(data) > HELD_BYTES or (waiting and room.free_bytes < size):
            why = "overflow"
        elif not self.host.flows.keep(size):
            why = "memory"
        else:
            self._kept.append(data)
            self._kept_bytes += len(data)
            if waiting and self.exchange is not None:
                self.exchange.grew(self._size)
            return True
        if not sent:
            self._drop(why)
        return False

    def _drop(self, why: str, count: int = 1) -> None:
        self._stats.dropped[why] += count
        self.app.entry.dropped_total += count

    @property
    def _size(self) -> int:
        """What the kept datagrams take of memory."""
        return self._kept_bytes + DATAGRAM_BYTES * len(self._kept)

    def _drop_kept(self) -> None:
        self.host.flows.give_back(self._size)
        self._kept, self._kept_bytes = [], 0

    def _count(self, now: float) -> None:
        """It has not counted, and does from now on."""
        lease, before = self.app.entry.acquire(now), self._lease
        self._lease = lease
        if self.exchange is None:
            lease.upgrade(now)
        else:
            self.exchange.lease, self.exchange.counted = lease, True
        if before is not None:
            before.release(now)

    # -- to the backend -------------------------------------------------------------------------------------------

    def relay(self, endpoint: Endpoint, lease: Lease, now: float) -> None:
        """There is a backend: send what was kept."""
        self._lease, self._endpoint, self._slot = lease, endpoint, Slot(endpoint)
        try:
            own = self._own = connected(endpoint.backend.host, endpoint.backend.port)
        except OSError as error:
            asyncio.get_running_loop().call_soon(self._failed, error, self._slot)
            return
        self._send, self._receive = own.send, own.recv_into
        self.site.poller.add(own, self)
        self.deadline = now + min(CONFIRM_SECONDS, self.idle)
        self.keep_deadline()
        self._owed = len(self._kept) * (self._port.replies or 0)
        for data in self._kept:
            if not self._pass_on(data, now):
                return

    def _pass_on(self, data: bytes | memoryview, now: float) -> bool:
        try:
            self._send(data)
        except OSError as error:
            return self._not_sent(error, now)
        return True

    def _not_sent(self, error: OSError, now: float) -> bool:
        """Returns whether more may be sent."""
        if error.errno == errno.ECONNREFUSED:
            # Not at once, because what is done then may lead here again, for each backend.
            asyncio.get_running_loop().call_soon(self._failed, error, self._slot)
            return False
        self._drop("send")
        return True

    def _failed(self, error: OSError, slot: Slot | None) -> None:
        """The backend is not there, or cannot be reached from here."""
        if slot is None or slot is not self._slot:  # that was noticed before
            return
        now, exchange = self.host.clock(), self.exchange
        found = slot.endpoint.owner.failed(slot.endpoint, error)
        if exchange is None:
            self._stats.cut["refused"] += 1
            self.end(now)
        elif isinstance(found, ExchangeError):
            self._leave_backend()
            exchange.phase = WAITING
            exchange.fail(found)
        else:
            self._move(now)

    def _move(self, now: float) -> None:
        """Nothing was answered: send what was kept to another backend, or wait for one."""
        exchange, slot = self.exchange, self._slot
        assert exchange is not None and slot is not None  # noqa: S101, PT018
        self._leave_backend()
        exchange.phase = WAITING
        exchange.attempts += 1
        if exchange.attempts >= MAX_ATTEMPTS:
            exchange.fail(BackendError(f"backends of application {self.app_name} refused its datagrams", reason="connect"))
        else:
            exchange.find_again(slot.endpoint, now)

    def _leave_backend(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.vacate()
        own, self._own = self._own, None
        if own is not None:
            self.site.poller.remove(own)
            own.close()

    # -- datagrams of the backend ---------------------------------------------------------------------------------

    def read(self, most: int, now: float) -> int:
        site, control, address, done = self.site.socket.own, self._control, self.address, 0
        while done < most:
            try:
                size = self._receive(BUFFER)
            except OSError as error:
                return max(1, done + self._not_received(error))
            done += 1
            self.heard = now
            if not self.answered:
                self._first_answer(now)
            self.deadline = now + self.idle
            try:
                if control:
                    site.sendmsg((VIEW[:size],), control, 0, address)
                else:
                    site.sendto(VIEW[:size], address)
            except OSError:  # no room in the socket's buffer, or the client cannot be reached
                self._drop("answer")
            else:
                self._stats.datagrams_out += 1
            if self._owed and self._is_last_answer(now):
                return done
        return done

    def _not_received(self, error: OSError) -> int:
        """Returns how much work that was, in datagrams."""
        if error.errno == errno.ECONNREFUSED and self._slot is not None:
            self._failed(error, self._slot)
        return 0 if isinstance(error, BlockingIOError) else 1

    def _is_last_answer(self, now: float) -> bool:
        self._owed -= 1
        if not self._owed:
            self.end(now)
        return not self._owed

    def _first_answer(self, now: float) -> None:
        self.host.flows.note_answered(self)
        self.answered = True
        self._settle(now)

    def _settle(self, now: float) -> None:
        """The backend is there: the flow stays with it."""
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        exchange.phase = DONE
        self._drop_kept()
        if self._lease is not None:
            self._lease.upgrade(now)
        self.deadline = now + self.idle
        self._usual = not self._silent and self._port.replies is None

    # -- as its exchange sees it ----------------------------------------------------------------------------------

    def keep_deadline(self) -> None:
        self.host.deadlines.watch(self)

    def pause_reading(self) -> None:
        """There is nothing to pause: what cannot be kept is dropped."""

    def reply(self, reply: Reply, *, method: bytes, now: float) -> None:
        """The exchange has ended without a backend. Nothing can be said in an unknown protocol."""
        self.exchange = None
        self._drop(reply.reason, len(self._kept))
        self.end(now)

    # -- limits and the end ---------------------------------------------------------------------------------------

    def on_deadline(self, now: float) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.phase == SENT:
            sent = self.deadline - min(CONFIRM_SECONDS, self.idle)
            self._settle(now)
            self.deadline = sent + self.idle
        elif exchange is not None:
            exchange.on_deadline(now)
        elif self._own is not None:
            self.end(now)
        elif self.app.endpoints.ready:
            self._begin(counted=False)
        else:
            self._stats.own[UNCOUNTED, 503] += 1
            self._drop(UNCOUNTED, len(self._kept))
            self.end(now)

    def end(self, now: float) -> None:
        """Release everything that it holds. Idempotent."""
        if self._ended:
            return
        self._ended = True
        exchange, self.exchange = self.exchange, None
        if exchange is not None and exchange.phase == WAITING:
            exchange.on_client_lost()
        elif self._slot is not None and self._lease is not None:
            self._lease.release(now)
            self._stats.tunnelled(METHOD)
        slot = self._slot
        self._leave_backend()
        self._drop_kept()
        self.deadline = NEVER
        self.host.deadlines.forget(self)
        self.host.flows.remove(self)
        self.site.forget(self.address, self.local)
        if slot is not None:
            slot.leave(now)
