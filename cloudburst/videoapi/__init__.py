"""The bundled video API: the protocol of the public image, rendered in one ffmpeg pass."""
