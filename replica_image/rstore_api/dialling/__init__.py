"""Everything that dials a replica with grpcio: channels, connections, races of dials."""
