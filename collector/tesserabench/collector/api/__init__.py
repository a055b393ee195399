"""The gRPC services: translation between the wire contract and `core`."""
