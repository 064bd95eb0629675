"""What a process shows of itself: metrics and health over HTTP, spans. Knows nothing of loops, logs or settings."""
