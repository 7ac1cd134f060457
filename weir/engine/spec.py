"""What a file of apps may say: every field with its type, unit and default, checked.

Values only: nothing here opens a file, starts a process or knows a line number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from msgspec import structs
from pydantic import AfterValidator, Field, field_validator, model_validator

from fleet.defaults import ACTIVITY_PERIOD, PORT_LIMIT, PROXY_PORT, PROXY_TLS_PORT
from fleet.routing.port import UDP
from fleet.routing.protocols import Spoken, spoken
from fleet.routing.route import ColdStart, Protection, RateTarget, Route, Scaling, Target, Timeouts
from fleet.routing.rules import TREATMENT
from weir.engine.answerspec import AffinitySpec, MaintenanceField, PlaceholderField, StaticSpec
from weir.engine.appportspec import AppPorts
from weir.engine.beforespec import BeforeField
from weir.engine.corsspec import CorsSpec
from weir.engine.dependspec import DependsOn
from weir.engine.fields import (
    Amount,
    AppProtocol,
    Command,
    Count,
    Files,
    Follows,
    Headers,
    Hosts,
    Methods,
    Model,
    Name,
    Octets,
    Paths,
    Port,
    Positive,
    PositiveSeconds,
    RawPath,
    Seconds,
    Text,
    Variable,
    fault,
    without_port,
)
from weir.engine.outsidespec import PROCESS_FIELDS, OutsideSpec
from weir.engine.previewspec import PreviewsSpec
from weir.engine.ratespec import RateField
from weir.engine.readinessspec import ReadinessSpec
from weir.engine.rulespec import Backends, BackendSpec, RedirectField, RequestHeaders, ResponseHeaders, RewriteField, RuleSpec
from weir.engine.schedulespec import Schedules
from weir.engine.targetspec import Contents, FallbackField, Targets, Tls, unknown_app

__all__ = ["AppSpec", "Check", "FleetSpec", "PortsSpec", "TimeoutsSpec"]

MAX_REPLICAS = 1000
"""Processes of one app on one machine: a typing error should not fill the process table."""
MAX_INTERCEPTORS = 64
"""Interceptors of one file; more than a machine has cores is only good for tests."""


class TimeoutsSpec(Model):
    """Limits of an exchange. What is not said is the interceptor's setting; 0 switches a limit off."""

    readiness: Annotated[Seconds | None, Follows(Timeouts, "readiness")] = None
    connect: Annotated[Seconds | None, Follows(Timeouts, "connect")] = None
    response_header: Annotated[Seconds | None, Follows(Timeouts, "response_header")] = None
    request: Annotated[Seconds | None, Follows(Timeouts, "request")] = None
    idle: Annotated[Seconds | None, Follows(Timeouts, "idle")] = None

    def timeouts(self) -> Timeouts:
        return Timeouts(**self.model_dump())


class AppSpec(Model):
    """One app: how requests find it, how it is started, how it scales."""

    name: Name
    namespace: Name = "default"

    hosts: Hosts = []
    paths: Paths = []
    headers: Headers = []
    methods: Methods = []
    rules: Annotated[
        list[RuleSpec], Follows(Route, "rules", "Several ways to the app, each with hosts, paths, headers and methods.")
    ] = []
    rewrite: RewriteField = None
    request_headers: RequestHeaders = None
    response_headers: ResponseHeaders = None
    redirect: RedirectField = None
    backends: Backends = []
    ports: AppPorts = []

    command: Command = ()
    outside: Annotated[
        OutsideSpec | None,
        Follows(Route, "target", "Where its requests go, instead of a command: nothing is started, and it never sleeps."),
    ] = None
    port: int | None = None
    """Where the app listens always, instead of on a free port for each replica. Then it has one replica at most."""
    env: Annotated[dict[Variable, Text], AfterValidator(without_port)] = {}
    """`$PORT` and `${PORT}` in a value stand for the replica's port."""
    env_file: Files = ()
    """Files with lines NAME=value, relative to the file of apps; a later one wins, and `env` wins over all."""
    cwd: str | None = None
    """Relative to the file; the file's own directory when not said."""
    app_protocol: Annotated[
        AppProtocol | None,
        Follows(Target, "app_protocol", "What the app speaks, in the words of a Service port's appProtocol; http without it."),
    ] = None
    tls: Annotated[
        Tls,
        Follows(Target, "tls", "How the app's certificate is verified. With it, TLS is spoken, whatever app_protocol says."),
    ] = None
    readiness: ReadinessSpec = ReadinessSpec()
    drain: Seconds = 30.0
    """How long a replica that takes no more new requests may finish the ones it has, at most, before it is told to end."""
    grace: Seconds = 10.0
    """How long a replica may take to end after SIGTERM; then it is killed."""
    before: BeforeField = None
    """A command, or fields with command and timeout: it runs once, to its end, before the first replica starts, and again after a
    change of it or of how the app is started."""

    min: int = Field(default=0, ge=0, le=MAX_REPLICAS)
    max: int = Field(default=4, ge=1, le=MAX_REPLICAS)
    target: Annotated[Amount | None, Follows(Scaling, "concurrency")] = None
    rate: Annotated[RateField, Follows(Scaling, "rate")] = None
    activity_period: Annotated[Seconds, Follows(Scaling, "activity_period")] = ACTIVITY_PERIOD
    max_busy: Annotated[Seconds, Follows(Scaling, "max_busy")] = 0.0
    cooldown: Seconds = 30.0
    scale_down_window: Seconds = 10.0
    """How long fewer replicas must have been enough before any is stopped. An HPA's default is 300."""

    schedule: Schedules = []
    """Minimum replicas by the clock, beside what requests ask for; of several the most."""

    timeouts: Annotated[TimeoutsSpec, Follows(Route, "timeouts")] = TimeoutsSpec()

    placeholder: Annotated[PlaceholderField, Follows(ColdStart, "placeholder")] = None
    """true is the built-in page, for browsers."""
    fallback: FallbackField = None
    static: Annotated[list[StaticSpec], Follows(Route, "static_routes")] = []
    maintenance: Annotated[MaintenanceField, Follows(Route, "maintenance")] = None
    """true is the built-in page."""
    affinity: Annotated[AffinitySpec | None, Follows(Route, "affinity")] = None
    cors: Annotated[CorsSpec | None, Follows(Route, "cors")] = None
    previews: Annotated[PreviewsSpec | None, Follows(Route, "previews")] = None
    depends_on: DependsOn = []
    max_held: Annotated[Positive | None, Follows(ColdStart, "max_held")] = None
    max_held_bytes: Annotated[Octets | None, Follows(ColdStart, "max_held_bytes")] = None
    backend_concurrency: Annotated[Count | None, Follows(Protection, "backend_concurrency")] = None
    max_requests: Annotated[Positive | None, Follows(Protection, "max_requests")] = None
    readiness_path: Annotated[RawPath | None, Follows(Protection, "readiness_path")] = None
    server_timing: Annotated[bool, Follows(Route, "server_timing")] = False
    answer_half_closed: Annotated[bool | None, Follows(Route, "answer_half_closed")] = None

    @model_validator(mode="before")
    @classmethod
    def _one_replica_for_one_port(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("port") is not None and value.get("outside") is None and "max" not in value:
            return {**value, "max": 1}
        return value

    @field_validator("port")
    @classmethod
    def _is_port(cls, value: int | None) -> int | None:
        if value is not None and not 1 <= value <= PORT_LIMIT:
            raise ValueError(f"should be a port, from 1 to {PORT_LIMIT}; without it, each replica has a free one")
        return value

    @model_validator(mode="before")
    @classmethod
    def _runs_something(cls, value: Any) -> Any:
        if isinstance(value, dict) and "command" not in value and value.get("outside") is None:
            raise fault("command", "is missing", given=("outside",))
        return value

    @model_validator(mode="after")
    def _is_not_started(self) -> AppSpec:
        if self.outside is not None and self.previews is not None and self.previews.copies:
            raise fault("previews", "has copies, which are started here, and this app is outside", "outside")
        for field in PROCESS_FIELDS if self.outside is not None else ():
            if field in self.model_fields_set:
                raise fault(field, "is for an app that is started here, and this one is outside", "outside")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> AppSpec:
        alone = ("hosts", "paths", "headers", "methods")
        ways = (*alone, "rules", "ports")
        if not any(getattr(self, way) for way in ways):
            raise fault("hosts", 'is missing, and so are paths, headers, methods, rules and ports; "*" is any host', *ways)
        if self.rules and any(getattr(self, way) for way in alone):
            raise fault("rules", "say either rules, or hosts, paths, headers and methods", *ways)
        for field in TREATMENT if self.rules or not any(getattr(self, way) for way in alone) else ():
            if getattr(self, field):
                raise fault(field, "belongs into the rules, where there are rules", "rules")
        if self.port is not None and self.max > 1:
            raise fault(
                "max", f"{self.max} replicas cannot all have port {self.port}; say max: 1, or leave port out", given=("port",)
            )
        if self.port is not None and self.min > 1:
            raise fault("min", f"port means one replica, not {self.min}; say min: 1, or leave port out", given=("port",))
        if self.max < self.min:
            raise fault("max", f"{self.max} is less than min, which is {self.min}", "min", given=("port",))
        if self.fallback_key == self.key:
            raise fault("fallback", "is the app itself", given=("name", "namespace"))
        plain = self.tls is None and spoken(self.app_protocol) == Spoken()
        if self.readiness.path is not None and not plain:
            why = "its path is asked over HTTP/1.1 without TLS, which the app does not speak"
            raise fault("readiness", why, given=("app_protocol", "tls"))
        return self

    @model_validator(mode="after")
    def _schedule_fits(self) -> AppSpec:
        if (most := max((each.replicas for each in self.schedule), default=0)) > self.max:
            raise fault("schedule", f"its {most} replicas are more than max, which is {self.max}", "max", given=("port",))
        return self

    @property
    def key(self) -> str:
        """ "namespace/name"."""
        return f"{self.namespace}/{self.name}"

    @property
    def fallback_key(self) -> str | None:
        """ "namespace/name" of the app that it falls back to."""
        return None if self.fallback is None else self.fallback.key(self.namespace)

    @property
    def has_udp(self) -> bool:
        """Whether it gets datagrams."""
        return any(port.protocol == UDP for port in self.ports)

    @property
    def is_ready_by_udp(self) -> bool:
        """Whether it is ready as soon as its port takes datagrams."""
        only_udp = bool(self.ports) and not self.every_rule and all(port.protocol == UDP for port in self.ports)
        return self.readiness.is_udp(usual=only_udp)

    @property
    def every_rule(self) -> list[RuleSpec]:
        """The rules; of an app without `rules` the one that its own fields are, or none if it has ports alone."""
        if not (self.rules or self.hosts or self.paths or self.headers or self.methods):
            return []
        return self.rules or [RuleSpec(**{name: getattr(self, name) for name in RuleSpec.model_fields})]

    def backend_keys(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """ "namespace/name" of the apps that its requests go to by its rules, each with the field that names it."""
        for at, backend in self._backends():
            key = backend.key(self.namespace)
            if key is not None:
                yield (*at, "service"), key

    def _backends(self) -> Iterator[tuple[tuple[str | int, ...], BackendSpec]]:
        """Those of its rules, each with the field that holds it."""
        rules: Sequence[RuleSpec | AppSpec] = self.rules or (self,)
        for number, rule in enumerate(rules):
            at = ("rules", number) if self.rules else ()
            for position, backend in enumerate(rule.backends):
                yield (*at, "backends", position), backend

    def files(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """The files that answers take their bodies from, each with the field that names it."""
        answers = (
            (("placeholder",), self.placeholder),
            (("maintenance",), self.maintenance),
            *((("static", position), static) for position, static in enumerate(self.static)),
        )
        for path, answer in answers:
            if answer is not None and answer.file is not None:
                yield (*path, "file"), answer.file

    def authority_files(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """The files with authorities, each with the field that names it."""
        if self.tls is not None and self.tls.ca is not None:
            yield ("tls", "ca"), self.tls.ca
        if self.fallback is not None and self.fallback.tls is not None and self.fallback.tls.ca is not None:
            yield ("fallback", "tls", "ca"), self.fallback.tls.ca
        for at, backend in self._backends():
            if backend.tls is not None and backend.tls.ca is not None:
                yield (*at, "tls", "ca"), backend.tls.ca

    def own_target(self, contents: Contents) -> Target:
        """Where its requests go, and how it is spoken to."""
        place = Target(self.key) if self.outside is None else self.outside.target()
        return structs.replace(place, app_protocol=self.app_protocol, tls=None if self.tls is None else self.tls.tls(contents))

    def route(self, contents: Contents = MappingProxyType({}), targets: Targets = unknown_app) -> Route:
        """The app as interceptors and scalers know it, given the content of its files, and the targets of other apps."""
        rate = RateTarget(**self.rate.model_dump()) if self.rate else None
        return Route(
            app=self.key,
            target=self.own_target(contents),
            rules=tuple(rule.rule(self.namespace, contents, targets) for rule in self.every_rule),
            scaling=Scaling(concurrency=self.target, rate=rate, activity_period=self.activity_period, max_busy=self.max_busy),
            timeouts=self.timeouts.timeouts(),
            static_routes=tuple(static.route(contents) for static in self.static),
            cold_start=self._cold_start(contents, targets),
            maintenance=None if self.maintenance is None else self.maintenance.response(contents),
            affinity=None if self.affinity is None else self.affinity.affinity(),
            cors=None if self.cors is None else self.cors.cors(),
            protection=Protection(self.backend_concurrency, self.max_requests, self.readiness_path),
            server_timing=self.server_timing,
            answer_half_closed=self.answer_half_closed,
            ports=tuple(port.listen_port() for port in self.ports),
            previews=None if self.previews is None else self.previews.previews(self.key, self.own_target(contents)),
            depends_on=tuple(each.dependency(self.namespace) for each in self.depends_on),
        )

    def _cold_start(self, contents: Contents, targets: Targets) -> ColdStart:
        placeholder, fallback = self.placeholder, self.fallback
        return ColdStart(
            placeholder=None if placeholder is None else placeholder.placeholder(contents),
            fallback=None if fallback is None else fallback.target(self.namespace, contents, targets),
            max_held=self.max_held,
            max_held_bytes=self.max_held_bytes,
            overflow_placeholder=placeholder is not None and placeholder.when_full,
        )

    def directory(self, base: Path) -> Path:
        """Where the command runs, for a file that lies in base."""
        return base if self.cwd is None else base / Path(self.cwd).expanduser()

    def same_process(self, other: AppSpec) -> bool:
        """Whether a process of one would be the same as a process of the other, so that it may live on."""
        return _process_of(self) == _process_of(other)


def _process_of(spec: AppSpec) -> tuple[object, ...]:
    return (spec.command, spec.env, spec.cwd, spec.port, spec.app_protocol, spec.readiness)


class PortsSpec(Model):
    """Where the components listen, on the loopback address; 0 is a free port. Of many interceptors, the first, which alone
    listens at the ports of apps as well."""

    proxy: Port = PROXY_PORT
    proxy_tls: Port = PROXY_TLS_PORT
    """Only with `weir up --tls`, or if the interceptors have certificates."""
    rpc: Port = 0
    interceptor_diagnostics: Port = 0
    scaler: Port = 0
    scaler_diagnostics: Port = 0
    page: Port = 0
    """Of the engine itself: what `weir ps` and its like ask."""


class FleetSpec(Model):
    """The whole file."""

    interceptors: int = Field(default=1, ge=1, le=MAX_INTERCEPTORS)
    poll_interval: PositiveSeconds = 1.0
    """Pause between two readings of an app's metrics. KEDA's default is 30, an HPA's 15."""
    ports: PortsSpec = PortsSpec()
    interceptor: dict[str, Any] = {}
    """Settings of every interceptor, by the names they have in its environment, in lower case without WEIR_."""
    scaler: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    """Fields of apps, for all apps that do not say otherwise. They are in the apps already."""
    apps: list[AppSpec] = []


Check = Callable[[FleetSpec], None]
"""Raises SpecError for a file that cannot be served as its `weir up` was started."""
