"""The application of packaging/quickstart.sh."""
