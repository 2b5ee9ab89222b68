"""What is watched: the metrics' catalogue, rules and alerts, dashboards. All made from code, as files for Prometheus,
Grafana and Kubernetes; `make metrics` writes them.
"""
