"""How requests find an application. Pure: no clock, no sockets, no event loop."""
