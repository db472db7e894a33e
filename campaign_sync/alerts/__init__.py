"""Incidents reach people: their detection, the messages, and the channels that send them.

Not here: what counts as an incident and when it is over (`domain.incident`), which incidents are open
(`storage.incidents`), and the sensor that runs this every minute (`orchestration.alert_sensor`).
"""
