"""Names that both halves write into objects: two sides that spell one of them differently would fight in silence."""

from berth_api.objects import GROUP

OPERATOR = "berth-operator"
"""Field manager of the operator's server-side applies, and the name of its service account."""
AGENT = "berth-agent"
"""Field manager of every node agent's server-side applies, and the name of their service account."""
OPERATOR_LEASE = OPERATOR
"""Name of the Lease by which one operator leads, in the system namespace."""
FINALIZER = f"{GROUP}/vm"
"""Keeps a VirtualMachine until its claim is released. An admission policy sets it, the operator drops it."""
ADOPT = f"{GROUP}/adopt"
"""Annotation of a VirtualMachine that may go on with a guest of its name which a node reports: the node's name, or *.
Whoever may annotate the VM agrees to what that node's agent says; without it agents could draw VMs to their nodes.
`never`: whatever a node says, the VM is made anew."""
RESTORE_LABELS = ("velero.io/restore-name", "velero.io/backup-name")
"""Labels that Velero puts on every object which it restores: its owner wants back what was there, and agrees."""
SYSTEM_NAMESPACE = "berth-system"
"""Default namespace of Berth's own objects: Leases, service accounts."""
CONDITION_SCHEDULED = "Scheduled"
"""The one condition of a VirtualMachine that is the operator's."""
CONDITION_LIBVIRT_READY = "LibvirtReady"
"""The condition of a Hypervisor whose agent says whether libvirt answers; not there: not reported yet."""
