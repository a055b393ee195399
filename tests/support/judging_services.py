"""The services that show what a laboratory measured, on a port of their own: no detector runs beside the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from support.laboratory import Laboratory, at_once
from tesserabench.collector.api.baseline_service import BaselineService
from tesserabench.collector.api.history_service import HistoryService
from tesserabench.collector.api.host_service import HostService
from tesserabench.collector.api.interceptor import CallInterceptor
from tesserabench.collector.api.policy_service import PolicyService
from tesserabench.collector.api.regression_service import RegressionService
from tesserabench.collector.api.result_service import ResultService
from tesserabench.collector.api.server import GrpcServer, Service
from tesserabench.collector.core.tokens import Authenticator
from tesserabench.v1 import (
    baseline_service_pb2_grpc,
    history_service_pb2_grpc,
    host_service_pb2_grpc,
    policy_service_pb2_grpc,
    regression_service_pb2_grpc,
    result_service_pb2_grpc,
)
from tesserabench.wire.channel import client_options

if TYPE_CHECKING:
    Results = result_service_pb2_grpc.ResultServiceAsyncStub
    Regressions = regression_service_pb2_grpc.RegressionServiceAsyncStub
    Baselines = baseline_service_pb2_grpc.BaselineServiceAsyncStub
    Hosts = host_service_pb2_grpc.HostServiceAsyncStub


@dataclass(frozen=True, slots=True)
class Stubs:
    """Clients of the services."""

    results: "Results"
    regressions: "Regressions"
    baselines: "Baselines"
    hosts: "Hosts"
    address: str


@asynccontextmanager
async def served(laboratory: Laboratory, *, with_tokens: bool = False) -> AsyncIterator[Stubs]:
    """Clients of the services over a laboratory's database; everybody may do everything unless tokens are asked for."""
    services = [
        Service(
            name="tesserabench.v1.ResultService",
            servicer=ResultService(laboratory.judging),
            add=result_service_pb2_grpc.add_ResultServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.RegressionService",
            servicer=RegressionService(laboratory.database, laboratory.clock),
            add=regression_service_pb2_grpc.add_RegressionServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.BaselineService",
            servicer=BaselineService(laboratory.database, laboratory.clock),
            add=baseline_service_pb2_grpc.add_BaselineServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.HostService",
            servicer=HostService(laboratory.database, laboratory.clock, at_once),
            add=host_service_pb2_grpc.add_HostServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.HistoryService",
            servicer=HistoryService(laboratory.database),
            add=history_service_pb2_grpc.add_HistoryServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.PolicyService",
            servicer=PolicyService(laboratory.judging),
            add=policy_service_pb2_grpc.add_PolicyServiceServicer_to_server,
        ),
    ]
    interceptor = CallInterceptor(Authenticator(laboratory.database, required=with_tokens))
    server = GrpcServer(services, interceptor, listen="127.0.0.1:0", tls=None)
    port = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=client_options()) as channel:
            yield Stubs(
                result_service_pb2_grpc.ResultServiceStub(channel),
                regression_service_pb2_grpc.RegressionServiceStub(channel),
                baseline_service_pb2_grpc.BaselineServiceStub(channel),
                host_service_pb2_grpc.HostServiceStub(channel),
                f"127.0.0.1:{port}",
            )
    finally:
        await server.stop(0)
