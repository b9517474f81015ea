"""The audit: everything that the ledger says, checked by somebody who believes nobody."""
