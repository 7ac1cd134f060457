"""The suites of Connect and grpc-go with an interceptor between their own clients and servers, and clients for browsers:
`make conformance`."""
