"""Checks of what is deployed, without a cluster: manifests, the image's recipe, compose.yaml."""
