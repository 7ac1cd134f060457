"""The runtime of a component: settings, logs, certificates, RPC and diagnostics servers, signals."""
