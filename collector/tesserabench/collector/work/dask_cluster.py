"""Statistics on a Dask cluster: the same functions as in the collector's own processes, on other machines.

The extra `dask` installs the client; the cluster's workers need `tesserabench[collector]` of the same version.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from tesserabench.collector.errors import SettingsError

if TYPE_CHECKING:
    from distributed import Client

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CONNECT_SECONDS = 10


class DaskCluster:
    """Computes on a cluster."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    async def __call__(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """The value of a module's function for values that can be pickled.

        Raises:
            ConnectionError: the cluster lost the task, or its workers cannot import what it needs.
        """
        from distributed.scheduler import KilledWorker  # noqa: PLC0415 - an extra

        # Impure: the same arguments are computed again rather than looked up.
        future: Any = self._client.submit(function, *args, pure=False, **kwargs)
        try:
            value: _T = await future
        except (KilledWorker, ImportError, OSError) as error:
            message = f"the Dask cluster could not compute {function.__name__}: {error}; its workers need "
            message += "tesserabench[collector] of this version"
            raise ConnectionError(message) from error
        return value


@asynccontextmanager
async def dask_cluster(address: str) -> AsyncIterator[DaskCluster]:
    """A cluster by the address of its scheduler, such as `tcp://scheduler:8786`; left alone afterwards.

    Raises:
        SettingsError: the extra is not installed.
        ConnectionError: nothing answers at the address.
    """
    try:
        from distributed import Client  # noqa: PLC0415 - an extra
    except ImportError as error:
        message = "--dask needs the extra of that name: pip install 'tesserabench[dask]'"
        raise SettingsError(message) from error
    try:
        client: Client = await Client(  # type: ignore[no-untyped-call]
            address, asynchronous=True, timeout=_CONNECT_SECONDS, set_as_default=False
        )
    except (OSError, ValueError) as error:
        message = f"no Dask scheduler answers at {address!r} ({error}); give one such as tcp://HOST:8786"
        raise ConnectionError(message) from error
    try:
        yield DaskCluster(client)
    finally:
        await client.close()  # type: ignore[no-untyped-call]
