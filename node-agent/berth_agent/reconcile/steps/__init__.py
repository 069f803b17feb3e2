"""What each step does, a file for a few that belong together, and the table that finds it."""

import errno
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from berth_agent.domain.requests import InvalidDomainRequest
from berth_agent.reconcile.plan import steps as plans
from berth_agent.reconcile.rounds import Round, StepFailed
from berth_agent.reconcile.steps import claims, disks, domains, guests, interfaces, seeds

ACTIONS: Mapping[type[plans.Step], Callable[[Any, Round], Awaitable[None]]] = {
    plans.AdoptGuest: guests.adopt,
    plans.AdmitClaim: claims.admit,
    plans.CreateDisk: disks.create,
    plans.AttachInterface: interfaces.attach,
    plans.WriteSeed: seeds.write,
    plans.DefineDomain: domains.define,
    plans.StartDomain: domains.start,
    plans.ResumeDomain: domains.resume,
    plans.SuspendDomain: domains.suspend,
    plans.PlugCPUs: domains.plug_cpus,
    plans.PlugMemory: domains.plug_memory,
    plans.ShutdownDomain: domains.shut_down,
    plans.DestroyDomain: domains.destroy,
    plans.UndefineDomain: domains.undefine,
    plans.DetachInterface: interfaces.detach,
    plans.DeleteSeed: seeds.delete,
    plans.DeleteDisks: disks.delete,
    plans.YieldClaim: claims.yield_power,
    plans.ReleaseClaim: claims.release,
}

_FULL = (errno.ENOSPC, errno.EDQUOT)


async def act(step: plans.Step, work: Round) -> None:
    """Take one step.

    Raises:
        ClaimRefused: the node does not take the claim.
        One of `STEP_ERRORS`: the step failed; done again, it continues.
    """
    try:
        await ACTIONS[type(step)](step, work)
    except InvalidDomainRequest as error:
        raise StepFailed("InvalidDomainRequest", str(error), retryable=False) from error
    except TimeoutError:  # an OSError, but a deadline's
        raise
    except OSError as error:
        reason = "InsufficientStorage" if error.errno in _FULL else "NodeFileFailed"
        raise StepFailed(reason, f"on the node: {error}", retryable=True) from error
