"""Typed machine-learning datasets: from one laptop to a public network."""
