"""A state as a service of the system: rounds at night, or a server, by systemd."""
