"""HTTP/1.1 for clients and backends: heads, body framing, and the two kinds of connection. Knows no routes or applications."""
