"""What a process counts and measures, and the two ways in which others get it: a Prometheus endpoint, and OTLP.

`instruments` are cells of plain numbers, declared by the definitions in `catalogue` (and, for what only one process
has, in that process's own `metrics.py`). They follow OpenTelemetry's model, names and units; its SDK is used to send
them, but not to count: to record one value took it 7 µs where a cell takes 0.2, and a request records ten.
"""
