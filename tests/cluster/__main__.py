"""`python -m tests.cluster [PYTEST ARGUMENTS]`: runs only these tests."""

import sys

from tests.__main__ import CLUSTER, main

if __name__ == "__main__":
    chosen = any(argument.startswith(CLUSTER) for argument in sys.argv[1:])
    sys.exit(main([*([] if chosen else [CLUSTER]), *sys.argv[1:]]))
