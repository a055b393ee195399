"""Hand-written companions of the contract: channel options, resource names, error reasons."""

SCHEMA_VERSION = 1
"""Version of the record schema that this release writes to a spool and reads from an upload."""

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Largest gRPC message that a collector takes; agents cut their batches well below it."""

DEFAULT_PORT = 7710
"""Port of a collector's gRPC services when nothing else is said."""

DEFAULT_WEB_PORT = 7711
"""Port of a collector's pages and metrics when nothing else is said."""

DEFAULT_AGENT_METRICS_PORT = 7712
"""Port of an agent's metrics when nothing else is said."""
