"""The parts of a request's life that do not depend on a wire protocol: messages, and the two sides that carry them."""
