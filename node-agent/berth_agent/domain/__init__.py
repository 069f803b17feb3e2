"""Pure: a VM whose references are resolved becomes libvirt domain XML. No I/O, no clock, no libvirt.

`requests` says what goes in, `documents.build` makes the XML, and each file beside them declares one of its elements.
The golden files in `tests/unit/domain/golden` show what comes out.
"""
