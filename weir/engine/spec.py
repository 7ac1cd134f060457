"""What a file of apps may say: every field with its type, unit and default, checked.

Values only: nothing here opens a file, starts a process or knows a line number.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from fleet.routing.route import HeaderMatch, RateTarget, Route, Rule, Scaling, Target, Timeouts

__all__ = ["AppSpec", "FleetSpec", "HeaderSpec", "PortsSpec", "RateSpec", "ReadinessSpec", "RuleSpec", "TimeoutsSpec"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

MAX_REPLICAS = 1000
"""Processes of one app on one machine: a typing error should not fill the process table."""
MAX_INTERCEPTORS = 64
"""Interceptors of one file; more than a machine has cores is only good for tests."""


def _seconds(value: object) -> object:
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            raise ValueError("should be seconds, or a duration like 500ms, 10s, 5m")
        return float(match[1]) * _UNITS[match[2]]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("should be seconds, or a duration like 500ms, 10s, 5m")
    return value


def _command(value: object) -> object:
    if isinstance(value, str) and value.strip():
        return ("/bin/sh", "-c", value)
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ValueError("should be a command line, or a list of words")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("should be lower-case letters, digits and hyphens, at most 63")
    return value


def _variable(value: str) -> str:
    if not _VARIABLE.fullmatch(value):
        raise ValueError("should be the name of an environment variable")
    return value


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError('should be text; write it in quotes, like "1"')
    return value


def _fault(field: str, reason: str) -> PydanticCustomError:
    """A fault that only shows beside other fields; `field` is where it is to be mended."""
    return PydanticCustomError("weir", "{reason}", {"field": field, "reason": reason})


def _rate(value: object) -> object:
    return {"target": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, AfterValidator(_name)]
Variable = Annotated[str, AfterValidator(_variable)]
Text = Annotated[str, BeforeValidator(_text)]
Command = Annotated[tuple[str, ...], BeforeValidator(_command)]
Port = Annotated[int, Field(ge=0, le=65535)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Model(BaseModel):
    # Strict: YAML reads an unquoted "no" as false and 1.10 as a number, and neither is what was meant.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class HeaderSpec(_Model):
    """A header that a request must carry; without a value, presence is enough."""

    name: str = Field(min_length=1)
    value: Text | None = None


class RuleSpec(_Model):
    """One way to the app: any of the hosts and any of the paths and all of the headers."""

    hosts: list[str] = []
    paths: list[str] = []
    headers: list[HeaderSpec] = []

    @model_validator(mode="after")
    def _not_empty(self) -> RuleSpec:
        if not (self.hosts or self.paths or self.headers):
            raise _fault("hosts", 'is missing, and so are paths and headers; "*" is any host')
        return self

    def rule(self) -> Rule:
        headers = tuple(HeaderMatch(name=header.name, value=header.value) for header in self.headers)
        return Rule(hosts=tuple(self.hosts), paths=tuple(self.paths), headers=headers)


class RateSpec(_Model):
    """Requests per second per replica, averaged over a window."""

    target: Amount
    window: PositiveSeconds = 60.0
    granularity: PositiveSeconds = 1.0


class ReadinessSpec(_Model):
    """When a started process may take requests: its port accepts, or a path answers 200 to 399."""

    tcp: Literal[True] | None = None
    path: str | None = Field(default=None, pattern=r"^/\S*$")
    timeout: PositiveSeconds = 60.0
    interval: PositiveSeconds = 0.1
    """Longest pause between two probes. The first come every few milliseconds, so that cold starts are quick."""

    @model_validator(mode="after")
    def _one_probe(self) -> ReadinessSpec:
        if self.tcp and self.path:
            raise _fault("path", "say tcp or path, not both")
        return self


class TimeoutsSpec(_Model):
    """Limits of an exchange. What is not said is the interceptor's setting; 0 switches a limit off."""

    readiness: Seconds | None = None
    connect: Seconds | None = None
    response_header: Seconds | None = None
    request: Seconds | None = None
    idle: Seconds | None = None

    def timeouts(self) -> Timeouts:
        return Timeouts(**self.model_dump())


class AppSpec(_Model):
    """One app: how requests find it, how it is started, how it scales."""

    name: Name
    namespace: Name = "default"

    hosts: list[str] = []
    paths: list[str] = []
    headers: list[HeaderSpec] = []
    rules: list[RuleSpec] = []

    command: Command
    env: dict[Variable, Text] = {}
    cwd: str | None = None
    """Relative to the file; the file's own directory when not said."""
    readiness: ReadinessSpec = ReadinessSpec()
    drain: Seconds = 0.5
    """How long a replica that takes no more new requests may finish the ones it has before it is told to end."""
    grace: Seconds = 10.0
    """How long a replica may take to end after SIGTERM; then it is killed."""

    min: int = Field(default=0, ge=0, le=MAX_REPLICAS)
    max: int = Field(default=4, ge=1, le=MAX_REPLICAS)
    target: Amount | None = None
    """Requests at once that one replica should carry."""
    rate: Annotated[RateSpec, BeforeValidator(_rate)] | None = None
    activity_period: Seconds = 15.0
    cooldown: Seconds = 30.0
    scale_down_window: Seconds = 10.0
    """How long fewer replicas must have been enough before any is stopped. An HPA's default is 300."""

    timeouts: TimeoutsSpec = TimeoutsSpec()

    @model_validator(mode="after")
    def _consistent(self) -> AppSpec:
        if not (self.hosts or self.paths or self.headers or self.rules):
            raise _fault("hosts", 'is missing, and so are paths, headers and rules; "*" is any host')
        if self.max < self.min:
            raise _fault("max", f"{self.max} is less than min, which is {self.min}")
        if self.rules and (self.hosts or self.paths or self.headers):
            raise _fault("rules", "say either rules, or hosts, paths and headers")
        return self

    @property
    def key(self) -> str:
        """ "namespace/name"."""
        return f"{self.namespace}/{self.name}"

    def route(self) -> Route:
        """The app as interceptors and scalers know it."""
        rate = RateTarget(**self.rate.model_dump()) if self.rate else None
        rules = self.rules or [RuleSpec(hosts=self.hosts, paths=self.paths, headers=self.headers)]
        return Route(
            app=self.key,
            target=Target(service=self.key),
            rules=tuple(rule.rule() for rule in rules),
            scaling=Scaling(concurrency=self.target, rate=rate, activity_period=self.activity_period),
            timeouts=self.timeouts.timeouts(),
        )

    def directory(self, base: Path) -> Path:
        """Where the command runs, for a file that lies in base."""
        return base if self.cwd is None else base / Path(self.cwd).expanduser()

    def same_process(self, other: AppSpec) -> bool:
        """Whether a process of one would be the same as a process of the other, so that it may live on."""
        return _process_of(self) == _process_of(other)


def _process_of(spec: AppSpec) -> tuple[object, ...]:
    return (spec.command, spec.env, spec.cwd, spec.readiness)


class PortsSpec(_Model):
    """Where the components listen, on the loopback address; 0 is a free port. Of many interceptors, the first."""

    proxy: Port = 8080
    rpc: Port = 0
    interceptor_diagnostics: Port = 0
    scaler: Port = 0
    scaler_diagnostics: Port = 0


class FleetSpec(_Model):
    """The whole file."""

    interceptors: int = Field(default=1, ge=1, le=MAX_INTERCEPTORS)
    poll_interval: PositiveSeconds = 1.0
    """Pause between two readings of an app's metrics. KEDA's default is 30, an HPA's 15."""
    ports: PortsSpec = PortsSpec()
    interceptor: dict[str, Any] = {}
    """Settings of every interceptor, by the names they have in its environment, in lower case without WEIR_."""
    scaler: dict[str, Any] = {}
    apps: list[AppSpec] = []
