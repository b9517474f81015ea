"""The Fabric Gateway client API in Python."""
