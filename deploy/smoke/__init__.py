"""`make container-smoke`: the image is built and the local overlay's Deployments are started, without a cluster."""
