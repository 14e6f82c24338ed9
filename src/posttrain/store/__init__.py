"""What is on disk: run folder, artifacts, fingerprints, ledger, locks."""
