"""Fitted models over HTTP: `hourglass serve`. FastAPI, uvicorn and Prometheus' client stop here."""
