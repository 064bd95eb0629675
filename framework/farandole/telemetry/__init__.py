"""What a process shows of itself: metrics and health over HTTP. Knows nothing of loops, logs or settings."""
