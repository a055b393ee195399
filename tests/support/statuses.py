"""What an error on the wire says."""

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tesserabench.wire.reasons import Reason


def reason_of(error: grpc.aio.AioRpcError) -> Reason | None:
    """The stable reason of an error."""
    status = rpc_status.from_call(error)
    if status is None:
        return None
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return Reason(info.reason)
    return None
