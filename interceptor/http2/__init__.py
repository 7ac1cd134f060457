"""HTTP/2 on both sides: connections with the sessions of `interceptor.http2.core` on them, and streams as the sides of exchanges.
Knows no route and no application."""
