"""scenes.yaml → Job."""
