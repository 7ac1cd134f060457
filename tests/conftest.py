"""What holds for every test: property tests take the same examples on every machine, unless told to explore."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# A slow machine is no failure, so no deadlines. WEIR_HYPOTHESIS=explore looks for new examples, and more of them.
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("WEIR_HYPOTHESIS", "same"))
