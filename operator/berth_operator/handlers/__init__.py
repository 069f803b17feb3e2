"""The wiring to kopf: watches in, nothing out. No handler decides anything."""
