"""What the life of a request consists of, whatever protocol it came by: messages, and the two sides that carry them."""
