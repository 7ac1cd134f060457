"""Discovery on Kubernetes: the routing table in a ConfigMap, the backends of Services, the interceptors behind a Service.

Importing these modules does not import the Kubernetes client, which takes 45 MB: processes without Kubernetes must not pay for
it.
"""
