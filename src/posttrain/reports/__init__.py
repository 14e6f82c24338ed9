"""What we tell, from ledger and manifests only."""
