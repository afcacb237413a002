"""Protocol v1: what is said on the wire. Pure: no clock, no socket, no file. The contract is docs/protocol.md."""
