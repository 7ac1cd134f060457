"""The control plane: turns custom resources into the routing table and ScaledObjects, and reports their state in the status."""
