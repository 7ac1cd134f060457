"""The cluster's one node: runs pods as local processes, translates Services, answers for their names. A process of its own."""
