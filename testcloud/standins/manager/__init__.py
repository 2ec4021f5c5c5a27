"""systemd's manager: units, their order, their services and timers."""
