"""The end-to-end cases of the KEDA HTTP add-on, with its objects, its Service names and its assertions, against Weir.

The newer cases (test/e2e, InterceptorRoutes with the user's own ScaledObjects) have the names of the add-on's Go functions; the
older ones (tests/checks, HTTPScaledObjects) the names of its directories. Values are the add-on's, except for shorter cooldowns;
where the add-on's tests sleep, these wait for the expected state.
"""
