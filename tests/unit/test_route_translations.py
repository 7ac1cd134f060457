"""Every field that people write reaches the route: with another value, or without it, the route is another one.

A field that is declared in a form but that nobody translates is found here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

import msgspec
import pytest

from controller.resources import parse_http_scaled_object, parse_interceptor_route
from tests.support.certificates import Authority
from tests.unit.controller.objects import raw
from tests.unit.test_route_fields import FORMS
from weir.engine.spec import AppSpec

Document = dict[str, Any]

PEM = Authority().pem.decode()
_TLS: Document = {"serverName": "b.test", "caBundle": PEM}
_SPOKEN: Document = {"appProtocol": "grpc", "tls": _TLS}
_TLS_ELSEWHERE: Document = {"tls": {"caBundleFromConfigMap": {"name": "authorities", "key": "a"}}}
_NOT_VERIFIED: Document = {"tls": {"insecureSkipVerify": True}}
_SPOKEN_APP: Document = {"app_protocol": "grpc", "tls": {"server_name": "b.test", "ca": "ca"}}
_NOT_VERIFIED_APP: Document = {"tls": {"skip_verify": True}}
_CHANGES: Document = {"set": {"X-A": "1"}, "add": {"X-B": "1"}, "remove": ["X-C"]}
_TREATED: Document = {
    "rewrite": {"prefix": "/y"},
    "requestHeaders": _CHANGES,
    "responseHeaders": _CHANGES,
    "backends": [{"service": "v1", "port": 80, "weight": 3, **_SPOKEN}],
}
_TREATED_APP: Document = {
    "rewrite": {"prefix": "/y"},
    "request_headers": _CHANGES,
    "response_headers": _CHANGES,
    "backends": [{"service": "v1", "weight": 3, **_SPOKEN_APP}],
}
_HOST: Document = {"host": "b.test", "port": 80}
_ADDRESSES: Document = {"addresses": ["192.0.2.1:80"]}
_FALLBACKS: list[Document] = [
    {**_HOST, "port": 8, **_SPOKEN},
    {**_ADDRESSES, "port": 81},
    {**_HOST, "port": 8, **_NOT_VERIFIED},
    {**_HOST, "port": 8, **_TLS_ELSEWHERE},
]
_FALLBACKS_OF_APPS: list[Document] = [
    {**_HOST, "port": 8, **_SPOKEN_APP},
    {**_ADDRESSES, "port": 81},
    {**_HOST, "port": 8, **_NOT_VERIFIED_APP},
    {"service": "other", **_SPOKEN_APP},
]
_OUTSIDE: list[Document] = [{**_HOST, "weight": 3}, {**_ADDRESSES, "port": 81}]
_REDIRECT: Document = {"scheme": "https", "host": "b.test", "port": 8443, "path": "/y"}
_REDIRECTS: list[Document] = [{**_REDIRECT, "statusCode": 308}, {"scheme": "https", "prefix": "/y"}]
_REDIRECTS_OF_APPS: list[Document] = [{**_REDIRECT, "status": 308}, {"scheme": "https", "prefix": "/y"}]
_METRIC: Document = {"scalingMetric": {"concurrency": {"targetValue": 5}}}
_RULE: Document = {
    "hosts": ["a.test"],
    "paths": [{"value": "/x"}],
    "headers": [{"name": "X-A", "value": "1"}],
    "methods": ["GET"],
}
_PORT: Document = {
    "port": 6379,
    "serverNames": ["a.test"],
    "alpn": ["h2"],
    "proxyProtocol": "v2",
    "tls": "terminate",
    "idle": "1m",
    "uncounted": {"silent": "5s", "networks": ["10.0.0.0/8"], "firstBytes": ["PING"]},
}
_UDP_PORT: Document = {"protocol": "UDP", "port": 53}
_DNS_PORT: Document = {**_UDP_PORT, "port": 54, "replies": 1}
_PORTS: list[Document] = [{**_PORT, "servicePort": 81}, _UDP_PORT]
_PORTS_OF_APP: list[Document] = [
    {
        "port": 6379,
        "server_names": ["a.test"],
        "alpn": ["h2"],
        "proxy_protocol": "v2",
        "tls": "terminate",
        "idle": 60.0,
        "uncounted": {"silent": 5.0, "networks": ["10.0.0.0/8"], "first_bytes": ["PING"]},
    },
    _UDP_PORT,
]
_BOTH: Document = {
    "ports": _PORTS,
    "coldStart": {
        "fallback": {"service": {"name": "other", "port": 81, **_SPOKEN}},
        "placeholder": {"response": {"statusCode": 202, "body": "b", "headers": {"X-B": "1"}}, "audience": "Browsers"},
        "maxPendingRequests": 3,
        "maxPendingBytes": "1Mi",
        "overflow": "Placeholder",
    },
    "staticRoutes": [
        {
            "response": {"statusCode": 204, "body": "b", "headers": {"X-B": "1"}},
            "rules": [_RULE],
            "userAgents": ["*bot*"],
            "responseMode": "Always",
        }
    ],
    "scalingMetric": {"concurrency": {"targetValue": 5}, "requestRate": {"targetValue": 7, "window": "30s", "granularity": "2s"}},
    "activityPeriod": "9s",
    "maxBusy": "1h",
    "affinity": {"cookie": "s", "maxAge": "1h"},
    "backendConcurrency": 2,
    "maxRequests": 9,
    "readinessPath": "/ready",
    "serverTiming": True,
    "directPodRouting": True,
    "answerHalfClosed": True,
    "cors": {
        "allowOrigins": ["https://a.test"],
        "allowMethods": ["PUT"],
        "allowHeaders": ["X-A"],
        "exposeHeaders": ["X-B"],
        "maxAge": "1h",
        "allowCredentials": True,
    },
    "previews": {
        "header": "X-Preview",
        "baggage": "p",
        "cookie": "p",
        "setCookie": True,
        "hosts": ["{name}--{baseHost}"],
        "unknown": "refuse",
    },
    "dependsOn": [{"name": "api", "optional": True, "keepAwake": False}, "db"],
}
_BODY_ELSEWHERE: Document = {"bodyFromConfigMap": {"name": "pages", "key": "a"}}
_BOTH_OTHERWISE: Document = {
    "coldStart": {
        "fallback": {"service": {"name": "other", "portName": "http", **_TLS_ELSEWHERE}},
        "placeholder": {"response": _BODY_ELSEWHERE, "audience": "Everyone"},
    },
    "staticRoutes": [{"response": _BODY_ELSEWHERE, "rules": [{}]}],
    "affinity": {"header": "X-User"},
    "scalingMetric": {"concurrency": {"targetValue": 5}},
}
_LIMITS: Document = {"request": "2s", "responseHeader": "3s", "connect": "4s", "idle": "5s"}
_APP: Document = {
    "name": "web",
    "command": "serve",
    "ports": _PORTS_OF_APP,
    **_SPOKEN_APP,
    "hosts": ["a.test"],
    "paths": ["/x"],
    "headers": [{"name": "X-A", "value": "1"}],
    "methods": ["GET"],
    **_TREATED_APP,
    "target": 5.0,
    "rate": {"target": 7.0, "window": 30.0, "granularity": 2.0},
    "activity_period": 9.0,
    "max_busy": 3600.0,
    "timeouts": {"readiness": 1.0, "connect": 2.0, "response_header": 3.0, "request": 4.0, "idle": 5.0},
    "placeholder": {"status": 202, "body": "b", "headers": {"X-B": "1"}, "everyone": True, "when_full": True},
    "fallback": "other",
    "static": [
        {
            "status": 204,
            "body": "b",
            "hosts": ["a.test"],
            "paths": ["/x"],
            "headers": [{"name": "X-A", "value": "1"}],
            "methods": ["GET"],
            "user_agents": ["*bot*"],
            "response_headers": {"X-B": "1"},
            "always": True,
        }
    ],
    "maintenance": {"status": 503, "body": "b", "headers": {"X-B": "1"}},
    "affinity": {"cookie": "s", "max_age": 3600.0},
    "max_held": 3,
    "max_held_bytes": 4096,
    "backend_concurrency": 2,
    "max_requests": 9,
    "readiness_path": "/ready",
    "server_timing": True,
    "answer_half_closed": True,
    "cors": {
        "allow_origins": ["https://a.test"],
        "allow_methods": ["PUT"],
        "allow_headers": ["X-A"],
        "expose_headers": ["X-B"],
        "max_age": 3600.0,
        "allow_credentials": True,
    },
    "previews": {
        "header": "X-Preview",
        "baggage": "p",
        "cookie": "p",
        "set_cookie": True,
        "hosts": ["{name}--{baseHost}"],
        "unknown": "refuse",
        "copies": {"f1": {"env": {"A": "1"}}},
    },
    "depends_on": [{"name": "api", "optional": True, "keep_awake": False}],
}
DOCUMENTS: dict[str, list[Document]] = {
    "InterceptorRoute": [
        {
            **_BOTH,
            "target": {"service": "web", "port": 80, **_SPOKEN},
            "rules": [{**_RULE, **_TREATED}],
            "timeouts": {**_LIMITS, "readiness": "1s"},
        },
        {
            **_BOTH_OTHERWISE,
            "target": {"service": "web", "portName": "http", **_TLS_ELSEWHERE},
            "rules": [{"backends": [{"service": "v1", "portName": "http", **_TLS_ELSEWHERE}]}],
        },
        {
            **_METRIC,
            "coldStart": {"fallback": {"service": {"name": "other", "port": 81, **_NOT_VERIFIED}}},
            "target": {"service": "web", "port": 80, **_NOT_VERIFIED},
            "rules": [{"backends": [{"service": "v1", "port": 80, **_NOT_VERIFIED}]}],
        },
        {"target": {"service": "web", "port": 80}, **_METRIC, "ports": [_UDP_PORT]},
        {"target": {"service": "web", "port": 80}, **_METRIC, "ports": [_DNS_PORT]},
        *({"target": {"service": "web", "port": 80}, **_METRIC, "rules": [{**_RULE, "redirect": each}]} for each in _REDIRECTS),
        *({"target": each, **_METRIC, "rules": [{"backends": [one]} for one in _OUTSIDE]} for each in (_HOST, _ADDRESSES)),
        *({"target": {"service": "web", "port": 80}, **_METRIC, "rules": [{"backends": [each]}]} for each in _OUTSIDE),
        *({"target": {"service": "web", "port": 80}, **_METRIC, "coldStart": {"fallback": each}} for each in _FALLBACKS),
    ],
    "HTTPScaledObject": [
        {
            **_BOTH,
            **_RULE,
            **_TREATED,
            "pathPrefixes": ["/x"],
            "scaleTargetRef": {"service": "web", "port": 80, **_SPOKEN},
            "timeouts": {**_LIMITS, "conditionWait": "1s"},
        },
        {
            **_BOTH_OTHERWISE,
            "scaleTargetRef": {"service": "web", "portName": "http", **_TLS_ELSEWHERE},
            "backends": [{"service": "v1", "portName": "http", **_TLS_ELSEWHERE}],
        },
        {
            "coldStart": {"fallback": {"service": {"name": "other", "port": 81, **_NOT_VERIFIED}}},
            "scaleTargetRef": {"service": "web", "port": 80, **_NOT_VERIFIED},
            "backends": [{"service": "v1", "port": 80, **_NOT_VERIFIED}],
        },
        *(
            {"scaleTargetRef": {"service": "web", "port": 80}, "rules": [{"backends": [{"service": "v1", "port": 80, **each}]}]}
            for each in (_TLS_ELSEWHERE, _NOT_VERIFIED)
        ),
        *(
            {
                "scaleTargetRef": {"service": "web", "port": 80},
                "coldStartTimeoutFailoverRef": {"service": "other", "port": 81, **each},
            }
            for each in (_SPOKEN, _TLS_ELSEWHERE, _NOT_VERIFIED)
        ),
        {"scaleTargetRef": {"service": "web", "port": 80}, "ports": [_UDP_PORT]},
        {"scaleTargetRef": {"service": "web", "port": 80}, "ports": [_DNS_PORT]},
        {"scaleTargetRef": {"service": "web", "port": 80}, "rules": [{**_RULE, **_TREATED}]},
        {"scaleTargetRef": {"service": "web", "port": 80}, "rules": [{"backends": [{"service": "v1", "portName": "http"}]}]},
        *({"scaleTargetRef": {"service": "web", "port": 80}, "hosts": ["a"], "redirect": each} for each in _REDIRECTS),
        *({"scaleTargetRef": {"service": "web", "port": 80}, "rules": [{**_RULE, "redirect": each}]} for each in _REDIRECTS),
        *({"scaleTargetRef": each, "hosts": ["a"], "backends": [one]} for each in (_HOST, _ADDRESSES) for one in _OUTSIDE),
        *({"scaleTargetRef": each, "rules": [{"hosts": ["a"], "backends": [one]}]} for each in (_HOST,) for one in _OUTSIDE),
        *({"scaleTargetRef": _HOST, "hosts": ["a"], "coldStart": {"fallback": each}} for each in _FALLBACKS),
        {"scaleTargetRef": {"service": "web", "port": 80}, "coldStartTimeoutFailoverRef": {"service": "other", "port": 81}},
        {"scaleTargetRef": {"service": "web", "port": 80}, "coldStartTimeoutFailoverRef": {"service": "other", "portName": "a"}},
    ],
    "file of apps": [
        _APP,
        {"name": "web", "command": "serve", "ports": [_UDP_PORT]},
        {"name": "web", "command": "serve", "ports": [_DNS_PORT]},
        {
            "name": "web",
            "command": "serve",
            "rules": [{**_RULE, **_TREATED_APP, "paths": ["/x"]}],
            "placeholder": {"file": "page"},
            "static": [{"file": "page", "paths": ["/x"]}],
            "maintenance": {"file": "page"},
            "affinity": {"header": "X-User"},
        },
        {
            "name": "web",
            "command": "serve",
            "hosts": ["a"],
            **_NOT_VERIFIED_APP,
            "backends": [{"service": "v1", **_NOT_VERIFIED_APP}],
        },
        {"name": "web", "command": "serve", "rules": [{"hosts": ["a"], "backends": [{"service": "v1", **_NOT_VERIFIED_APP}]}]},
        *({"name": "web", "command": "serve", "hosts": ["a"], "redirect": each} for each in _REDIRECTS_OF_APPS),
        *(
            {"name": "web", "outside": each, "hosts": ["a"], "backends": [one]}
            for each in (_HOST, _ADDRESSES)
            for one in _OUTSIDE
        ),
        *({"name": "web", "outside": _HOST, "rules": [{"hosts": ["a"], "backends": [one]}]} for one in _OUTSIDE),
        *({"name": "web", "command": "serve", "hosts": ["a"], "fallback": each} for each in _FALLBACKS_OF_APPS),
        *({"name": "web", "command": "serve", "rules": [{"hosts": ["a"], "redirect": each}]} for each in _REDIRECTS_OF_APPS),
    ],
}
"""Together they have every field, with another value than its default."""
_PLACES = ("target.", "scaleTargetRef.", "coldStart.fallback.", "backends[].", "rules[].backends[].", "outside.", "fallback.")
_OTHER_IN_OBJECTS: dict[str, object] = {
    **dict.fromkeys((f"{at}host" for at in _PLACES), "third.test"),
    **{f"{at}addresses": ["192.0.2.3:80"] for at in _PLACES},
    "coldStart.fallback.port": 82,
    "target": {"service": "third", "port": 80},
    "target.service": "third",
    "target.port": 82,
    "target.portName": "third",
    "scaleTargetRef": {"service": "third", "port": 80},
    "scaleTargetRef.service": "third",
    "scaleTargetRef.port": 82,
    "scaleTargetRef.portName": "third",
    "coldStartTimeoutFailoverRef.service": "third",
    "coldStartTimeoutFailoverRef.port": 82,
    "coldStartTimeoutFailoverRef.portName": "third",
    "coldStart.fallback.service.name": "third",
    "coldStart.fallback.service.port": 82,
    "coldStart.fallback.service.portName": "third",
    "coldStart.placeholder": {"audience": "Everyone"},
    "staticRoutes[].response": {"statusCode": 205},
    "affinity.cookie": "d",
    "affinity.header": "X-Other",
    "scalingMetric": {"concurrency": {"targetValue": 6}},
    "backends[].service": "third",
    "backends[].port": 82,
    "backends[].portName": "third",
    "rules[].backends[].service": "third",
    "rules[].backends[].port": 82,
    "rules[].backends[].portName": "third",
    **{
        f"{place}.tls.caBundleFromConfigMap{field}": other
        for place in (
            *("target", "scaleTargetRef", "coldStartTimeoutFailoverRef", "coldStart.fallback", "coldStart.fallback.service"),
            *("backends[]", "rules[].backends[]"),
        )
        for field, other in (("", {"name": "third"}), (".name", "third"))
    },
    "rewrite.prefix": "/z",
    "rules[].rewrite.prefix": "/z",
    "headers[].name": "X-Other",
    "rules[].headers[].name": "X-Other",
    "staticRoutes[].rules[].headers[].name": "X-Other",
    "cors.allowOrigins": ["https://b.test"],
    "previews.cookie": "q",
    "dependsOn[].name": "cache",
    "ports[].port": 6380,
}
OTHER: dict[str, dict[str, object]] = {
    "InterceptorRoute": _OTHER_IN_OBJECTS,
    "HTTPScaledObject": _OTHER_IN_OBJECTS,
    "file of apps": {
        **dict.fromkeys((f"{at}host" for at in _PLACES), "third.test"),
        **{f"{at}addresses": ["192.0.2.3:80"] for at in _PLACES},
        **dict.fromkeys((f"{at}port" for at in _PLACES), 82),
        "outside": {"host": "third.test", "port": 80},
        "rules": [{"hosts": ["b.test"]}],
        "rate.target": 8.0,
        "affinity.cookie": "d",
        "affinity.header": "X-Other",
        "backends[].service": "third",
        "rules[].backends[].service": "third",
        "fallback.service": "third",
        "rewrite.prefix": "/z",
        "rules[].rewrite.prefix": "/z",
        "headers[].name": "X-Other",
        "rules[].headers[].name": "X-Other",
        "static[].headers[].name": "X-Other",
        "cors.allow_origins": ["https://b.test"],
        "previews.cookie": "q",
        "depends_on[].name": "cache",
        "ports[].port": 6380,
    },
}
"""Other values of fields that cannot be left out."""


def of_route(document: Document) -> object:
    return _asked(parse_interceptor_route(json.dumps(raw(spec=document)).encode()))


def of_http(document: Document) -> object:
    return _asked(parse_http_scaled_object(json.dumps(raw(spec=document)).encode()))


def _asked(resource: Any) -> object:
    assert resource.problem is None, resource.problem
    return resource.asked


def of_app(document: Document) -> object:
    return AppSpec.model_validate(document).route({"page": b"text", "ca": PEM.encode()})


TRANSLATED: dict[str, Callable[[Document], object]] = {
    "InterceptorRoute": of_route,
    "HTTPScaledObject": of_http,
    "file of apps": of_app,
}


def changed(document: Document, path: str, other: Mapping[str, object]) -> Document | None:
    """The document with another value of a field, or without it; None if it does not have the field."""
    whole = deepcopy(document)
    *parts, last = re.findall(r"[^.\[\]]+|\[\]", path)
    holder: Any = whole
    for part in parts:
        key: Any = 0 if part == "[]" else part
        if not (len(holder) if key == 0 else key in holder):
            return None
        holder = holder[key]
    if last not in holder:
        return None
    if path in other:
        holder[last] = other[path]
    else:
        del holder[last]
    return whole


def paths(form: str) -> Iterable[str]:
    return dict.fromkeys(told.path for told in FORMS[form][0]())


@pytest.mark.parametrize(("form", "path"), [(form, path) for form in FORMS for path in paths(form)])
def test_the_field_reaches_the_route(form: str, path: str) -> None:
    translated = TRANSLATED[form]
    pairs = [(document, whole) for document in DOCUMENTS[form] if (whole := changed(document, path, OTHER[form])) is not None]
    assert pairs, f"no example of a {form} has the field"
    assert any(translated(document) != translated(whole) for document, whole in pairs), "it changes nothing about the route"


def test_a_field_that_nobody_translates_is_found() -> None:
    document = {**DOCUMENTS["InterceptorRoute"][0], "unknown": {"list": [{"leaf": 1}]}}
    whole = changed(document, "unknown.list[].leaf", {})
    assert whole is not None
    assert of_route(document) == of_route(whole)
    assert changed(document, "unknown.list[].other", {}) is None


def test_routes_are_values() -> None:
    """Two translations of one document are equal, so that a difference is one of the documents."""
    for form, documents in DOCUMENTS.items():
        for document in documents:
            assert msgspec.json.encode(TRANSLATED[form](document)) == msgspec.json.encode(TRANSLATED[form](document))
