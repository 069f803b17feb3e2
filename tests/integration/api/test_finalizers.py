"""Every VirtualMachine has Berth's finalizer from its creation, whoever writes it and however."""

import json

import pytest
from tests.integration.api.apiserver import ApiServer
from tests.integration.api.conftest import on_newest
from tests.integration.api.specimens import specimen, spoiled

from berth_api import kinds
from berth_api.client import ApiClient, NotFound
from berth_api.fields import FINALIZER

pytestmark = [pytest.mark.integration, on_newest]

VM = kinds.VIRTUAL_MACHINE


async def drop(api: ApiClient, name: str) -> None:
    await api.delete(VM, name, "default")
    await api.patch_json(VM, name, "default", [{"op": "remove", "path": "/metadata/finalizers"}])
    with pytest.raises(NotFound):
        await api.get(VM, name, "default")


async def test_a_vm_is_born_with_it_beside_the_users_own(api: ApiClient) -> None:
    plain = await api.create(VM, specimen(VM, "plain"), "default")
    assert plain["metadata"]["finalizers"] == [FINALIZER]
    body = spoiled(specimen(VM, "own"), {"metadata.finalizers": ["example.com/backup"]})
    own = await api.create(VM, body, "default")
    assert own["metadata"]["finalizers"] == ["example.com/backup", FINALIZER]
    for name in ("plain", "own"):
        await drop(api, name)


async def test_a_write_that_leaves_it_out_does_not_drop_it(api: ApiClient) -> None:
    stored = await api.create(VM, specimen(VM, "kept"), "default")
    replaced = await api.update(VM, "kept", "default", spoiled(stored, {"metadata.finalizers": []}))
    assert replaced["metadata"]["finalizers"] == [FINALIZER]
    await drop(api, "kept")


@pytest.mark.parametrize("flags", [(), ("--server-side",)], ids=["client-side", "server-side"])
async def test_applying_a_manifest_again_changes_nothing(
    server: ApiServer, api: ApiClient, flags: tuple[str, ...]
) -> None:
    manifest = json.dumps({"apiVersion": VM.api_version, "kind": VM.kind, **specimen(VM, "applied")})
    server.kubectl("apply", *flags, "-f", "-", stdin=manifest)
    first = await api.get(VM, "applied", "default")
    assert first["metadata"]["finalizers"] == [FINALIZER]
    server.kubectl("apply", *flags, "-f", "-", stdin=manifest)
    second = await api.get(VM, "applied", "default")
    assert second["metadata"] == {**first["metadata"], "managedFields": second["metadata"]["managedFields"]}
    assert server.kubectl("diff", *flags, "-f", "-", stdin=manifest) == ""
    await drop(api, "applied")
