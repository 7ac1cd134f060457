"""The control plane: custom resources become the routing table, ScaledObjects, and a status that tells the truth."""
