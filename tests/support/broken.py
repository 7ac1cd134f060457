"""Files of apps with the mistakes that people make, and all messages about each: line, field, reason.

HERE is the directory of the file."""

from __future__ import annotations

from tests.support.broken_previews import BROKEN_PREVIEWS

__all__ = ["BROKEN"]

A = "apps:\n- name: a\n  hosts: [a.localhost]\n  command: x\n"
B = "- name: b\n  hosts: [b.localhost]\n  command: x\n"
"""A second app."""

BROKEN: list[tuple[str, list[str]]] = [
    *BROKEN_PREVIEWS,
    (
        A + "  max: many\n  min: -1\n  cooldown: soon\n",
        [
            "5: apps[0].max: should be a whole number",
            "6: apps[0].min: should be at least 0",
            "7: apps[0].cooldown: should be seconds, or a duration like 500ms, 10s, 1m30s",
        ],
    ),
    (
        A + "  replicas: 3\n",
        [
            "5: apps[0].replicas: is not a field; min and max say how many replicas, like min: 0 and max: 4",
        ],
    ),
    (
        A + "  comand: y\n  host: b\n  enviroment: {A: b}\n",
        [
            "5: apps[0].comand: is not a field; did you mean command?",
            "6: apps[0].host: is not a field; did you mean hosts?",
            "7: apps[0].enviroment: is not a field; did you mean env?",
        ],
    ),
    (
        "apps:\n- name: a\n  hosts: [a]\n  comand: x\n",
        [
            "4: apps[0].comand: is not a field; did you mean command?",
        ],
    ),
    (
        "app:\n- name: a\n",
        [
            "1: app: is not a field; did you mean apps?",
        ],
    ),
    (
        A + "  hosts: [b]\n  max: 0\n",
        [
            "5: apps[0].hosts: is written twice",
            "6: apps[0].max: should be at least 1",
        ],
    ),
    (
        A + "  min: 5\n  target: 0\n",
        [
            "2: apps[0].max: 4 is less than min, which is 5",
            "6: apps[0].target: should be more than 0",
        ],
    ),
    (
        A + "  min: 3\n  max: 2\n  rate: {target: fast, windw: 3}\n",
        [
            "6: apps[0].max: 2 is less than min, which is 3",
            "7: apps[0].rate.target: should be a number",
            "7: apps[0].rate.windw: is not a field; did you mean window?",
        ],
    ),
    (
        A + "  rules: [{hosts: [b]}]\n  drain: -1\n",
        [
            "5: apps[0].rules: say either rules, or hosts, paths, headers and methods",
            "6: apps[0].drain: should be at least 0",
        ],
    ),
    (
        "apps:\n- name: My_App\n  hosts: ['a b', 5, 'http://x']\n  paths: [api, /ok]\n  command: []\n",
        [
            "2: apps[0].name: should be lower-case letters, digits and hyphens, at most 63",
            '3: apps[0].hosts[0]: \'a b\' is not a host, a wildcard such as "*.example.com", or "*"',
            '3: apps[0].hosts[1]: should be text; write it in quotes, like "1" or "off"',
            '3: apps[0].hosts[2]: \'http://x\' is not a host, a wildcard such as "*.example.com", or "*"',
            "4: apps[0].paths[0]: 'api' does not start with \"/\"",
            "5: apps[0].command: should be a command line, or a list of words",
        ],
    ),
    (
        "apps:\n- command: x\n- name: b\n- hosts: [c]\n  command: x\n  name: c\n  max: 1.5\n",
        [
            "2: apps[0].name: is missing",
            '2: apps[0].hosts: is missing, and so are paths, headers, methods, rules and ports; "*" is any host',
            "3: apps[1].command: is missing",
            '3: apps[1].hosts: is missing, and so are paths, headers, methods, rules and ports; "*" is any host',
            "7: apps[2].max: should be a whole number",
        ],
    ),
    (
        "apps:\n- {name: a, hosts: [a], command: x}\n- {name: a, hosts: [b], command: x, cwd: /nowhere/at/all}\n",
        [
            "3: apps[1].name: default/a is already apps[0]",
            "3: apps[1].cwd: /nowhere/at/all is not a directory",
        ],
    ),
    (
        "apps:\n- {name: a, hosts: [a], command: x}\n- {name: b, hosts: [a], command: x}\n- {name: c, hosts: [A.], command: x}\n",
        [
            "3: apps[1]: asks for the same requests as apps[0]: a/",
            "4: apps[2]: asks for the same requests as apps[0]: a/",
        ],
    ),
    (
        A + "  env:\n    A: 1\n    B-C: x\n    PORT: '3000'\n",
        [
            '6: apps[0].env.A: should be text; write it in quotes, like "1" or "off"',
            "7: apps[0].env.B-C: should be the name of an environment variable",
            "8: apps[0].env.PORT: is set for every replica, to the port that it is to listen on; `port: 3000` in the app makes that a fixed one",
        ],
    ),
    (
        A + "  env: [A=b]\n  env_file: [none.env, 3]\n",
        [
            "5: apps[0].env: should be fields with values, like {a: b}",
            "6: apps[0].env_file: should be the name of a file, or a list of names",
        ],
    ),
    (
        A + "  env_file: none.env\n",
        [
            "5: apps[0].env_file: HERE/none.env: No such file or directory",
        ],
    ),
    (
        A + "  port: 3000\n  max: 4\n",
        [
            "6: apps[0].max: 4 replicas cannot all have port 3000; say max: 1, or leave port out",
        ],
    ),
    (
        A + "  port: 0\n- name: b\n  hosts: [b]\n  command: x\n  port: many\n",
        [
            "5: apps[0].port: should be a port, from 1 to 65535; without it, each replica has a free one",
            "9: apps[1].port: should be a whole number",
        ],
    ),
    (
        "ports: {proxy: 8080, rpc: 8080}\napps:\n- name: a\n  hosts: [a.localhost]\n  command: x\n  port: 8080\n",
        [
            "1: ports.rpc: port 8080 is for the RPC server of interceptor-1, and for the proxy of interceptor-1",
            "6: apps[0].port: port 8080 is for app default/a, and for the proxy of interceptor-1",
        ],
    ),
    (
        "interceptors: 3\nports: {proxy: 8080, rpc: 8082, scaler: 9000, scaler_diagnostics: 9000}\n" + A,
        [
            "2: ports.rpc: port 8082 is for the RPC server of interceptor-1, and for the proxy of interceptor-3",
            "2: ports.scaler_diagnostics: port 9000 is for the diagnostics of the scaler, and for the scaler",
        ],
    ),
    (
        "interceptors: 2\nports: {proxy: 65535}\napps:\n- name: a\n  hosts: [a.localhost]\n  command: x\n  port: 3000\n- {name: b, hosts: [b], command: x, port: 3000}\n",
        [
            "2: ports.proxy: the proxy of interceptor-2 would have port 65536, and ports end at 65535",
            "8: apps[1].port: port 3000 is for app default/b, and for app default/a",
        ],
    ),
    (
        "interceptors: 0\npoll_interval: 0\nports: {proxy: 99999, web: 1}\n" + A,
        [
            "1: interceptors: should be at least 1",
            "2: poll_interval: should be more than 0",
            "3: ports.proxy: should be at most 65535",
            "3: ports.web: is not a field",
        ],
    ),
    (
        "interceptor: {max_hold: 1, readiness_timeout: long, log_json: true, max_held: 0}\nscaler: {port: 1}\n" + A,
        [
            "1: interceptor.max_hold: is not a setting that a file may give; did you mean max_held?",
            "1: interceptor.readiness_timeout: should be seconds, or a duration like 500ms, 10s, 1m30s",
            "1: interceptor.log_json: is not a setting that a file may give; --log-json is for all",
            "1: interceptor.max_held: should be at least 1",
            "2: scaler.port: is not a setting that a file may give; it is scaler in ports",
        ],
    ),
    (
        "interceptor: [a]\nscaler: 5\ndefaults: [b]\n" + A,
        [
            "1: interceptor: should be fields with values, like {a: b}",
            "2: scaler: should be fields with values, like {a: b}",
            "3: defaults: should be fields with values, like {a: b}",
        ],
    ),
    (
        "defaults: {cooldown: soon, hosts: [b], max: many, env: {PORT: '1'}}\napps:\n- name: a\n  hosts: [a.localhost]\n  command: x\n  min: 9\n",
        [
            "1: defaults.env.PORT: is set for every replica, to the port that it is to listen on; `port: 1` in the app makes that a fixed one",
            "1: defaults.max: should be a whole number",
            "1: defaults.cooldown: should be seconds, or a duration like 500ms, 10s, 1m30s",
            "1: defaults.hosts: is not a field here; it is one of an app",
        ],
    ),
    (
        "defaults: {min: 3, max: 5}\napps:\n- name: a\n  hosts: [a.localhost]\n  command: x\n  max: 2\n",
        [
            "6: apps[0].max: 2 is less than min, which is 3",
        ],
    ),
    (
        "services:\n  web: {image: nginx}\nversion: '3'\n",
        [
            "1: services: is not a field; did you mean apps?",
            "3: version: is not a field; there is but one version of this file",
        ],
    ),
    (
        A + "  image: nginx\n  ports: ['3000:3000']\n  environment: {A: b}\n  restart: always\n  depends_on: [db]\n",
        [
            "5: apps[0].image: is not a field; weir up runs commands; `command: docker run …` is one",
            "6: apps[0].ports[0]: should be fields with values, like {a: b}",
            "7: apps[0].environment: is not a field; did you mean env?",
            "8: apps[0].restart: is not a field; an app that ends is always started again",
            "9: apps[0].depends_on[0]: there is no app default/db; did you mean default/a?",
        ],
    ),
    (
        A + "  minReplicas: 1\n  maxReplicas: 3\n  idle_timeout: 5m\n",
        [
            "5: apps[0].minReplicas: is not a field; did you mean min?",
            "6: apps[0].maxReplicas: is not a field; did you mean max?",
            "7: apps[0].idle_timeout: is not a field; cooldown says after how long the app goes to sleep, timeouts.idle when a silent answer ends",
        ],
    ),
    (
        A + "  readiness: {tcp: true, path: healthz, timeout: 0}\n",
        [
            '5: apps[0].readiness.path: should be a path that starts with "/", as requests carry it: without spaces, the rest of ASCII only',
            "5: apps[0].readiness.timeout: should be more than 0",
        ],
    ),
    (
        A + "  readiness: {tcp: true, path: /healthz}\n  timeouts: {request: -1, conect: 1}\n",
        [
            "5: apps[0].readiness.path: say tcp or path, not both",
            "6: apps[0].timeouts.request: should be at least 0",
            "6: apps[0].timeouts.conect: is not a field; did you mean connect?",
        ],
    ),
    (A + "  readiness: {command: pg_isready, path: /}\n", ["5: apps[0].readiness.command: say path or command, not both"]),
    (
        A + "  placeholder: soon\n  maintenance: {status: 99, body: x, file: y}\n",
        [
            "5: apps[0].placeholder: should be true, false, or fields with values, like {a: b}",
            "6: apps[0].maintenance.status: 99 is not the status of an answer, from 200 to 599",
            "6: apps[0].maintenance.file: say body or file, not both",
        ],
    ),
    (
        A + "  placeholder: {file: none.html, headers: {Connection: close, 'a b': c, X: 'd '}, everyone: maybe}\n",
        [
            "5: apps[0].placeholder.headers.Connection: Connection belongs to the connection, and is the interceptor's own",
            "5: apps[0].placeholder.headers.a b: 'a b' is not the name of a header",
            "5: apps[0].placeholder.headers.X: no message can carry it: spaces at an end, or control characters",
            "5: apps[0].placeholder.everyone: should be true or false",
            "5: apps[0].placeholder.file: HERE/none.html: No such file or directory",
        ],
    ),
    (
        A + "  static:\n  - body: ok\n  - {paths: [x], status: 1, user_agents: ['']}\n",
        [
            "6: apps[0].static[0].paths: is missing, and so are hosts, headers, methods and user_agents",
            "7: apps[0].static[1].status: 1 is not the status of an answer, from 200 to 599",
            "7: apps[0].static[1].paths[0]: 'x' does not start with \"/\"",
            '7: apps[0].static[1].user_agents[0]: is empty; "*" is any user agent',
        ],
    ),
    (
        A + "  affinity: {cookie: 'a b', header: x}\n  fallback: b\n",
        [
            "5: apps[0].affinity.cookie: 'a b' is not the name of a cookie",
            "6: apps[0].fallback: there is no app default/b; did you mean default/a?",
        ],
    ),
    (
        A + "  affinity: {}\n  fallback: a\n  readiness_path: up\n  max_held: 0\n  max_held_bytes: lots\n",
        [
            "5: apps[0].affinity: is either by a cookie or by a header",
            "6: apps[0].fallback: is the app itself",
            "7: apps[0].readiness_path: 'up' is not a path that starts with \"/\", without spaces",
            "8: apps[0].max_held: should be at least 1",
            "9: apps[0].max_held_bytes: should be bytes, or a quantity like 500k, 16Mi, 1Gi",
        ],
    ),
    (
        "apps:\n- name: no\n  hosts: a\n  command: 5\n  server_timing: 'yes'\n",
        [
            '2: apps[0].name: should be text; write it in quotes, like "1" or "off"',
            "3: apps[0].hosts: should be a list, like [a, b]",
            "4: apps[0].command: should be a command line, or a list of words",
            "5: apps[0].server_timing: should be true or false",
        ],
    ),
    (
        "apps:\n  web: {hosts: [a]}\n",
        ["1: apps: should be a list, like [a, b]"],
    ),
    (
        "apps: [1, web, {name: a, hosts: [a], command: x, max: 0}]\n",
        [
            "1: apps[0]: should be fields with values, like {a: b}",
            "1: apps[1]: should be fields with values, like {a: b}",
            "1: apps[2].max: should be at least 1",
        ],
    ),
    (
        "- name: a\n",
        ["1: the file should be a mapping with the key apps"],
    ),
    (
        "apps: [\n",
        [
            "2: expected the node content, but found '<stream end>'",
        ],
    ),
    (
        "apps:\n\t- a\n",
        [
            "2: is indented with a tab, and YAML takes spaces only",
        ],
    ),
    (
        A + "  max: 1\n  max: 2\n  min: 3\n? [a]\n: b\n",
        [
            "6: apps[0].max: is written twice",
            "8: has a key that is not a plain word",
        ],
    ),
    (
        A + "  headers: [{nam: X}, {name: 'a b', value: ' c'}, {name: Y, value: 1}]\n",
        [
            "5: apps[0].headers[0].nam: is not a field; did you mean name?",
            "5: apps[0].headers[1].name: 'a b' is not the name of a header",
            "5: apps[0].headers[1].value: no request can carry it: spaces at an end, or control characters",
            '5: apps[0].headers[2].value: should be text; write it in quotes, like "1" or "off"',
        ],
    ),
    (
        A + "  rules:\n  - {}\n  - {host: b}\n",
        [
            '6: apps[0].rules[0].hosts: is missing, and so are paths, headers and methods; "*" is any host',
            "7: apps[0].rules[1].host: is not a field; did you mean hosts?",
        ],
    ),
    (
        "x-shared: &s {cooldown: 1s}\napps:\n- {<<: *s, name: a, hosts: [a], command: x, x-note: 1, y-note: 2}\n",
        [
            "3: apps[0].y-note: is not a field",
        ],
    ),
    (
        A + "  rate: {target: 1, window: 1, granularity: 2, x-why: 3}\n  target: nan\n",
        [
            "5: apps[0].rate.granularity: 2.0 s is more than the window of 1.0 s",
            "6: apps[0].target: should be a number",
        ],
    ),
    (
        A + "  log_level: debug\nlog_level: debug\nhosts: [b]\n",
        [
            "5: apps[0].log_level: is not a field",
            "6: log_level: is not a field; interceptor: {log_level: debug} sets it for one kind of component, --log-level for all",
            "7: hosts: is not a field here; it is one of an app",
        ],
    ),
    (
        A + "  fallback: nowhere\n" + B + "  fallback: b\n",
        [
            "5: apps[0].fallback: there is no app default/nowhere; did you mean default/b?",
            "9: apps[1].fallback: is the app itself",
        ],
    ),
    (
        A + "  fallback: nowhere\n" + B + "  namespace: X_X\n  fallback: no/app\n",
        [
            "5: apps[0].fallback: there is no app default/nowhere; did you mean default/b?",
            "9: apps[1].namespace: should be lower-case letters, digits and hyphens, at most 63",
            "10: apps[1].fallback: there is no app no/app",
        ],
    ),
    (
        A + "  fallback: b\n" + B + "  namespace: X_X\n  fallback: c\n- name: C_C\n  hosts: [c]\n  command: x\n  fallback: x\n",
        [
            "9: apps[1].namespace: should be lower-case letters, digits and hyphens, at most 63",
            "11: apps[2].name: should be lower-case letters, digits and hyphens, at most 63",
            "14: apps[2].fallback: there is no app default/x; did you mean default/b?",
        ],
    ),
    (
        A + "  port: 4000\n" + B + "  port: 4000\n  min: 2\n",
        [
            "9: apps[1].port: port 4000 is for app default/b, and for app default/a",
            "10: apps[1].min: port means one replica, not 2; say min: 1, or leave port out",
        ],
    ),
    (
        A + "  port: 4000\n  min: 3\n  max: 2\n" + B + "  port: 4000\n  max: 0\n  min: 2\n",
        [
            "6: apps[0].min: port means one replica, not 3; say min: 1, or leave port out",
            "7: apps[0].max: 2 replicas cannot all have port 4000; say max: 1, or leave port out",
            "11: apps[1].port: port 4000 is for app default/b, and for app default/a",
            "12: apps[1].max: should be at least 1",
            "13: apps[1].min: port means one replica, not 2; say min: 1, or leave port out",
        ],
    ),
    (
        A + "  port: many\n  min: 5\n",
        [
            "5: apps[0].port: should be a whole number",
        ],
    ),
    (
        "interceptors: many\nports: {proxy: 4001}\n" + A + "  port: 4000\n" + B + "  port: 4000\n",
        [
            "1: interceptors: should be a whole number",
            "11: apps[1].port: port 4000 is for app default/b, and for app default/a",
        ],
    ),
    (
        A + "  rate: {target: 0, granularity: 20}\n",
        [
            "5: apps[0].rate.target: should be more than 0",
            "5: apps[0].rate.granularity: 20.0 s is more than the window of 10.0 s",
        ],
    ),
    (
        A + B.replace("b.localhost", "a.localhost") + "  methods: ['g et']\n",
        [
            "8: apps[1].methods[0]: 'g et' is not a method",
        ],
    ),
    (
        A + "  rewrite: {prefix: a}\n  backends: [{service: b}, {service: nobody, weight: -1}]\n" + B,
        [
            "5: apps[0].rewrite.prefix: 'a' is not a path that starts with \"/\", without spaces, ?, # and backslash",
            "6: apps[0].backends[1].weight: should be at least 0",
            "6: apps[0].backends[1].service: there is no app default/nobody; did you mean default/b?",
        ],
    ),
    (
        A + "  backends: [{service: b, weight: 0}, {service: other/nobody}]\n" + B,
        [
            "5: apps[0].backends[1].service: there is no app other/nobody",
        ],
    ),
    (
        A + "  backends: [{service: b, weight: 0}]\n" + B,
        [
            "5: apps[0].backends: every weight is 0",
        ],
    ),
    (
        "apps:\n- name: a\n  command: x\n  rewrite: {prefix: /}\n  rules:\n  - hosts: [a]\n    backends:\n    - service: b\n    - service: b\n"
        + B,
        [
            "4: apps[0].rewrite: belongs into the rules, where there are rules",
        ],
    ),
    (
        "apps:\n- name: a\n  command: x\n  rules:\n  - hosts: [a]\n    backends:\n    - service: b\n    - service: default/b\n"
        + B,
        [
            "8: apps[0].rules[0].backends[1]: default/b is there twice",
        ],
    ),
    (
        A + "  request_headers: {set: {Host: b}, remove: [X-A, Connection]}\n  redirect: {status: 304}\n",
        [
            "5: apps[0].request_headers.set.Host: Host reaches the backend as the client sent it: by it the request was matched",
            "5: apps[0].request_headers.remove[1]: Connection belongs to the connection or to the interceptor, and cannot be changed",
            "6: apps[0].redirect.status: 304 is not one of 301, 302, 303, 307, 308",
        ],
    ),
    (
        "apps:\n- name: a\n  command: x\n  paths: [/a]\n  redirect: {scheme: https}\n",
        [
            "5: apps[0].redirect.host: is needed: the rule is for any host, so that the client would say where this leads",
        ],
    ),
    (
        A + "  request_headers: {add: {X-A: a}, remove: [x-a]}\n",
        [
            "5: apps[0].request_headers.remove: x-a is there twice",
        ],
    ),
]
