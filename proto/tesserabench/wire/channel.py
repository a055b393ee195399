"""Options of gRPC channels and servers that the two ends must agree on."""

from tesserabench.wire import MAX_MESSAGE_BYTES

ChannelOption = tuple[str, int | str]

_KEEPALIVE_MS = 20_000
_KEEPALIVE_TIMEOUT_MS = 5_000


def client_options() -> list[ChannelOption]:
    """Options of a client's channel: notices a frozen peer within half a minute, keeps message sizes bounded."""
    return [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", 4 * MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        # keepalive_timeout alone noticed a frozen peer after 62 s; with ping_timeout it is seconds.
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.http2.ping_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 0),
        # Retrying is ours: it must know which calls are idempotent.
        ("grpc.enable_retries", 0),
    ]


def server_options() -> list[ChannelOption]:
    """Options of the collector's server: takes the pings that `client_options` sends."""
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", 4 * MAX_MESSAGE_BYTES),
        # The `min_recv_...` spelling of this key is ignored in silence and connections die with too_many_pings.
        ("grpc.http2.min_ping_interval_without_data_ms", _KEEPALIVE_MS // 2),
        ("grpc.keepalive_time_ms", 3 * _KEEPALIVE_MS),
        ("grpc.http2.ping_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        # Two collectors must not share a port by accident.
        ("grpc.so_reuseport", 0),
    ]
