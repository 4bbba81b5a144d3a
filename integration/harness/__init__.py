"""What the integration tests stand on: child processes, storage servers, the proxy, raw HTTP, certificates, faults."""
