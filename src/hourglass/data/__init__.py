"""What comes in: files become frames, frames become samples. Knows no models."""
