"""Thin wiring between the watches and the work: no decision is taken here."""
