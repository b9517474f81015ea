"""Fabric's chaincode protocol in Python, and the chaincode server."""
