"""What operators see of a process of befl: ``/healthz``, ``/version``, ``/metrics``, its log, and what checks find.

Chaincode server, agent and supervisor use it alike. It decides nothing, so the code digest does not cover it.
"""
