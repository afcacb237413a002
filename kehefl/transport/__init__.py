"""How messages travel: the MQTT link, the brokers we start, the byte counter. Nothing else knows MQTT libraries."""
