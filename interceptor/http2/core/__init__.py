"""The core of HTTP/2 (RFC 9113) for both roles, designed for a proxy. Pure: no event loop, no socket, no clock.

Usage by a transport, and by the code between streams and exchanges:

    session = Session(config, owner, client=False)      # `config.Config`: this side's limits; `owner`: `stream.SessionEvents`
    session.start()                                     # preface, SETTINGS, the connection's window
    more = session.feed(data, now)                      # bytes that were read. True: stop reading, call `go_on` in later turns
    more = session.go_on(now)
    for out in iter(session.take_output, []):           # after each of these, and after `owner.on_output`: one write each
        transport.writelines(out)
    session.hold(); session.release()                   # the transport accepts no more, or again: then call `take_output`
    session.clogged                                     # True: stop reading, because the peer does not read our answers
    session.lost()                                      # the transport was closed
    session.shutdown(); session.drained                 # no more streams (a second call does not wait for the peer); close now
    session.close(code)                                 # at once, with GOAWAY

On a server `owner.on_request(stream, head, end=...)` sets `stream.sink` (`stream.StreamEvents`), and answers now or later. A
client opens a stream while `session.available` is above 0:

    stream = session.request(sink, fields, end=..., bodiless=...)       # bodiless: HEAD
    session.send_headers(stream, fields, end=...)                       # on a server: interim heads, and the final one
    session.send_data(stream, data, end=...); stream.congested          # True: send no more until sink.on_writable()
    session.send_trailers(stream, fields)                               # after queued data
    session.reset(stream, code)                                         # the sink gets no event
    session.consumed(stream, size)                                      # bytes of on_data; only this opens windows again

Events of the sink: `on_headers`, `on_data`, `on_trailers`, `on_reset(code, unprocessed=...)`, `on_writable`. `unprocessed` means
that the peer has not processed the request, so it may be sent again. On a server the head of a request comes by `on_request`
instead.
Calls on a closed stream have no effect, so a user need not check for that.

Guarantees and rules:
- `fields` are tuples of (name, value) with pseudo-fields first, as in `Head.fields`: a head may be passed on unchanged, together
  with its `never`, the names that must not be indexed. The core validates what it receives, not what it is asked to send.
- If a head is received again, byte for byte, the same `Head` object is returned; `Head.memo` can cache the user's result.
- `Head.too_large` (on a server): fields are missing; the only valid answer is 431.
- Received content is valid only during the call, and sent data is copied: views of a shared buffer may be passed.
- HEADERS, DATA and trailers of one response are in one `take_output`, unless it is called in between.
- Memory: a stream buffers at most its window of received data and `outflow.MAX_QUEUED` of data to send; received data that is
  not consumed is at most `Config.connection_window` per connection. Users that stop when told to have the streams of a connection
  buffer little more than `outflow.TOTAL_HIGH` of data to send, and one read each.
- The core has no time limits. A caller with a clock must use `session.queued`, `stream.stalled`, `session.ready` and
  `session.pending` to limit peers that do not open windows, never send SETTINGS, or do not read.

Modules: `frames`, `states`, `config`, `header_rules`, `block_reader`, `block_writer` and `huffman` (HPACK), `floods` (limits for
a peer's cheap frames), `stream`, and the session in four classes, each the base of the next: `outflow`, `inflow`, `control`,
`session`.
"""
