"""Encoders and decoders. A network's settings build both at once, so that the decoder can mirror the encoder."""
