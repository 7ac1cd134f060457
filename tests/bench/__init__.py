"""The benchmark: origin, HAProxy and Weir side by side on loopback, in turn. Run by `make bench`; no test collects it."""
