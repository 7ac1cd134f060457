"""The end-to-end cases of the KEDA HTTP add-on, with its objects, its Service names and its assertions, against Weir.

Its newer cases (test/e2e, InterceptorRoutes beside ScaledObjects of the user's own) have the names of its Go functions; its older
ones (tests/checks, HTTPScaledObjects) those of its directories. Values are its own but for shorter cooldowns, and states are
awaited where it sleeps.
"""
