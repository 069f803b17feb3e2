"""User-data from a Secret, which is then sealed (`berth_operator.sealing`) to the one node that may read it.

Secrets are read one at a time, when a VM that names one is about to be bound, and are never listed or watched: the
operator needs `get` on them only, and keeps none.
"""

from base64 import b64decode

from berth_api import kinds
from berth_api.client import Api, NotFound
from berth_api.virtualmachines import MAX_USER_DATA, VirtualMachine
from berth_operator.controllers.references import Unbindable


async def read_user_data(api: Api, vm: VirtualMachine) -> bytes | None:
    """The user-data that the VM wants from a Secret; None where it wants none.

    Raises:
        Unbindable: the Secret or its key is not there, or is too large.
        ApiError: it cannot be read.
    """
    reference = vm.spec.cloud_init.user_data_secret_ref if vm.spec.cloud_init else None
    if reference is None:
        return None
    namespace = vm.metadata.namespace
    try:
        secret = await api.get(kinds.SECRET, reference.name, namespace)
    except NotFound as error:
        raise Unbindable(
            "SecretNotFound",
            f"Secret {reference.name} does not exist in namespace {namespace}: create it, or change userDataSecretRef",
            polls=True,
        ) from error
    encoded = (secret.get("data") or {}).get(reference.key)
    if encoded is None:
        raise Unbindable(
            "SecretKeyNotFound",
            f"Secret {reference.name} has no key {reference.key}: add it, or change userDataSecretRef",
            polls=True,
        )
    content = b64decode(encoded)
    if len(content) > MAX_USER_DATA:
        raise Unbindable(
            "UserDataTooLarge",
            f"key {reference.key} of Secret {reference.name} has {len(content)} bytes, and user-data may have "
            f"{MAX_USER_DATA}: fetch the rest from a server",
            polls=True,
        )
    return content
