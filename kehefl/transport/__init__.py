"""How messages travel: the MQTT link, the broker we start, the byte counter. The only place that knows MQTT libraries."""
