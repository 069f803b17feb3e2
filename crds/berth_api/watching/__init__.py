"""kopf as both halves use it: it watches and serves the liveness probe, and never writes.

What bites in kopf 1.45: handlers other than `on.event` put finalizers and annotations of kopf's own on objects; after a
410 Gone it lists again and does not tell of objects that vanished meanwhile; a watch that the server refuses dies
unseen. So only `on.event` is used, each half audits with complete lists, and `supervise` ends the process when a watch
has died; whoever runs it starts it again.
"""

from berth_api.watching.connecting import Forever, connection_info, watch_settings
from berth_api.watching.supervision import WatchDied, supervise

__all__ = ["Forever", "WatchDied", "connection_info", "supervise", "watch_settings"]
