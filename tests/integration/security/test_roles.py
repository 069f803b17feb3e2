"""The cluster's own roles view, edit and admin mean the same for every kind that users have."""

from collections.abc import Mapping

import pytest
from tests.integration.api.apiserver import ApiServer
from tests.integration.security.calls import Request, send
from tests.integration.security.roles import TENANT, USERS

from berth_api.customresources import CUSTOM_RESOURCES
from berth_api.kinds import Kind

pytestmark = pytest.mark.integration
READ = {"get", "list", "watch"}
WRITE = {"create", "update", "patch", "delete", "deletecollection"}
RIGHTS = {"view": READ, "edit": READ | WRITE, "admin": READ | WRITE}
CATALOG = {"virtualmachineclasses", "clustervirtualmachineimages"}
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
KINDS = [pytest.param(resource.kind, id=resource.kind.plural) for resource in CUSTOM_RESOURCES]


def verbs(server: ApiServer, token: str, kind: Kind, subresource: str = "") -> set[str]:
    """What the token may do to a kind, in the tenant's namespace or in the cluster."""
    found = set()
    for verb in READ | WRITE:
        asked = {"verb": verb, "group": kind.group, "resource": kind.plural, "subresource": subresource}
        if kind.namespaced:
            asked["namespace"] = TENANT
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        answer = send(server, token, Request("POST", REVIEWS, {**body, "spec": {"resourceAttributes": asked}}))
        if answer.body["status"]["allowed"]:
            found.add(verb)
    return found


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_role_gives(kind: Kind, user: str, server: ApiServer, users: Mapping[str, str]) -> None:
    own = RIGHTS[user] if kind.namespaced else READ if kind.plural in CATALOG else set()
    assert verbs(server, users[user], kind) == own
    assert verbs(server, users[user], kind, "status") == set()
