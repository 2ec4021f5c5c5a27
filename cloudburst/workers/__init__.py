"""The runner's side of a worker: render a scene, download its video."""
