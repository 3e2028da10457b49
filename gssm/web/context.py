"""What the endpoints of one server share; nothing of it is global.

An endpoint gets it as a parameter, ``context: Shared``, and does what takes longer than some
microseconds in a lane: ``await context.lanes.reads.run(function, *arguments)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from gssm.web.datasets import Datasets
from gssm.web.lanes import Lanes
from gssm.web.settings import Settings

if TYPE_CHECKING:
    from gssm.web.jobs import Jobs

# Where the middleware of `gssm.web.limits` leaves the address of the client in the scope.
CLIENT = "gssm.client"


@dataclass(frozen=True)
class Context:
    """Settings, datasets, threads and jobs of one server.

    Attributes
    ----------
    settings
        As given to `gssm.web.app.create_app`.
    datasets
        By id; a finished job adds its own.
    lanes
        Bounded threads for each kind of work.
    jobs
        Predictions: started and stopped with the server (``start``, ``stop``).
    """

    settings: Settings
    datasets: Datasets
    lanes: Lanes
    jobs: Jobs

    @property
    def can_predict(self) -> bool:
        """Predictions can be asked for: the server is let to run one at least."""
        return self.settings.limits.jobs_running > 0


async def context_of(request: Request) -> Context:
    """Return what the server of a request shares."""
    # Asynchronous, as are all dependencies: another would hop to a thread and back.
    found: Context = request.app.state.context
    return found


async def client_of(request: Request) -> str:
    """Return the address of the client: behind a trusted proxy that which the proxy names."""
    return str(request.scope.get(CLIENT) or (request.client.host if request.client else "unknown"))


Shared = Annotated[Context, Depends(context_of)]
Client = Annotated[str, Depends(client_of)]
