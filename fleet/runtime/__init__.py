"""How a component lives: settings, logs, certificates, RPC and diagnostics servers, signals."""
