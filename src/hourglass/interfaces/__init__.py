"""The edges: command line, report and demo. Every third-party framework stops here; nothing inside imports these."""
