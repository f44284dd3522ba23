"""The pure core: functions of their arguments, without clock, network or log."""
