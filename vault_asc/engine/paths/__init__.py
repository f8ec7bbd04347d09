"""The paths of the engine, each as plain functions over a mount and its storage. They know no gRPC."""
