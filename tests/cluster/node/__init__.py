"""The cluster's only node, a separate process: runs pods as local processes, translates Services, and serves DNS for them."""
