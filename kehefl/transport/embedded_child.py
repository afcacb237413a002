"""The child in which the embedded broker runs: `python -m kehefl.transport.embedded_child CONFIG`."""

from __future__ import annotations

import logging
import os
import sys
import threading


def main() -> None:
    from iotcore import IotCoreBroker

    # rumqttd reports every packet as an error of its log; nothing of it is for anyone.
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    IotCoreBroker(config_path=sys.argv[1]).run_forever()


if __name__ == "__main__":
    main()
