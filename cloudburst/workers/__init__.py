"""What the runner asks of a worker: render a scene, hand over its video."""
