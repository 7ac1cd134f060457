"""HTTP/1.1 on both sides: heads, body framing, and the two kinds of connection. Knows no route and no application."""
